//! When to save a clip: rules over detections, as text and as a state machine.
//!
//! ```text
//! rule   = [ count "x" ] class [ ">" confidence ] { clause }
//! class  = word | '"' any text '"' | "#" number | "*"
//! clause = "for" span | "in" left "," top "," right "," bottom | "cooldown" span | "lock"
//! span   = number ( "ms" | "s" | "m" | "h" )
//! ```
//!
//! `2x person>0.6 for 500ms in 0.2,0.2,0.8,0.8 cooldown 10s` holds while at least two boxes of the label `person` have a confidence
//! above 0.6 and their centres in the region (fractions of the picture, edges included). It fires once it held for half a
//! second of capture time, at most every ten seconds. With `lock` its clips are locked. A word may hold letters, digits, `_`, `-`, `.`, `:` and `/`; other
//! labels stand in quotes. Each clause may stand once, in any order.

mod rule;
mod state;

pub use rule::{Class, Region, Rule, RuleError, RuleErrorKind, parse_span};
pub use state::{Trigger, UnknownLabel};
