//! modlib's pickles, read without executing them.
//!
//! A pickle is a program for a small stack machine. [`scan`] finds where one ends, [`machine`] runs the few
//! instructions that build plain data and numpy arrays (nothing is imported or called: a *global* is a name on a list or a
//! refusal), and [`frame`] takes the values of modlib's `Frame` out of what was built.

mod frame;
mod machine;
mod numpy;
mod results;
mod scan;

pub use frame::PickleReader;
pub(super) use scan::Pickles;
