//! Values that cannot be stored: refused with their place, before a byte of them is written.

use pitlane::State;
use pitlane::savepoint::SavepointWriter;
use pitlane::state::{Build, Bytes, Msgpack};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// A number that some code forbids to serialize.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Shy(u32);

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            13 => Err(serde::ser::Error::custom("13 is not for others")),
            number => number.serialize(serializer),
        }
    }
}

#[derive(Clone, State)]
enum Holder {
    Nothing,
    One(Msgpack<Shy>),
    Named { numbers: Vec<Option<Msgpack<Shy>>> },
}

#[derive(Clone, State)]
struct Wrapper {
    by_name: BTreeMap<String, (u8, Holder)>,
}

fn refusal<T: State>(value: &T) -> String {
    T::Builder::default().append(value).unwrap_err().to_string()
}

#[test]
fn a_value_that_cannot_be_stored_is_named_by_its_place_in_the_type() {
    let shy = |number| Msgpack(Shy(number));
    let wanted = "found 13 is not for others, wanted a value that can be serialized";
    let wrapped = |holder| Wrapper { by_name: BTreeMap::from([("a".to_owned(), (1, holder))]) };
    assert_eq!(refusal(&shy(13)), wanted);
    assert_eq!(refusal(&wrapped(Holder::One(shy(13)))), format!("`by_name.value.f1.One`: {wanted}"));
    let numbers = vec![Some(shy(1)), None, Some(shy(13))];
    let place = "`by_name.value.f1.Named.numbers.element`";
    assert_eq!(refusal(&wrapped(Holder::Named { numbers })), format!("{place}: {wanted}"));
    for fine in [Holder::Nothing, Holder::One(shy(12))] {
        <Wrapper as State>::Builder::default().append(&wrapped(fine)).unwrap();
    }
}

/// Nothing of this takes 2 GiB of memory: lengths are looked at first, and pages that are not touched are not there.
#[test]
fn a_value_beyond_what_offsets_can_tell_is_refused_before_it_is_copied() {
    let long = 1_usize << 31;
    assert_eq!(
        refusal(&(1_u8, Bytes(vec![0; long]))),
        "`f1`: found 2147483648 bytes, wanted fewer than 2^31 bytes in one value"
    );
    assert_eq!(
        refusal(&Some(vec![(); long])),
        "found 2147483648 elements, wanted fewer than 2^31 elements in one value"
    );
}

#[test]
fn a_row_that_cannot_be_stored_ends_a_new_savepoint_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let writer = SavepointWriter::create(dir.path().join("new"), "shy").unwrap();
    let mut rows = writer.keyed_state::<String, (u8, Msgpack<Shy>)>("holder", "numbers", 1).unwrap();
    rows.insert(&"a".to_owned(), &(1, Msgpack(Shy(1)))).unwrap();
    let wanted = "operator `holder`, state `numbers`, key \"b\": cannot store `value.f1`: \
                  found 13 is not for others, wanted a value that can be serialized";
    assert_eq!(rows.insert(&"b".to_owned(), &(2, Msgpack(Shy(13)))).unwrap_err().to_string(), wanted);
    // Whoever goes on all the same is told again: a part of the row may lie in the columns.
    assert_eq!(rows.insert(&"c".to_owned(), &(3, Msgpack(Shy(3)))).unwrap_err().to_string(), wanted);
    assert_eq!(rows.finish().unwrap_err().to_string(), wanted);
}

/// Later images could not have the value either, and a job that goes on without images would lose all.
#[cfg(feature = "engine")]
#[test]
fn a_job_whose_state_cannot_be_stored_stops_and_names_the_key() {
    use pitlane::connectors::{FileSink, Generator};
    use pitlane::engine::{Checkpoints, Job, RunOptions};
    use std::time::Duration;

    let dir = tempfile::tempdir().unwrap();
    let job = Job::new("shy").checkpoints(Checkpoints::every(Duration::from_millis(20)));
    job.source(Generator::new(1, 1_000, |_, n| n as u32 % 10))
        .uid("numbers")
        .key_by(|number| *number)
        .flat_map_with_state(|sum: &mut Option<Msgpack<Shy>>, number| {
            *sum = Some(Msgpack(Shy(if number == 7 { 13 } else { 12 })));
            None::<u32>
        })
        .uid("sums")
        .sink(FileSink::json_lines(dir.path().join("out")))
        .uid("out");
    let error = job.run(&RunOptions::in_dir(dir.path().join("data")).workers(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator `sums`, state `state`, key 7: cannot store `value`: \
         found 13 is not for others, wanted a value that can be serialized"
    );
}
