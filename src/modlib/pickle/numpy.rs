//! numpy's arrays as their pickles hold them: shape, element type, bytes.

use std::ops::Range;

use crate::modlib::defect::Reason;

/// A number of an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

/// An element type: kind (`f`, `i`, `u`, `b`), bytes, byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dtype {
    kind: u8,
    size: usize,
    big_endian: bool,
}

impl Dtype {
    /// The type of numpy's short name: `f4`, `u2`, `b1` ...
    pub fn named(name: &str) -> Result<Self, Reason> {
        let known = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"];
        if !known.contains(&name) {
            return Err(Reason::Pickle("an array has elements of a type that modlib does not use"));
        }
        let bytes = name.as_bytes();
        Ok(Self { kind: bytes[0], size: usize::from(bytes[1] - b'0'), big_endian: false })
    }

    /// The same type in the byte order of numpy's mark.
    pub fn ordered(self, mark: &str) -> Result<Self, Reason> {
        match mark {
            "<" | "|" | "=" => Ok(Self { big_endian: false, ..self }),
            ">" => Ok(Self { big_endian: true, ..self }),
            _ => Err(Reason::Pickle("an array has a byte order that numpy does not have")),
        }
    }

    /// True for elements of one byte: masks.
    pub fn is_byte(self) -> bool {
        self.size == 1
    }

    /// The element in `bytes`, which are as many as one takes.
    pub fn number(self, bytes: &[u8]) -> Result<Number, Reason> {
        let mut wide = [0; 8];
        for (place, &byte) in wide.iter_mut().zip(bytes) {
            *place = byte;
        }
        if self.big_endian {
            wide[..self.size].reverse();
        }
        let raw = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.size as u32;
        Ok(match (self.kind, self.size) {
            (b'f', 4) => Number::Float(f64::from(f32::from_bits(raw as u32))),
            (b'f', _) => Number::Float(f64::from_bits(raw)),
            // The shift up and down carries the sign along.
            (b'i', _) => Number::Int((raw << unused) as i64 >> unused),
            _ => Number::Int(i64::try_from(raw).map_err(|_| OUT_OF_INT)?),
        })
    }
}

const OUT_OF_INT: Reason = Reason::OutOfRange { key: "an array element", allowed: "64-bit integers" };

/// Dimensions that an array of modlib can have.
pub(super) const DIMENSIONS_MAX: usize = 4;

/// An array; its bytes lie in the pickle.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub dtype: Dtype,
    pub shape: heapless::Vec<usize, DIMENSIONS_MAX>,
    fortran: bool,
    data: Range<usize>,
    len: usize,
}

impl Array {
    /// # Errors
    /// The bytes are not as many as the shape says.
    pub fn new(
        dtype: Dtype,
        shape: heapless::Vec<usize, DIMENSIONS_MAX>,
        fortran: bool,
        data: Range<usize>,
    ) -> Result<Self, Reason> {
        let len = shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side));
        let bytes = len.and_then(|len| len.checked_mul(dtype.size));
        match len.filter(|_| bytes == Some(data.len())) {
            Some(len) => Ok(Self { dtype, shape, fortran, data, len }),
            None => Err(Reason::Pickle("an array has other bytes than its shape says")),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Element `index` counted row by row, whatever the order in memory.
    pub fn number(&self, pickle: &[u8], index: usize) -> Result<Number, Reason> {
        let at = self.data.start + self.place(index) * self.dtype.size;
        self.dtype.number(&pickle[at..at + self.dtype.size])
    }

    /// All bytes row by row, where they lie so.
    pub fn bytes<'a>(&self, pickle: &'a [u8]) -> Option<&'a [u8]> {
        let in_order = !self.fortran || self.shape.iter().filter(|&&side| side > 1).count() < 2;
        in_order.then(|| &pickle[self.data.clone()])
    }

    fn place(&self, index: usize) -> usize {
        if !self.fortran {
            return index;
        }
        // Columns first: the last index of the row-major order has the largest stride.
        let (mut rest, mut place, mut stride) = (index, 0, self.len);
        for &side in self.shape.iter().rev() {
            stride /= side;
            place += rest % side * stride;
            rest /= side;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(sides: &[usize]) -> heapless::Vec<usize, DIMENSIONS_MAX> {
        heapless::Vec::from_slice(sides).unwrap()
    }

    #[test]
    fn elements_of_every_type_are_read() {
        let read = |name: &str, mark: &str, bytes: &[u8]| {
            Dtype::named(name).and_then(|dtype| dtype.ordered(mark)).and_then(|dtype| dtype.number(bytes))
        };
        assert_eq!(read("i1", "|", &[0xFF]), Ok(Number::Int(-1)));
        assert_eq!(read("u2", "<", &[0x34, 0x12]), Ok(Number::Int(0x1234)));
        assert_eq!(read("i4", ">", &[0xFF, 0xFF, 0xFF, 0xFE]), Ok(Number::Int(-2)));
        assert_eq!(read("f4", "<", &0.1_f32.to_le_bytes()), Ok(Number::Float(f64::from(0.1_f32))));
        assert_eq!(read("f8", ">", &0.1_f64.to_be_bytes()), Ok(Number::Float(0.1)));
        assert_eq!(read("u8", "<", &[0xFF; 8]), Err(OUT_OF_INT));
        assert!(Dtype::named("O8").is_err() && Dtype::named("U3").is_err());
    }

    #[test]
    fn columns_first_is_read_row_by_row() {
        let bytes = [0, 3, 1, 4, 2, 5];
        let array = Array::new(Dtype::named("u1").unwrap(), shape(&[2, 3]), true, 0..6).unwrap();
        let numbers: Vec<_> = (0..6).map(|index| array.number(&bytes, index).unwrap()).collect();
        assert_eq!(numbers, (0..6).map(Number::Int).collect::<Vec<_>>());
        assert_eq!(array.bytes(&bytes), None);
    }

    #[test]
    fn a_shape_that_lies_is_refused_without_an_overflow() {
        let u1 = Dtype::named("u1").unwrap();
        assert!(Array::new(u1, shape(&[2, 4]), false, 0..6).is_err());
        assert!(Array::new(u1, shape(&[usize::MAX, usize::MAX]), false, 0..6).is_err());
    }
}
