//! What the flights' jobs did come to: the files that they wrote, and the state in a savepoint or checkpoint.

use crate::flights::{AircraftV1, AircraftV2, DelaysToV2, DelaysV1, DelaysV2};
use crate::oracle::Outcome;
use pitlane::migrate::Chain;
use pitlane::savepoint::Savepoint;
use pitlane::{BoxError, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the output below `out` and the state in `image`, the latter as release 2 sees it if `second`.
pub fn read(out: &Path, image: &Path, second: bool) -> Result<Outcome, BoxError> {
    let mut output = BTreeMap::new();
    for (sink, key) in [("carriers", "/0"), ("alerts", "/aircraft")] {
        read_sink(&out.join(sink), sink, key, &mut output)?;
    }
    let savepoint = Savepoint::open(image)?;
    let (carriers, aircraft) = (("carriers", "accumulator"), ("aircraft", "state"));
    let mut state = BTreeMap::new();
    if second {
        let chain = Chain::<DelaysV2>::current(2).then(DelaysToV2);
        read_state(&savepoint, carriers, chain, |delays| json!(delays), &mut state)?;
        let show = |AircraftV2 { bound_for, back_ms, alerts, worst_wait_min }| {
            json!({"bound_for": bound_for, "back_ms": back_ms, "alerts": alerts,
                "worst_wait_min": worst_wait_min})
        };
        read_state(&savepoint, aircraft, Chain::current(2), show, &mut state)?;
    } else {
        let chain = Chain::<DelaysV1>::current(1);
        read_state(&savepoint, carriers, chain, |delays| json!(delays), &mut state)?;
        let show = |AircraftV1 { dest, back_ms, alerts }| json!({"dest": dest, "back_ms": back_ms, "alerts": alerts});
        read_state(&savepoint, aircraft, Chain::current(1), show, &mut state)?;
    }
    Ok(Outcome { output, state })
}

/// Reads the records of a sink, in the order of the files' names, which is that of the epochs: the records of
/// one key come from one worker at a time, and so are in order.
fn read_sink(
    dir: &Path,
    sink: &str,
    key: &str,
    output: &mut BTreeMap<(String, String), Vec<Value>>,
) -> Result<(), BoxError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    for file in files {
        for line in std::fs::read_to_string(&file)?.lines() {
            let record: Value = serde_json::from_str(line)?;
            let key = record.pointer(key).and_then(Value::as_str).ok_or("a record without a key")?;
            output.entry((sink.to_owned(), key.to_owned())).or_default().push(record);
        }
    }
    Ok(())
}

/// Reads a state of an operator, each value taken to the type `S` as the job would at first touch.
fn read_state<S: State>(
    savepoint: &Savepoint,
    (operator, name): (&str, &str),
    chain: Chain<S>,
    show: impl Fn(S) -> Value,
    state: &mut BTreeMap<(String, String), Value>,
) -> Result<(), BoxError> {
    for row in savepoint.operator(operator)?.state(name)?.rows::<String, S>(chain)? {
        let (key, value) = row?;
        if state.insert((operator.to_owned(), key.clone()), show(value)).is_some() {
            return Err(format!("{operator} has {key} twice").into());
        }
    }
    Ok(())
}

/// Says where two outcomes differ first; nothing if they are equal.
pub fn difference(found: &Outcome, wanted: &Outcome) -> Option<String> {
    first_difference(&found.output, &wanted.output)
        .map(|(key, found, wanted)| format!("output of {key:?}: found {found:?}, wanted {wanted:?}"))
        .or_else(|| {
            first_difference(&found.state, &wanted.state)
                .map(|(key, found, wanted)| format!("state of {key:?}: found {found:?}, wanted {wanted:?}"))
        })
}

type Difference<'a, V> = (&'a (String, String), Option<&'a V>, Option<&'a V>);

fn first_difference<'a, V: PartialEq>(
    found: &'a BTreeMap<(String, String), V>,
    wanted: &'a BTreeMap<(String, String), V>,
) -> Option<Difference<'a, V>> {
    let mut keys = wanted.keys().chain(found.keys());
    keys.find(|key| found.get(*key) != wanted.get(*key)).map(|key| (key, found.get(key), wanted.get(key)))
}
