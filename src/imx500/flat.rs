//! Just enough FlatBuffers to walk apParams: every read is checked against the buffer.
//!
//! A table begins with an i32 that is subtracted from its place to find its vtable; the vtable is u16 length, u16 table size,
//! then one u16 for each slot: 0 is absent, else the field's offset from the table. Strings, vectors and tables are
//! reached by a u32 offset relative to the field that holds it.

use super::{Malformed, ParseError};

/// The buffer; positions are bytes from its start.
#[derive(Clone, Copy)]
pub(super) struct Flat<'a>(pub &'a [u8]);

/// Place of a table.
pub(super) type Table = usize;

impl<'a> Flat<'a> {
    pub fn root(self) -> Result<Table, ParseError> {
        self.follow(0)
    }

    pub fn u8(self, table: Table, slot: usize) -> Result<u8, ParseError> {
        self.scalar::<1>(table, slot).map(|[b]| b)
    }

    pub fn u16(self, table: Table, slot: usize) -> Result<u16, ParseError> {
        self.scalar(table, slot).map(u16::from_le_bytes)
    }

    pub fn f32(self, table: Table, slot: usize) -> Result<f32, ParseError> {
        self.scalar(table, slot).map(f32::from_le_bytes)
    }

    /// The bytes of a string field; an absent one is empty. Not necessarily UTF-8.
    pub fn text(self, table: Table, slot: usize) -> Result<&'a [u8], ParseError> {
        let Some(field) = self.field(table, slot)? else { return Ok(&[]) };
        let at = self.follow(field)?;
        let len = u32::from_le_bytes(self.get(at)?) as usize;
        (at + 4).checked_add(len).and_then(|end| self.0.get(at + 4..end)).ok_or(self.outside(at))
    }

    /// The tables of a vector field, at most `limit`; an absent vector is empty.
    pub fn tables(
        self,
        table: Table,
        slot: usize,
        limit: usize,
    ) -> Result<impl Iterator<Item = Result<Table, ParseError>> + 'a, ParseError> {
        let (at, count) = match self.field(table, slot)? {
            None => (0, 0),
            Some(field) => {
                let at = self.follow(field)?;
                (at, u32::from_le_bytes(self.get(at)?) as usize)
            }
        };
        if count > limit {
            return Err(ParseError::new(at, Malformed::TooMany));
        }
        if count > 0 && at.saturating_add(4 + 4 * count) > self.0.len() {
            return Err(self.outside(at));
        }
        Ok((0..count).map(move |i| self.follow(at + 4 + 4 * i)))
    }

    fn field(self, table: Table, slot: usize) -> Result<Option<usize>, ParseError> {
        let back = i64::from(i32::from_le_bytes(self.get(table)?));
        let vtable = usize::try_from(table as i64 - back).map_err(|_| self.outside(table))?;
        let length = usize::from(u16::from_le_bytes(self.get(vtable)?));
        if vtable % 2 != 0 || length < 4 || length % 2 != 0 || vtable + length > self.0.len() {
            return Err(self.outside(vtable));
        }
        if slot + 2 > length {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(self.get(vtable + slot)?));
        Ok((offset != 0).then_some(table + offset))
    }

    fn scalar<const N: usize>(self, table: Table, slot: usize) -> Result<[u8; N], ParseError> {
        self.field(table, slot)?.map_or(Ok([0; N]), |at| self.get(at))
    }

    fn follow(self, at: usize) -> Result<usize, ParseError> {
        Ok(at.saturating_add(u32::from_le_bytes(self.get(at)?) as usize))
    }

    fn get<const N: usize>(self, at: usize) -> Result<[u8; N], ParseError> {
        let bytes = at.checked_add(N).and_then(|end| self.0.get(at..end));
        bytes.and_then(|b| b.try_into().ok()).ok_or(self.outside(at))
    }

    /// The error at `at`, or at the end when `at` lies behind it.
    fn outside(self, at: usize) -> ParseError {
        ParseError::new(at.min(self.0.len()), Malformed::FlatBuffer)
    }
}
