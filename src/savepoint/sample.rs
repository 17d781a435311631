//! A few keys of a savepoint, chosen so that whatever its values look like is among them: small enough for a
//! repository, for the tests of migrations.

use super::{LayerWriter, Savepoint, StateView, new};
use crate::error::{Error, Result, shown};
use crate::model::{
    ImageKind, KeyGroup, Manifest, OperatorEntry, StateEntry, StateKind, TIMER_TIME_BYTES, Value, array_of,
    encode_value,
};
use crate::storage::{LocalStore, Store};
use arrow::array::{ArrayRef, UInt16Array};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The name of the label that says what a savepoint is a sample of.
pub const SAMPLE_OF: &str = "sample-of";

/// The kinds of value that are looked out for in one state; a type has no more of them unless it is huge.
const FEATURES: usize = 4096;

/// What of a value is worth having once in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Present,
    Absent,
    Empty,
    Longest,
    Least,
    Greatest,
    NotANumber,
}

/// Where a feature is: the stored schema, and the place in its type.
type Place = (usize, String, Feature);

/// An encoded key, without the time of a timer.
type KeyBytes = Vec<u8>;

/// Writes a sample of a savepoint, in the directory `dir` of a store, which has no files: for each operator about
/// `keys` keys, with the rows that all its keyed states have for them, and lists as they are.
///
/// First come a key of each stored schema, some of those in quarantine, which are no more in the sample, and the extremes
/// of every field: least and greatest, longest and empty, `None` and each variant; then keys from everywhere, evenly. The same savepoint has always the same sample. Rows keep the
/// schema that they have. Memory: the rows that are kept.
///
/// # Errors
///
/// [`Error::ImageExists`] if there is something in the directory; [`Error::Damaged`] if a file is damaged; [`Error::Io`].
pub fn sample(savepoint: &Savepoint, keys: usize, store: Arc<dyn Store>, dir: &str) -> Result<Savepoint> {
    savepoint.write_anew(store, dir, |store| {
        let mut manifest = Manifest {
            kind: ImageKind::Savepoint,
            created_ms: new::now_ms(),
            writer: new::writer_name(),
            parent: Some(savepoint.id.clone()),
            ..savepoint.manifest().clone()
        };
        manifest.labels.insert(SAMPLE_OF.to_owned(), savepoint.id.to_string());
        for (operator, entry) in savepoint.operators().zip(&mut manifest.operators) {
            let keyed = || operator.states().filter(|view| view.entry.kind.is_keyed());
            let chosen = choose(keyed(), keys)?;
            write_states(savepoint, operator.states(), &chosen, entry, (store, dir))?;
        }
        Ok(manifest)
    })
}

/// Does what [`sample`] does, into a local directory, which appears.
///
/// # Errors
///
/// As [`sample`].
pub fn sample_to(savepoint: &Savepoint, keys: usize, new: impl AsRef<Path>) -> Result<Savepoint> {
    let new = new.as_ref();
    let store = LocalStore::create_root(new).map_err(Error::io("create", shown(new)))?;
    sample(savepoint, keys, Arc::new(store), "")
}

/// Chooses keys of an operator: those with the extremes of each state first, then some from everywhere.
fn choose<'a>(states: impl Iterator<Item = StateView<'a>>, wanted: usize) -> Result<BTreeSet<KeyBytes>> {
    let (mut aside, mut extreme, mut even) = (Vec::new(), Vec::new(), Vec::new());
    for view in states {
        let counts = view.rows_by_schema()?;
        let schemas = counts.iter().filter(|rows| **rows > 0).count().max(1);
        let share = (wanted / schemas).max(1) as u64;
        // What a migration failed for is what tests are there for; yet it is not to be all.
        for row in view.quarantined()?.take((wanted / 2).max(1)) {
            let (mut encoded, key) = (Vec::new(), row?.key);
            if let Some(key_type) = &view.entry.key
                && encode_value(&key, key_type, &mut encoded).is_ok()
            {
                aside.push(encoded);
            }
        }
        let mut seen = vec![0; counts.len()];
        let mut found: BTreeMap<Place, (i128, KeyBytes)> = BTreeMap::new();
        for_each_row(&view, |row| {
            let (schema, at) = (row.schema, seen[row.schema]);
            seen[schema] += 1;
            if at % counts[schema].div_ceil(share).max(1) == 0 {
                // One of each schema in turn, so that none is left out where not all find room.
                even.push((at, schema, row.key_bytes.clone()));
            }
            features(&row.value, "", &mut |place: &str, feature, measure: i128| {
                let place = (schema, place.to_owned(), feature);
                let is_better = match found.get(&place) {
                    Some((best, _)) => measure > *best,
                    None => found.len() < FEATURES,
                };
                if is_better {
                    found.insert(place, (measure, row.key_bytes.clone()));
                }
            });
        })?;
        extreme.extend(found.into_values().map(|(_, key)| key));
    }
    even.sort_by_key(|(at, schema, _)| (*at, *schema));
    let first = even.iter().filter(|(at, ..)| *at == 0).map(|(.., key)| key.clone()).collect::<Vec<_>>();
    let mut chosen = BTreeSet::new();
    for key in first.into_iter().chain(aside).chain(extreme).chain(even.into_iter().map(|(.., key)| key)) {
        if chosen.len() >= wanted {
            break;
        }
        chosen.insert(key);
    }
    Ok(chosen)
}

/// Writes what the states of an operator have for some keys.
fn write_states<'a>(
    savepoint: &Savepoint,
    states: impl Iterator<Item = StateView<'a>>,
    keys: &BTreeSet<KeyBytes>,
    operator: &mut OperatorEntry,
    (store, dir): (&Arc<dyn Store>, &str),
) -> Result<()> {
    for (view, entry) in states.zip(&mut operator.states) {
        *entry = match view.layer_of() {
            None => savepoint.link_state(view.entry, (store.as_ref(), dir))?,
            Some(of) => {
                let mut kept = Vec::new();
                for_each_row(&view, |row| {
                    if keys.contains(&row.key_bytes) {
                        kept.push(row);
                    }
                })?;
                kept.sort_by(|a, b| (a.schema, a.group, &a.encoded).cmp(&(b.schema, b.group, &b.encoded)));
                let mut writer = LayerWriter::new(store.clone(), dir, of, 0);
                for rows in kept.chunk_by(|a, b| a.schema == b.schema) {
                    write_rows(&mut writer, view.entry, rows)?;
                }
                let mut entry = view.entry.clone();
                (entry.files, entry.tombstones) = Default::default();
                writer.finish()?.add_to(&mut entry);
                entry.forget_schemas();
                entry
            }
        };
    }
    Ok(())
}

/// Writes rows of one schema, which are in order.
fn write_rows(writer: &mut LayerWriter, entry: &StateEntry, rows: &[Row]) -> Result<()> {
    let (Some(first), Some(key_type)) = (rows.first(), &entry.key) else { return Ok(()) };
    let schema = &entry.schemas[first.schema];
    let unwritable = |error: &dyn std::fmt::Display| Error::Rows {
        path: format!("state `{}`", entry.name),
        found: error.to_string(),
        wanted: "values as they were read".to_owned(),
    };
    let groups: ArrayRef = Arc::new(rows.iter().map(|row| row.group.index()).collect::<UInt16Array>());
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let values: Vec<_> = rows.iter().map(|row| row.value.clone()).collect();
    let keys = array_of(&keys, key_type).map_err(|error| unwritable(&error))?;
    let values = array_of(&values, &schema.data_type).map_err(|error| unwritable(&error))?;
    writer.write(schema, groups, keys, values)
}

/// A row of keyed state.
struct Row {
    schema: usize,
    group: KeyGroup,
    /// The key with the time of a timer, encoded; and without it.
    encoded: Vec<u8>,
    key_bytes: KeyBytes,
    key: Value,
    value: Value,
}

fn for_each_row(view: &StateView<'_>, mut f: impl FnMut(Row)) -> Result<()> {
    let entry = view.entry;
    let time = if entry.kind == StateKind::Timers { TIMER_TIME_BYTES } else { 0 };
    view.for_each_value(|schema, key_type, key, value| {
        let mut encoded = Vec::new();
        encode_value(&key, key_type, &mut encoded).map_err(|error| Error::Damaged {
            path: format!("operator `{}`, state `{}`", view.operator.uid, entry.name),
            found: error.to_string(),
            wanted: format!("keys of type {key_type}"),
        })?;
        let group = entry.kind.key_group(&encoded, view.savepoint.manifest.max_parallelism);
        let key_bytes = encoded[time..].to_vec();
        f(Row { schema, group, encoded, key_bytes, key, value });
        Ok(())
    })
}

/// Tells of everything in a value that is worth having once: where, what, and how much of it; more is better.
fn features(value: &Value, place: &str, found: &mut impl FnMut(&str, Feature, i128)) {
    let mut range = |number: i128| {
        found(place, Feature::Least, number.saturating_neg());
        found(place, Feature::Greatest, number);
    };
    match value {
        Value::Unit | Value::Msgpack(_) => {}
        Value::Bool(value) => range(i128::from(*value)),
        Value::Int(value) => range(*value),
        Value::Uint(value) => range(i128::try_from(*value).unwrap_or(i128::MAX)),
        Value::Decimal(value, _) => range(*value),
        Value::Timestamp(value) | Value::TimestampNs(value) => range((*value).into()),
        Value::LocalDateTime(value) | Value::LocalDateTimeNs(value) | Value::Time(value) => {
            range((*value).into())
        }
        Value::Date(value) => range((*value).into()),
        Value::Duration(value) => range(i128::try_from(value.as_nanos()).unwrap_or(i128::MAX)),
        Value::Char(value) => range(u32::from(*value).into()),
        Value::F32(value) => float(f64::from(*value), place, found),
        Value::F64(value) => float(*value, place, found),
        Value::Uuid(_) => found(place, Feature::Present, 0),
        Value::String(text) => length(text.len(), place, found),
        Value::Bytes(bytes) => length(bytes.len(), place, found),
        Value::Option(None) => found(place, Feature::Absent, 0),
        Value::Option(Some(value)) => {
            found(place, Feature::Present, 0);
            features(value, &format!("{place}?"), found);
        }
        Value::List(values) => {
            length(values.len(), place, found);
            values.iter().for_each(|value| features(value, &format!("{place}[]"), found));
        }
        Value::Map(entries) => {
            length(entries.len(), place, found);
            entries.iter().for_each(|(_, value)| features(value, &format!("{place}{{}}"), found));
        }
        Value::Tuple(parts) => {
            for (index, part) in parts.iter().enumerate() {
                features(part, &format!("{place}.{index}"), found);
            }
        }
        Value::Struct(fields) => {
            fields.iter().for_each(|(name, value)| features(value, &format!("{place}.{name}"), found));
        }
        Value::Enum(variant, data) => {
            let place = format!("{place}:{variant}");
            found(&place, Feature::Present, 0);
            if let Some(data) = data {
                features(data, &place, found);
            }
        }
    }
}

fn length(length: usize, place: &str, found: &mut impl FnMut(&str, Feature, i128)) {
    let feature = if length == 0 { Feature::Empty } else { Feature::Longest };
    found(place, feature, length as i128);
}

fn float(value: f64, place: &str, found: &mut impl FnMut(&str, Feature, i128)) {
    if value.is_nan() {
        return found(place, Feature::NotANumber, 0);
    }
    // The bits of a float in the order of their values, -0 before 0.
    let bits = value.to_bits() as i64;
    let ordered = i128::from(bits ^ ((bits >> 63) as u64 >> 1) as i64);
    found(place, Feature::Least, -ordered);
    found(place, Feature::Greatest, ordered);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &Value) -> Vec<(String, Feature)> {
        let mut all = Vec::new();
        features(value, "", &mut |place, feature, _| all.push((place.to_owned(), feature)));
        all
    }

    #[test]
    fn what_a_value_shows_is_told_with_its_place() {
        let none = Value::Tuple(vec![Value::Option(None), Value::List(Vec::new())]);
        assert_eq!(found(&none), [(".0".to_owned(), Feature::Absent), (".1".to_owned(), Feature::Empty)]);
        let on = Value::Enum("On".to_owned(), Some(Box::new(Value::String("a".to_owned()))));
        assert_eq!(found(&on), [(":On".to_owned(), Feature::Present), (":On".to_owned(), Feature::Longest)]);
        assert_eq!(found(&Value::F64(f64::NAN)), [(String::new(), Feature::NotANumber)]);
    }

    #[test]
    fn floats_are_in_the_order_of_their_values() {
        let measure = |value: f64| {
            let mut greatest = 0;
            features(&Value::F64(value), "", &mut |_, feature, measure| {
                if feature == Feature::Greatest {
                    greatest = measure;
                }
            });
            greatest
        };
        let values = [f64::NEG_INFINITY, -2.0, -1.0, -0.0, 0.0, 1e-300, 1.0, f64::INFINITY];
        assert!(values.map(measure).is_sorted());
        assert_eq!(values.map(measure).iter().collect::<BTreeSet<_>>().len(), values.len());
    }
}
