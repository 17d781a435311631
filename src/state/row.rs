//! Rows of a key and a value on their way into columns.

use super::{Build, Key, Refused, State, Unstorable};
use crate::model::text::cut;
use crate::model::{MAX_CELL_BYTES, value_at};

/// What a value in a column counts at the least: Parquet gives small numbers 32 bits, and each value has its levels.
pub(super) const LEAF_BYTES: usize = 4;

/// Returns what numbers count.
#[inline]
pub(super) fn leaf_bytes<T>(numbers: &[T]) -> usize {
    size_of::<T>().max(LEAF_BYTES) * numbers.len()
}

/// Adds a key and a value to their builders, both of which are of no use after an error.
#[inline]
pub(crate) fn append_row<K: Key, S: State>(
    (key, keys): (&K, &mut K::Builder),
    (value, values): (&S, &mut S::Builder),
) -> Result<(), Refused> {
    if let Err(problem) = append(key, keys) {
        return Err(Refused { row: shown_row(key), problem: problem.inside("key") });
    }
    match append(value, values) {
        Ok(()) => Ok(()),
        Err(problem) => Err(Refused { row: shown_row(key), problem: problem.inside("value") }),
    }
}

/// Adds a key, a value or an element to its builder, unless it is too large for one.
#[inline]
pub(crate) fn append<T: State>(value: &T, builder: &mut T::Builder) -> Result<(), Unstorable> {
    let before = builder.size_hint_bytes();
    builder.append(value)?;
    match builder.size_hint_bytes() - before {
        size if size > MAX_CELL_BYTES => Err(too_large(size)),
        _ => Ok(()),
    }
}

#[cold]
fn too_large(size: usize) -> Unstorable {
    Unstorable::new(format!("{size} bytes"), format!("at most {MAX_CELL_BYTES} in one key or value"))
        .with_hint("spread it over several keys: a value is read and written as a whole")
}

#[cold]
fn shown_row<K: Key>(key: &K) -> String {
    let mut builder = K::Builder::default();
    let column = builder.append(key).map(|()| builder.finish(None));
    match column.map(|column| value_at(&column, &K::data_type(), 0)) {
        Ok(Ok(key)) => format!("key {}", cut(&key.to_string())),
        _ => "a key".to_owned(),
    }
}
