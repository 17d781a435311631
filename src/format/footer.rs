//! What Parquet's footers declare, looked at before the Parquet library makes room for it (clause PQ-13).
//!
//! Hashes tell that bytes are those that were written, not that whoever wrote them meant well. The library trusts a
//! few numbers before it has seen what they count: how long the footer is, how many columns a group has, and how deep
//! groups nest; how many pages an index lists is seen to by [`page_index`](super::page_index).

use super::thrift::{I32, LIST, ON, Thrift};
use std::ops::ControlFlow;

/// The first and the last bytes of a Parquet file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// The most levels of columns in a schema: types nest at most 32 levels deep, and each has at most three of columns.
const MAX_LEVELS: usize = 128;

/// What was found and what is wanted.
pub(super) type Odd = (String, String);

pub(super) fn odd(found: impl Into<String>, wanted: impl Into<String>) -> Odd {
    (found.into(), wanted.into())
}

/// Checks the footer at the end of a tail, before the library reads it: its length is in the eight bytes behind it.
pub(super) fn check_footer(tail: &[u8]) -> Result<(), Odd> {
    let Some((rest, [a, b, c, d, magic @ ..])) = tail.split_last_chunk::<8>() else { return Ok(()) };
    let length = u32::from_le_bytes([*a, *b, *c, *d]);
    if magic != MAGIC {
        return Err(odd("other bytes at the end", "the magic of Parquet"));
    }
    let start = usize::try_from(length).ok().and_then(|length| rest.len().checked_sub(length));
    let start = start.ok_or_else(|| {
        odd(format!("a footer of {length} bytes"), format!("at most the {} of the tail", rest.len()))
    })?;
    check_schema(&rest[start..])
}

/// Checks the schema in a footer: that there are as many columns as it declares, nested no deeper than types are.
fn check_schema(footer: &[u8]) -> Result<(), Odd> {
    let mut input = Thrift::new(footer);
    let mut children = None;
    // What cannot be read is the library's to tell.
    let _ = input.fields(|input, id, kind| {
        if (id, kind) != (2, LIST) {
            return input.skip(kind);
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
                    declared = input.integer()?;
                    return Some(ON);
                }
                input.skip(kind)
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
            let _ = check_schema(&bytes);
        }
        // A list of lists of lists.
        assert_eq!(check_schema(&[0x59].iter().chain(&[0x19; 1000]).copied().collect::<Vec<_>>()), Ok(()));
    }
}
