//! Names of the classes of a network, in fixed memory.

use crate::limits::{LABEL_TEXT_BYTES_MAX, LABELS_MAX};

/// Names by class number, in one block of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    text: heapless::String<LABEL_TEXT_BYTES_MAX>,
    ends: heapless::Vec<u16, LABELS_MAX>,
}

/// A label did not fit: more than `LABELS_MAX` names, or more than `LABEL_TEXT_BYTES_MAX` bytes in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelsFull;

impl core::fmt::Display for LabelsFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "more than {LABELS_MAX} labels or {LABEL_TEXT_BYTES_MAX} bytes of label text")
    }
}

impl core::error::Error for LabelsFull {}

impl Labels {
    /// No labels.
    pub const fn new() -> Self {
        Self { text: heapless::String::new(), ends: heapless::Vec::new() }
    }

    /// Adds the name of the next class. On error nothing was added.
    pub fn push(&mut self, name: &str) -> Result<(), LabelsFull> {
        if self.ends.is_full() {
            return Err(LabelsFull);
        }
        self.text.push_str(name).map_err(|()| LabelsFull)?;
        self.ends.push(self.text.len() as u16).map_err(|_| LabelsFull)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is no name.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all names.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// The name of class `class_id`, if it has one.
    pub fn name(&self, class_id: i32) -> Option<&str> {
        let index = usize::try_from(class_id).ok()?;
        let end = usize::from(*self.ends.get(index)?);
        let start = index.checked_sub(1).map_or(0, |i| usize::from(self.ends[i]));
        Some(&self.text[start..end])
    }

    /// All names in the order of their class numbers.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|i| self.name(i as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_by_number() {
        let mut labels = Labels::new();
        for name in ["person", "", "car"] {
            labels.push(name).unwrap();
        }
        assert_eq!(labels.name(0), Some("person"));
        assert_eq!(labels.name(1), Some(""));
        assert_eq!(labels.name(2), Some("car"));
        assert_eq!(labels.name(3), None);
        assert_eq!(labels.name(-1), None);
    }

    #[test]
    fn a_label_too_many_is_refused_and_leaves_the_others() {
        let mut labels = Labels::new();
        for _ in 0..LABELS_MAX {
            labels.push("x").unwrap();
        }
        assert_eq!(labels.push("y"), Err(LabelsFull));
        assert_eq!(labels.len(), LABELS_MAX);
        labels.clear();
        let long = core::str::from_utf8(&[b'a'; 20_000]).unwrap();
        labels.push(long).unwrap();
        assert_eq!(labels.push(long), Err(LabelsFull));
        assert_eq!(labels.name(0), Some(long));
        assert_eq!(labels.len(), 1);
    }
}
