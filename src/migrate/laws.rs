//! The laws of migrations, checked on real state: that there is an answer for every value, always the same one, in
//! whatever order keys are touched, and that nothing with a name is lost unless somebody has said so.
//!
//! Users check them in tests of their own, on a small savepoint that `pitlane fixture` has made of a large one.

use super::{Chain, Route};
use crate::error::{Error, Result};
use crate::model::{DataType, SchemaVersion, Value, array_of, value_at};
use crate::savepoint::StateView;
use crate::state::{Build as _, State};
use std::fmt;

/// How many simpler values are tried to make a counter-example smaller.
const ATTEMPTS: usize = 500;

/// A law of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// There is an answer for every value: no error, no panic.
    Total,
    /// The same value has the same answer each time.
    Deterministic,
    /// Keys that are touched in another order have the same answers: lazily is as in bulk.
    AnyOrder,
    /// A field that has a name is in the next version too, or is declared in [`DROPS`](super::Migration::DROPS).
    NothingLost,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "there is an answer for every value",
            Self::Deterministic => "the same value has the same answer each time",
            Self::AnyOrder => "the order in which keys are touched makes no difference",
            Self::NothingLost => "no field is lost that is not declared in `DROPS`",
        })
    }
}

/// A law that migrations break.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokenLaw {
    /// The law.
    pub law: Law,
    /// The key and the stored value that show it, as small as could be found, and the version of its schema; none if the
    /// types alone show it.
    pub example: Option<(Value, Value, SchemaVersion)>,
    /// What came of it.
    pub found: String,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "broken: {}", self.law)?;
        if let Some((key, value, version)) = &self.example {
            writeln!(f, "  key {key}, stored under version {version}: {value}")?;
        }
        write!(f, "  {}", self.found)
    }
}

/// How migrations keep their laws on the rows of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Laws {
    /// The number of rows that were looked at.
    pub rows: u64,
    /// The laws that are broken, each with its smallest counter-example.
    pub broken: Vec<BrokenLaw>,
}

impl Laws {
    /// Panics with what is broken, if something is.
    ///
    /// # Panics
    ///
    /// If a law is broken, or there was no row to look at.
    pub fn assert(&self) {
        let shown: Vec<_> = self.broken.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
        assert!(self.rows > 0, "found no row, wanted some to try the migrations on");
    }
}

impl fmt::Display for Laws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.broken.iter().try_for_each(|broken| writeln!(f, "{broken}"))
    }
}

/// A stored row.
struct Stored {
    schema: usize,
    key: Value,
    value: Value,
}

/// Checks the laws of the migrations in `chain` on all rows of a keyed state.
///
/// # Examples
///
/// ```
/// use pitlane::BoxError;
/// use pitlane::migrate::{Chain, Migration, laws};
/// use pitlane::model::Value;
/// use pitlane::savepoint::SavepointWriter;
/// use pitlane::storage::MemoryStore;
/// use std::sync::Arc;
///
/// struct InMinutes;
///
/// impl Migration for InMinutes {
///     type From = i64;
///     type To = u32;
///     const FROM: u32 = 1;
///     const TO: u32 = 2;
///
///     fn migrate(&self, _: &Value, seconds: i64) -> Result<Option<u32>, BoxError> {
///         Ok(Some(u32::try_from(seconds)? / 60))
///     }
/// }
///
/// // In a test of one's own: `Savepoint::open("tests/state")?`, which `pitlane fixture` has made.
/// let writer = SavepointWriter::create_in(Arc::new(MemoryStore::new()), "", "delays")?;
/// let mut delays = writer.keyed_state::<String, i64>("delay", "state", 1)?;
/// for (flight, seconds) in [("UA1545", 120), ("UA1714", 240), ("AA1141", -7_200)] {
///     delays.insert(&flight.to_owned(), &seconds)?;
/// }
/// delays.finish()?;
/// let savepoint = writer.finish()?;
///
/// let state = savepoint.operator("delay")?.state("state")?;
/// let laws = laws(&state, &Chain::<u32>::current(2).then(InMinutes))?;
/// assert_eq!(
///     laws.to_string(),
///     "broken: there is an answer for every value\n  \
///      key \"AA1141\", stored under version 1: -1\n  \
///      error: out of range integral type conversion attempted\n"
/// );
/// # Ok::<(), pitlane::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Incompatible`] or [`Error::NoMigration`] if there is no way from a stored schema to `S`; [`Error::Job`] if the
/// migrations do not form a chain; [`Error::Damaged`] and [`Error::Io`] if the state cannot be read.
pub fn laws<S: State>(state: &StateView<'_>, chain: &Chain<S>) -> Result<Laws> {
    let (operator, entry) = (state.operator(), state.entry());
    let job = || state.savepoint().manifest().job.name.to_string();
    chain.check(operator.uid.as_str()).map_err(|problem| Error::Job { job: job(), problem })?;
    let routes = chain.routes(state)?;
    let mut rows = Vec::new();
    state.for_each_value(|schema, _, key, value| {
        rows.push(Stored { schema, key, value });
        Ok(())
    })?;
    let answer = |row: &Stored| match &routes[row.schema] {
        Some(route) => answer(route, &row.key, &row.value),
        None => Err("rows of a schema that has none".to_owned()),
    };
    let forward: Vec<_> = rows.iter().map(answer).collect();
    let mut backward: Vec<_> = rows.iter().rev().map(answer).collect();
    backward.reverse();

    let mut broken = lost_fields(chain);
    let version = |row: &Stored| entry.schemas[row.schema].version;
    let mut breaks = |law, is_broken: &dyn Fn(&Stored) -> Option<String>, rows: &[&Stored]| {
        let Some(smallest) = rows.iter().min_by_key(|row| row.value.to_string().len()) else { return };
        let row =
            shrunk(smallest, &entry.schemas[smallest.schema].data_type, &|row| is_broken(row).is_some());
        let (row, found) = match is_broken(&row) {
            Some(found) => (row, found),
            // It was so once: that is what makes it a law that is broken.
            None => {
                let row = Stored {
                    schema: smallest.schema,
                    key: smallest.key.clone(),
                    value: smallest.value.clone(),
                };
                (row, "it does not happen each time".to_owned())
            }
        };
        let version = version(&row);
        broken.push(BrokenLaw { law, example: Some((row.key, row.value, version)), found });
    };
    let failed: Vec<_> = rows.iter().zip(&forward).filter(|(_, a)| a.is_err()).map(|(row, _)| row).collect();
    breaks(Law::Total, &|row| answer(row).err(), &failed);
    let twice = |row: &Stored| {
        let (one, other) = (answer(row).ok()?, answer(row).ok()?);
        (one != other).then(|| format!("once {}, once {}", shown(&one), shown(&other)))
    };
    let unsteady: Vec<_> = rows.iter().filter(|row| twice(row).is_some()).collect();
    breaks(Law::Deterministic, &twice, &unsteady);
    if unsteady.is_empty() {
        let differs = rows.iter().zip(forward.iter().zip(&backward)).find(|(_, (one, other))| one != other);
        if let Some((row, (one, other))) = differs {
            let shown = |answer: &Answer| answer.as_ref().map_or_else(Clone::clone, shown);
            broken.push(BrokenLaw {
                law: Law::AnyOrder,
                example: Some((row.key.clone(), row.value.clone(), version(row))),
                found: format!("in order {}, in the opposite order {}", shown(one), shown(other)),
            });
        }
    }
    broken.sort_by_key(|broken| broken.law);
    Ok(Laws { rows: rows.len() as u64, broken })
}

/// What became of a value: the new one, or none; or why there is no answer.
type Answer = std::result::Result<Option<Value>, String>;

fn shown(answer: &Option<Value>) -> String {
    answer.as_ref().map_or("nothing, which lets the key go".to_owned(), ToString::to_string)
}

/// Takes one value through the migrations, by itself.
fn answer<S: State>(route: &Route<S>, key: &Value, value: &Value) -> Answer {
    let column =
        array_of(std::slice::from_ref(value), &route.stored().data_type).map_err(|e| e.to_string())?;
    let values = route.open(&column).map_err(|e| e.to_string())?;
    let migrated = values.read(0, &|| key.clone());
    let Some(new) = migrated.map_err(|failure| format!("error: {}", failure.source))? else {
        return Ok(None);
    };
    let mut builder = S::Builder::default();
    builder.append(&new).map_err(|problem| format!("the new value cannot be stored: {problem}"))?;
    let column = builder.finish(None);
    value_at(&column, &S::data_type(), 0).map(Some).map_err(|e| e.to_string())
}

/// Makes a row simpler for as long as it breaks the law.
fn shrunk(row: &Stored, data_type: &DataType, breaks: &dyn Fn(&Stored) -> bool) -> Stored {
    let mut smallest = Stored { schema: row.schema, key: row.key.clone(), value: row.value.clone() };
    let mut attempts = 0;
    'smaller: loop {
        for value in simpler(&smallest.value) {
            attempts += 1;
            if attempts > ATTEMPTS {
                return smallest;
            }
            let is_value = array_of(std::slice::from_ref(&value), data_type).is_ok();
            let candidate = Stored { schema: row.schema, key: row.key.clone(), value };
            if is_value && breaks(&candidate) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        return smallest;
    }
}

/// Values of the same type that are simpler, the simplest first.
fn simpler(value: &Value) -> Vec<Value> {
    let part = |parts: &[Value], make: &dyn Fn(Vec<Value>) -> Value| -> Vec<Value> {
        let replaced = |index: usize| {
            simpler(&parts[index]).into_iter().map(move |part| {
                let mut parts = parts.to_vec();
                parts[index] = part;
                parts
            })
        };
        (0..parts.len()).flat_map(replaced).map(make).collect()
    };
    match value {
        Value::Bool(true) => vec![Value::Bool(false)],
        Value::Int(0) | Value::Uint(0) => Vec::new(),
        Value::Int(number) => numbers(*number).map(Value::Int).collect(),
        Value::Uint(number) => {
            [0, number / 2, number - 1].into_iter().filter(|n| n < number).map(Value::Uint).collect()
        }
        Value::F64(number) if *number != 0.0 => vec![Value::F64(0.0)],
        Value::F32(number) if *number != 0.0 => vec![Value::F32(0.0)],
        Value::String(text) if !text.is_empty() => {
            let half = text.chars().count() / 2;
            vec![
                Value::String(String::new()),
                Value::String(text.chars().take(half).collect()),
                Value::String(text.chars().skip(1).collect()),
            ]
        }
        Value::Bytes(bytes) if !bytes.is_empty() => {
            vec![Value::Bytes(Vec::new()), Value::Bytes(bytes[..bytes.len() / 2].to_vec())]
        }
        Value::Option(Some(inner)) => {
            let inner = simpler(inner).into_iter().map(|inner| Value::Option(Some(Box::new(inner))));
            [Value::Option(None)].into_iter().chain(inner).collect()
        }
        Value::List(values) if !values.is_empty() => {
            let shorter = [Vec::new(), values[..values.len() / 2].to_vec(), values[1..].to_vec()];
            let shorter = shorter.into_iter().map(Value::List);
            shorter.chain(part(values, &Value::List)).collect()
        }
        Value::Map(entries) if !entries.is_empty() => {
            let shorter = [Vec::new(), entries[..entries.len() / 2].to_vec(), entries[1..].to_vec()];
            shorter.into_iter().map(Value::Map).collect()
        }
        Value::Tuple(parts) => part(parts, &Value::Tuple),
        Value::Struct(fields) => {
            let (names, values): (Vec<_>, Vec<_>) = fields.iter().cloned().unzip();
            part(&values, &|values| Value::Struct(names.iter().cloned().zip(values).collect()))
        }
        Value::Enum(variant, Some(data)) => {
            let data = simpler(data).into_iter();
            data.map(|data| Value::Enum(variant.clone(), Some(Box::new(data)))).collect()
        }
        _ => Vec::new(),
    }
}

fn numbers(number: i128) -> impl Iterator<Item = i128> {
    let closer = if number > 0 { number - 1 } else { number + 1 };
    [0, number / 2, closer].into_iter().filter(move |n| n.unsigned_abs() < number.unsigned_abs())
}

/// Fields that a step takes and does not make, by the types alone.
fn lost_fields<S: State>(chain: &Chain<S>) -> Vec<BrokenLaw> {
    let stages = chain.stages();
    let mut broken = Vec::new();
    for (step, made) in chain.steps().iter().zip(stages.iter().skip(1)) {
        let mut lost = Vec::new();
        walk_lost("value", &step.from.data_type, &made.data_type, &mut lost);
        lost.retain(|place| !step.drops.contains(place));
        if !lost.is_empty() {
            broken.push(BrokenLaw {
                law: Law::NothingLost,
                example: None,
                found: format!(
                    "`{}`, v{} -> v{}: {}",
                    step.name,
                    step.from.version,
                    step.to,
                    lost.join(", ")
                ),
            });
        }
    }
    broken
}

fn walk_lost(place: &str, from: &DataType, to: &DataType, lost: &mut Vec<String>) {
    use DataType::{List, Map, Option, Set, Struct};
    match (from, to) {
        (Struct(from), Struct(to)) => {
            for field in from {
                let place = format!("{place}.{}", field.name);
                match to.iter().find(|new| new.identity() == field.identity() || new.name == field.name) {
                    Some(new) => walk_lost(&place, &field.data_type, &new.data_type, lost),
                    None => lost.push(place),
                }
            }
        }
        (Option(from), Option(to)) => walk_lost(place, from, to, lost),
        (Option(from), to) => walk_lost(place, from, to, lost),
        (from, Option(to)) => walk_lost(place, from, to, lost),
        (List(from) | Set(from), List(to) | Set(to)) => walk_lost(&format!("{place}[]"), from, to, lost),
        (Map(_, from), Map(_, to)) => walk_lost(&format!("{place}{{}}"), from, to, lost),
        _ => {}
    }
}
