//! Thrift's compact protocol, in which Parquet writes footers, page indexes and the headers of pages: as far as these are
//! looked at before the Parquet library sees them, which makes room for what they declare (clauses PQ-12 and PQ-13).

use std::ops::ControlFlow;

/// The most levels of structs and lists that are passed over.
const MAX_SKIPPED_LEVELS: usize = 64;

/// Types of values in the protocol, as far as others name them.
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Whether the fields of a struct are read on.
pub(super) type Flow = ControlFlow<()>;

/// Go on with the next field.
pub(super) const ON: Flow = ControlFlow::Continue(());

/// Bytes in the compact protocol, of which those that were read are gone; `None` from any of its functions means that they
/// are something else.
#[derive(Debug)]
pub(super) struct Thrift<'a> {
    pub(super) left: &'a [u8],
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    /// Passes over bytes.
    pub(super) fn pass(&mut self, length: u64) -> Option<()> {
        self.left = self.left.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Takes an integer of any size.
    pub(super) fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Takes an integer that is not negative.
    pub(super) fn size(&mut self) -> Option<u64> {
        u64::try_from(self.integer()?).ok()
    }

    /// Takes the head of a field that follows the one with the id `last`: id and type, or nothing at the end.
    fn field(&mut self, last: i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        match (head & 0x0F, head >> 4) {
            (0, _) => Some(None),
            (kind, 0) => Some(Some((self.integer()?, kind))),
            (kind, step) => Some(Some((last.checked_add(step.into())?, kind))),
        }
    }

    /// Goes through the fields of a struct, until there are no more or `each`, which takes the value, breaks off.
    pub(super) fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<Flow>) -> Option<()> {
        let mut last = 0;
        while let Some((id, kind)) = self.field(last)? {
            if each(self, id, kind)?.is_break() {
                break;
            }
            last = id;
        }
        Some(())
    }

    /// Takes the head of a list: how many, and of which type.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => count.into(),
        };
        Some((count, head & 0x0F))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8) -> Option<Flow> {
        self.skip_within(kind, MAX_SKIPPED_LEVELS).map(|()| ON)
    }

    fn skip_within(&mut self, kind: u8, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match kind {
            // A bool is in the head of its field.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (count <= self.left.len()).then_some(())?;
                (0..count).try_for_each(|_| self.skip_element(kind, levels))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (count <= self.left.len() as u64).then_some(())?;
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, levels)?;
                    self.skip_element(kinds & 0x0F, levels)
                })
            }
            STRUCT => self.fields(|input, _, kind| input.skip_within(kind, levels).map(|()| ON)),
            13 => self.pass(16),
            _ => None,
        }
    }

    /// Passes over a value in a collection, where a bool takes a byte.
    fn skip_element(&mut self, kind: u8, levels: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.pass(1) } else { self.skip_within(kind, levels) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_of_its_type_is_not_passed_over() {
        for (kind, bytes) in [
            (3, &[][..]),
            (I64, &[0xFF; 10]),
            (7, &[0; 7]),
            (8, &[3, 1, 2]),
            (8, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
            (LIST, &[0x31, 0, 0]),
            (LIST, &[0xF3, 0xFF, 0xFF, 0xFF, 0x7F]),
            (LIST, &[0x19; 1000]),
            (11, &[2, 0x88, 0]),
            (STRUCT, &[0x15, 2]),
            (STRUCT, &[0x1C; 1000]),
            (13, &[0; 15]),
            (14, &[0; 99]),
        ] {
            assert_eq!(Thrift::new(bytes).skip(kind), None, "{kind} {bytes:?}");
        }
    }

    #[test]
    fn a_value_is_passed_over_to_its_last_byte() {
        for (kind, bytes) in [
            (1, &[][..]),
            (3, &[9]),
            (I32, &[0x80, 1]),
            (7, &[0; 8]),
            (8, &[2, 1, 2]),
            (LIST, &[0x31, 0, 1, 0]),
            (10, &[0x15, 4]),
            (11, &[0]),
            (11, &[1, 0x18, 1, 1, b'a']),
            (STRUCT, &[0x15, 2, 0x05, 40, 2, 0x11, 0x2C, 0, 0]),
            (13, &[0; 16]),
        ] {
            let all = [bytes, &[77]].concat();
            let mut input = Thrift::new(&all);
            assert_eq!((input.skip(kind), input.left), (Some(ON), &[77][..]), "{kind} {bytes:?}");
        }
    }

    #[test]
    fn integers_are_read_with_their_sign() {
        for (bytes, number) in [(&[0][..], 0), (&[1], -1), (&[2], 1), (&[0x80, 1], 64)] {
            assert_eq!(Thrift::new(bytes).integer(), Some(number));
            assert_eq!(Thrift::new(bytes).size(), u64::try_from(number).ok());
        }
    }
}
