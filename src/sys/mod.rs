//! Everything that needs `unsafe`: one file a concern, each with a safe face. Nothing outside this directory may.

#![allow(unsafe_code)]

pub(crate) mod copy;
pub mod descriptor;
pub(crate) mod map;
#[cfg(feature = "v4l2")]
pub(crate) mod media;
mod place;
pub(crate) mod signal;
pub mod simd;
pub mod thread;
#[cfg(feature = "v4l2")]
pub(crate) mod v4l2;
