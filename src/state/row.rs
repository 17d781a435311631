//! Rows of a key and a value on their way into columns.

use super::{Build as _, Key, Refused, State};
use crate::model::text::cut;
use crate::model::value_at;

/// Adds a key and a value to their builders, both of which are of no use after an error.
#[inline]
pub(crate) fn append_row<K: Key, S: State>(
    (key, keys): (&K, &mut K::Builder),
    (value, values): (&S, &mut S::Builder),
) -> Result<(), Refused> {
    if let Err(problem) = keys.append(key) {
        return Err(Refused { row: shown_row(key), problem: problem.inside("key") });
    }
    match values.append(value) {
        Ok(()) => Ok(()),
        Err(problem) => Err(Refused { row: shown_row(key), problem: problem.inside("value") }),
    }
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
