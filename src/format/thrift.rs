//! What Parquet's footers declare, looked at before the Parquet library makes room for it (clause PQ-13).
//!
//! Hashes tell that bytes are those that were written, not that whoever wrote them meant well. The library trusts a
//! few numbers before it has seen what they count: how many pages an index lists, how many columns a group has, and how
//! deep groups nest. They are read here, in Thrift's compact protocol, and compared with the bytes that are there.

use std::ops::ControlFlow;

/// The most levels of columns in a schema: types nest at most 32 levels deep, and each has at most three of columns.
const MAX_LEVELS: usize = 128;

/// The most levels of Thrift structs that are passed over.
const MAX_SKIPPED_LEVELS: usize = 64;

/// What was found and what is wanted.
type Odd = (String, String);

/// Checks the schema in a footer: that there are as many columns as it declares, nested no deeper than types are.
pub(super) fn check_schema(footer: &[u8]) -> Result<(), Odd> {
    let mut input = Input { left: footer };
    let mut children = None;
    // What cannot be read is the library's to tell.
    let _ = input.fields(|input, id, kind| {
        if (id, kind) != (2, LIST) {
            return input.skip(kind, MAX_SKIPPED_LEVELS).map(ControlFlow::Continue);
        }
        let (count, _) = input.list()?;
        if count > input.left.len() {
            children = Some(Err(count));
            return None;
        }
        let mut of_each = Vec::new();
        for _ in 0..count {
            let mut declared = 0;
            input.fields(|input, id, kind| {
                if (id, kind) == (5, I32) {
                    declared = input.signed()?;
                    return Some(ControlFlow::Continue(()));
                }
                input.skip(kind, MAX_SKIPPED_LEVELS).map(ControlFlow::Continue)
            })?;
            of_each.push(declared);
        }
        children = Some(Ok(of_each));
        Some(ControlFlow::Break(()))
    });
    let children = match children {
        None => return Ok(()),
        Some(Ok(children)) => children,
        Some(Err(count)) => {
            return Err((format!("a schema of {count} columns"), "those that follow".to_owned()));
        }
    };
    let mut open: Vec<i64> = Vec::new();
    for (index, declared) in children.iter().copied().enumerate() {
        let rest = (children.len() - index - 1) as i64;
        if declared < 0 || declared > rest {
            let wanted = format!("at most the {rest} that follow");
            return Err((format!("a group of {declared} columns in the schema"), wanted));
        }
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        open.push(declared);
        if open.len() > MAX_LEVELS {
            let wanted = format!("at most {MAX_LEVELS} levels");
            return Err((format!("columns that nest {} levels deep and more", open.len()), wanted));
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

/// Checks that an offset index is long enough for the pages that it lists.
pub(super) fn check_offset_index(index: &[u8]) -> Result<(), Odd> {
    let mut input = Input { left: index };
    let mut declared = || {
        let (_, kind) = input.field(0)??;
        if kind == LIST { input.list() } else { None }
    };
    match declared() {
        Some((pages, _)) if pages > index.len() => {
            let wanted = format!("at most as many as its {} bytes hold", index.len());
            Err((format!("an index of {pages} pages"), wanted))
        }
        _ => Ok(()),
    }
}

const I32: u8 = 5;
const LIST: u8 = 9;

/// Bytes in the compact protocol; `None` from any of its functions means that they are not.
struct Input<'a> {
    left: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    fn pass(&mut self, length: u64) -> Option<()> {
        self.left = self.left.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
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

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Takes the head of a field that follows the one with the id `last`: id and kind, or nothing at the end.
    fn field(&mut self, last: i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        match (head & 0x0F, head >> 4) {
            (0, _) => Some(None),
            (kind, 0) => Some(Some((self.signed()?, kind))),
            (kind, step) => Some(Some((last.checked_add(step.into())?, kind))),
        }
    }

    /// Goes through the fields of a struct, until there are no more or `each`, which takes the value, breaks off.
    fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<ControlFlow<()>>) -> Option<()> {
        let mut last = 0;
        while let Some((id, kind)) = self.field(last)? {
            if each(self, id, kind)?.is_break() {
                break;
            }
            last = id;
        }
        Some(())
    }

    /// Takes the head of a list: how many, and of which kind.
    fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.number()?).ok()?,
            count => count.into(),
        };
        Some((count, head & 0x0F))
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match kind {
            // A bool is in the head of its field.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.number()?;
                self.pass(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (count <= self.left.len()).then_some(())?;
                (0..count).try_for_each(|_| self.skip_element(kind, levels))
            }
            11 => {
                let count = self.number()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (count <= self.left.len() as u64).then_some(())?;
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, levels)?;
                    self.skip_element(kinds & 0x0F, levels)
                })
            }
            12 => self.fields(|input, _, kind| input.skip(kind, levels).map(ControlFlow::Continue)),
            13 => self.pass(16),
            _ => None,
        }
    }

    /// Passes over a value in a collection, where a bool takes a byte.
    fn skip_element(&mut self, kind: u8, levels: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.pass(1) } else { self.skip(kind, levels) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer whose schema has groups with so many columns, 0 for a column.
    fn footer(declared: &[u8]) -> Vec<u8> {
        // The version; a list of structs.
        let mut bytes = vec![0x15, 2, 0x19, 0xFC, declared.len() as u8 | 0x80, (declared.len() >> 7) as u8];
        for count in declared {
            // A repetition, a name, the number of columns.
            bytes.extend([0x35, 0, 0x18, 1, b'a', 0x15, count << 1, 0]);
        }
        bytes.extend([0x16, 0, 0]);
        bytes
    }

    /// Clause PQ-13.
    #[test]
    fn a_schema_that_declares_more_columns_than_it_has_or_nests_too_deep_is_refused() {
        for declared in [&[1][..], &[2, 0], &[3, 1, 0], &[1, 1], &[63, 0]] {
            let (found, _) = check_schema(&footer(declared)).unwrap_err();
            assert!(found.starts_with("a group of "), "{declared:?}: {found}");
        }
        let (found, _) = check_schema(&footer(&[[1; 129].as_slice(), &[0]].concat())).unwrap_err();
        assert!(found.starts_with("columns that nest"), "{found}");
        let (found, _) = check_schema(&[0x15, 2, 0x19, 0xFC, 0xFF, 0xFF, 0x7F]).unwrap_err();
        assert_eq!(found, "a schema of 2097151 columns");
        for sound in [&[0][..], &[1, 0], &[3, 1, 0, 0, 2, 0, 0]] {
            assert_eq!(check_schema(&footer(sound)), Ok(()), "{sound:?}");
        }
        assert_eq!(check_schema(&footer(&[[1; 127].as_slice(), &[0]].concat())), Ok(()));
        let flat = [[100].as_slice(), &[1, 0].repeat(50), &[0; 50]].concat();
        assert_eq!(check_schema(&footer(&flat)), Ok(()));
    }

    /// Clause PQ-13.
    #[test]
    fn an_index_of_more_pages_than_it_has_bytes_is_refused() {
        let (found, _) =
            check_offset_index(&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x16, 8]).unwrap_err();
        assert_eq!(found, "an index of 2147483647 pages");
        assert_eq!(check_offset_index(&[0x19, 0x1C, 0x16, 8, 0x15, 2, 0x16, 0, 0, 0]), Ok(()));
        assert_eq!(check_offset_index(&[]), Ok(()), "the library says what is wrong with it");
    }

    #[test]
    fn whatever_bytes_come_reading_them_ends() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.push(
                    [0x15, 0x19, 0x1C, 0xFC, 0x2C, 0x1B, 0xFF, (state >> 40) as u8]
                        [(state >> 60) as usize % 8],
                );
            }
            let _ = (check_schema(&bytes), check_offset_index(&bytes));
        }
        // A list of lists of lists.
        assert_eq!(check_schema(&[0x59].iter().chain(&[0x19; 1000]).copied().collect::<Vec<_>>()), Ok(()));
    }
}
