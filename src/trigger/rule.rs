//! A rule's text, checked.

use core::fmt;

use crate::limits::{BOXES_MAX, NAME_BYTES_MAX};
use crate::time::Span;

/// Longest span of a clause: a day.
const SPAN_MAX: Span = Span::from_s(24 * 3600);

/// Which rows a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Every row.
    Any,
    /// Rows of this class number.
    Number(i32),
    /// Rows whose class has this label.
    Label(heapless::String<NAME_BYTES_MAX>),
}

/// Part of the picture; edges belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge, fraction of the picture.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Right edge, above `left`.
    pub right: f32,
    /// Bottom edge, above `top`.
    pub bottom: f32,
}

impl Region {
    /// True when the centre of the box `[x0, y0, x1, y1]` lies inside.
    pub fn holds_centre(&self, [x0, y0, x1, y1]: [f32; 4]) -> bool {
        let (x, y) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }
}

/// A rule, checked but not yet bound to a network's labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which rows count.
    pub class: Class,
    /// How many such rows there must be, `1..=BOXES_MAX`.
    pub count: usize,
    /// Their confidence must be above this; 0 without a limit.
    pub confidence: f32,
    /// Where their centres must lie.
    pub region: Option<Region>,
    /// How long the condition must have held, in capture time.
    pub hold: Span,
    /// Least time between two firings.
    pub cooldown: Span,
    /// Clips of this rule are locked: trimming passes them over.
    pub lock: bool,
}

/// Why a rule's text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Column of the text, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub kind: RuleErrorKind,
}

/// What is wrong with a rule's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// A class was expected: a label, `"label"`, `#number` or `*`.
    ClassExpected,
    /// A quote is not closed.
    QuoteOpen,
    /// A label is longer than any network's.
    LabelTooLong,
    /// A number was expected.
    NumberExpected,
    /// A count of `1..=BOXES_MAX` was expected before the `x`.
    Count,
    /// A confidence of 0 to 1 was expected.
    Confidence,
    /// A number with `ms`, `s`, `m` or `h`, up to 24 hours, was expected.
    Span,
    /// Four fractions `left,top,right,bottom` with `left < right` and `top < bottom`, 0 to 1, were expected.
    Region,
    /// `for`, `in`, `cooldown` or `lock` was expected.
    ClauseExpected,
    /// The clause stands twice.
    ClauseTwice,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RuleErrorKind::ClassExpected => "expected a class: a label, \"a label\", #number or *",
            RuleErrorKind::QuoteOpen => "the quote is not closed",
            RuleErrorKind::LabelTooLong => "the label is longer than any network's",
            RuleErrorKind::NumberExpected => "expected a number",
            RuleErrorKind::Count => "expected a count of 1 to 512 before the x",
            RuleErrorKind::Confidence => "expected a confidence of 0 to 1",
            RuleErrorKind::Span => "expected a time like 500ms, 10s, 2m or 1h, at most 24h",
            RuleErrorKind::Region => "expected left,top,right,bottom: fractions, left < right, top < bottom",
            RuleErrorKind::ClauseExpected => "expected for, in, cooldown or lock",
            RuleErrorKind::ClauseTwice => "this clause stands twice",
        };
        write!(f, "column {}: {what}", self.column)
    }
}

impl core::error::Error for RuleError {}

const _: () = assert!(BOXES_MAX == 512, "the message of RuleErrorKind::Count names the limit");

impl Rule {
    /// Reads a rule; the grammar stands at the module.
    ///
    /// # Errors
    /// What was expected, with the column.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut input = Input { text, at: 0 };
        input.skip_space();
        let count = input.count()?;
        input.skip_space();
        let class = input.class()?;
        input.skip_space();
        let confidence = if input.eat(">") { input.confidence()? } else { 0.0 };
        let (hold, cooldown) = (Span::ZERO, Span::ZERO);
        let mut rule = Self { class, count, confidence, region: None, hold, cooldown, lock: false };
        let mut seen = [false; 4];
        loop {
            input.skip_space();
            if input.is_at_end() {
                return Ok(rule);
            }
            let start = input.at;
            let spaced = text[..start].ends_with(char::is_whitespace);
            let clause = if spaced { input.word() } else { "" };
            let index = match clause {
                "for" => 0,
                "in" => 1,
                "cooldown" => 2,
                "lock" => 3,
                _ => return Err(input.error_at(start, RuleErrorKind::ClauseExpected)),
            };
            if core::mem::replace(&mut seen[index], true) {
                return Err(input.error_at(start, RuleErrorKind::ClauseTwice));
            }
            input.skip_space();
            match index {
                0 => rule.hold = input.span()?,
                1 => rule.region = Some(input.region()?),
                2 => rule.cooldown = input.span()?,
                _ => rule.lock = true,
            }
        }
    }
}

/// A span as rules write it: a whole number with `ms`, `s`, `m` or `h`, at most 24 hours. `None` when it is none.
pub fn parse_span(text: &str) -> Option<Span> {
    let mut input = Input { text, at: 0 };
    input.span().ok().filter(|_| input.is_at_end())
}

/// The rule's text, which [`Rule::parse`] reads as the same rule.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count > 1 {
            write!(f, "{}x ", self.count)?;
        }
        match &self.class {
            Class::Any => f.write_str("*")?,
            Class::Number(number) => write!(f, "#{number}")?,
            Class::Label(label) => write!(f, "\"{label}\"")?,
        }
        if self.confidence > 0.0 {
            write!(f, ">{}", self.confidence)?;
        }
        let ms = |span: Span| span.as_ns() / 1_000_000;
        if self.hold > Span::ZERO {
            write!(f, " for {}ms", ms(self.hold))?;
        }
        if let Some(Region { left, top, right, bottom }) = self.region {
            write!(f, " in {left},{top},{right},{bottom}")?;
        }
        if self.cooldown > Span::ZERO {
            write!(f, " cooldown {}ms", ms(self.cooldown))?;
        }
        if self.lock {
            f.write_str(" lock")?;
        }
        Ok(())
    }
}

struct Input<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn error_at(&self, at: usize, kind: RuleErrorKind) -> RuleError {
        RuleError { column: self.text[..at].chars().count() + 1, kind }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let eaten = self.rest().starts_with(token);
        if eaten {
            self.at += token.len();
            self.skip_space();
        }
        eaten
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_alphanumeric() || "_-.:/".contains(c))
    }

    /// `N x` before the class, if it is there; a class may itself begin with digits ("3d printer").
    fn count(&mut self) -> Result<usize, RuleError> {
        let start = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit());
        let is_count = !digits.is_empty() && self.rest().starts_with('x') && {
            let after = self.rest()[1..].chars().next();
            after.is_some_and(|c| c.is_whitespace() || "\"#*".contains(c))
        };
        if !is_count {
            self.at = start;
            return Ok(1);
        }
        self.at += 1;
        let count = digits.parse().ok().filter(|n| (1..=BOXES_MAX).contains(n));
        count.ok_or(self.error_at(start, RuleErrorKind::Count))
    }

    fn class(&mut self) -> Result<Class, RuleError> {
        let start = self.at;
        if self.eat("*") {
            return Ok(Class::Any);
        }
        if self.rest().starts_with('#') {
            self.at += 1;
            let digits = self.take_while(|c| c.is_ascii_digit());
            return digits.parse().map(Class::Number).map_err(|_| self.error_at(start, RuleErrorKind::NumberExpected));
        }
        let name = if self.rest().starts_with('"') {
            self.at += 1;
            let name = self.take_while(|c| c != '"');
            if self.is_at_end() {
                return Err(self.error_at(start, RuleErrorKind::QuoteOpen));
            }
            self.at += 1;
            name
        } else {
            self.word()
        };
        if name.is_empty() {
            return Err(self.error_at(start, RuleErrorKind::ClassExpected));
        }
        name.try_into().map(Class::Label).map_err(|()| self.error_at(start, RuleErrorKind::LabelTooLong))
    }

    fn number(&mut self) -> Option<f32> {
        let digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
        digits.parse().ok().filter(|n: &f32| n.is_finite())
    }

    fn confidence(&mut self) -> Result<f32, RuleError> {
        let start = self.at;
        let value = self.number().filter(|c| (0.0..=1.0).contains(c));
        value.ok_or(self.error_at(start, RuleErrorKind::Confidence))
    }

    fn span(&mut self) -> Result<Span, RuleError> {
        let start = self.at;
        let digits = self.take_while(|c| c.is_ascii_digit());
        let unit = self.take_while(|c| c.is_alphabetic());
        let ns_of_unit: i64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => 0,
        };
        let ns = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(ns_of_unit)).filter(|_| ns_of_unit > 0);
        let span = ns.map(Span::from_ns).filter(|&span| span <= SPAN_MAX);
        span.ok_or(self.error_at(start, RuleErrorKind::Span))
    }

    fn region(&mut self) -> Result<Region, RuleError> {
        let start = self.at;
        let mut edges = [0.0; 4];
        for (i, edge) in edges.iter_mut().enumerate() {
            self.skip_space();
            let separated = i == 0 || self.eat(",");
            let value = self.number().filter(|e| separated && (0.0..=1.0).contains(e));
            *edge = value.ok_or(self.error_at(start, RuleErrorKind::Region))?;
        }
        let [left, top, right, bottom] = edges;
        if left < right && top < bottom {
            Ok(Region { left, top, right, bottom })
        } else {
            Err(self.error_at(start, RuleErrorKind::Region))
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    fn label(name: &str) -> Class {
        Class::Label(name.try_into().unwrap())
    }

    #[test]
    fn the_rule_of_the_docs_is_understood() {
        let rule = Rule::parse("2x person>0.6 for 500ms in 0.2,0.2,0.8,0.8 cooldown 10s lock").unwrap();
        let region = Some(Region { left: 0.2, top: 0.2, right: 0.8, bottom: 0.8 });
        let (hold, cooldown) = (Span::from_ms(500), Span::from_s(10));
        let class = label("person");
        assert_eq!(rule, Rule { class, count: 2, confidence: 0.6, region, hold, cooldown, lock: true });
    }

    #[test]
    fn a_rules_text_gives_the_rule_again() {
        for text in
            ["2x person>0.6 for 500ms in 0.2,0.2,0.8,0.8 cooldown 10s", "* lock", "#3>0.0000001", "\"a b\" for 2m"]
        {
            let rule = Rule::parse(text).unwrap();
            assert_eq!(Rule::parse(&rule.to_string()), Ok(rule), "{text}");
        }
        let text = "2x \"person\">0.6 for 500ms in 0.2,0.2,0.8,0.8 cooldown 10000ms";
        assert_eq!(Rule::parse("2x person>0.6 cooldown 10s for 500ms in 0.2,0.2,0.8,0.8").unwrap().to_string(), text);
    }

    #[test]
    fn classes_have_four_forms_and_clauses_any_order() {
        for (text, class, count) in [
            ("*", Class::Any, 1),
            ("#17", Class::Number(17), 1),
            ("3x #0 > 1", Class::Number(0), 3),
            ("\"traffic light\">0.5", label("traffic light"), 1),
            ("  1:tench  ", label("1:tench"), 1),
            ("2xbox", label("2xbox"), 1),
            ("3d-printer", label("3d-printer"), 1),
            ("2x \"x\"", label("x"), 2),
        ] {
            let rule = Rule::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((rule.class, rule.count), (class, count), "{text}");
        }
        let rule = Rule::parse("car cooldown 1h in 0, 0, 1, 0.5 for 2m").unwrap();
        assert_eq!((rule.cooldown, rule.hold, rule.lock), (Span::from_s(3600), Span::from_s(120), false));
        let rule = Rule::parse("lock>0.5 lock for 1s").unwrap();
        assert_eq!((rule.class, rule.lock), (label("lock"), true), "a class may have the name of a clause");
    }

    #[test]
    fn a_wrong_rule_is_refused_with_its_column() {
        use RuleErrorKind as K;
        for (text, column, kind) in [
            ("", 1, K::ClassExpected),
            ("  >0.5", 3, K::ClassExpected),
            ("person>1.5", 8, K::Confidence),
            ("person>", 8, K::Confidence),
            ("person for 5", 12, K::Span),
            ("person for 5 s", 12, K::Span),
            ("person for 25h", 12, K::Span),
            ("person until 5s", 8, K::ClauseExpected),
            ("person>0.5for 5s", 11, K::ClauseExpected),
            ("person for 1s for 2s", 15, K::ClauseTwice),
            ("person lock lock", 13, K::ClauseTwice),
            ("person locked", 8, K::ClauseExpected),
            ("person lock 1s", 13, K::ClauseExpected),
            ("person in 0.5,0,0.4,1", 11, K::Region),
            ("person in 0,0,1", 11, K::Region),
            ("0x person", 1, K::Count),
            ("513x person", 1, K::Count),
            ("\"person", 1, K::QuoteOpen),
            ("#person", 1, K::NumberExpected),
            ("#99999999999", 1, K::NumberExpected),
            ("größe>2", 7, K::Confidence),
        ] {
            assert_eq!(Rule::parse(text), Err(RuleError { column, kind }), "{text}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(Rule::parse(&long).unwrap_err().kind, K::LabelTooLong);
    }
}
