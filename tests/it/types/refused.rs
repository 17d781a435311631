//! What the compiler lets pass and no file can hold: refused when the job is put together, or with the value's key.

use arrow::array::{ArrayRef, BinaryArray, UInt8Array};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use pitlane::model::{DataType, Schema, SchemaVersion};
use pitlane::savepoint::SavepointWriter;
use pitlane::state::Bytes;
use std::sync::Arc;

#[cfg(feature = "engine")]
mod jobs {
    use pitlane::connectors::{FileSink, Generator};
    use pitlane::engine::Job;
    use pitlane::migrate::Migration;
    use pitlane::model::Value;
    use pitlane::{BoxError, State};
    use std::time::{Duration, SystemTime};

    type Four<T> = Vec<Vec<Vec<Vec<T>>>>;
    type Sixteen<T> = Four<Four<Four<Four<T>>>>;

    #[derive(Clone, State)]
    struct Tree {
        name: String,
        branches: Option<Sixteen<Sixteen<u8>>>,
    }

    #[derive(Clone, State)]
    struct Alarm {
        name: String,
        #[state(default = SystemTime::UNIX_EPOCH + Duration::from_nanos(1))]
        at: SystemTime,
    }

    struct Pruned;

    impl Migration for Pruned {
        type From = Tree;
        type To = String;
        const FROM: u32 = 1;
        const TO: u32 = 2;

        fn migrate(&self, _key: &Value, old: Tree) -> Result<Option<String>, BoxError> {
            Ok(old.branches.is_some().then_some(old.name))
        }
    }

    /// Puts a job together with a state of type `S`, and shows why that is refused.
    fn refusal<S: State>() -> String {
        let job = Job::new("trees");
        job.source(Generator::new(1, 1, |_, n| n as u8))
            .uid("numbers")
            .key_by(|number| *number)
            .flat_map_with_state(|state: &mut Option<S>, number| {
                *state = None;
                Some(number)
            })
            .uid("trees")
            .sink(FileSink::json_lines("unused"))
            .uid("out");
        job.describe().unwrap_err().to_string()
    }

    /// Clause TY-10.
    #[test]
    fn a_state_that_nests_too_deep_is_refused_with_its_field() {
        let place = format!("branches{}", ".element".repeat(30));
        assert_eq!(
            refusal::<Tree>(),
            format!(
                "job `trees`: operator `trees`: state `state`: the value has no columns: `{place}`: \
                 found a type 33 levels deep, wanted at most 32"
            )
        );
    }

    /// Clause SC-6.
    #[test]
    fn a_default_that_cannot_be_stored_is_refused_with_its_field() {
        let refusal = refusal::<Vec<Alarm>>();
        let wanted = "job `trees`: operator `trees`: state `state`: the value has no columns: `element.at`: \
                      found the default ";
        assert!(refusal.starts_with(wanted), "{refusal}");
    }

    #[test]
    fn a_type_that_a_migration_starts_from_is_refused_alike() {
        let job = Job::new("trees");
        job.source(Generator::new(1, 1, |_, n| n as u8))
            .uid("numbers")
            .key_by(|number| *number)
            .flat_map_with_state(|_: &mut Option<String>, number| Some(number))
            .uid("trees")
            .migrate(Pruned)
            .sink(FileSink::json_lines("unused"))
            .uid("out");
        let refusal = job.describe().unwrap_err().to_string();
        assert!(refusal.contains("found a type 33 levels deep"), "{refusal}");
    }

    #[test]
    fn a_key_that_nests_too_deep_is_refused() {
        let job = Job::new("trees");
        job.source(Generator::new(1, 1, |_, n| n as u8))
            .uid("numbers")
            .key_by(|_| Sixteen::<Sixteen<u8>>::new())
            .flat_map_with_state(|_: &mut Option<u8>, number| Some(number))
            .uid("leaves")
            .sink(FileSink::json_lines("unused"))
            .uid("out");
        let refusal = job.describe().unwrap_err().to_string();
        assert!(
            refusal.contains("operator `leaves`: state `state`: the key has no columns: `element."),
            "{refusal}"
        );
    }
}

/// Clause PQ-8. One test for all, for it takes memory: a value too large in Rust, then one in columns made elsewhere.
#[test]
fn a_value_larger_than_a_page_can_be_is_refused_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let long = (1 << 27) + 1;
    let writer = SavepointWriter::create(dir.path().join("new"), "large").unwrap();
    let mut rows = writer.keyed_state::<u8, (bool, Bytes)>("typed", "values", 1).unwrap();
    rows.insert(&1, &(true, Bytes(vec![1; 1 << 20]))).unwrap();
    let error = rows.insert(&7, &(true, Bytes(vec![0; long]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator `typed`, state `values`, key 7: cannot store `value`: \
         found 134217737 bytes, wanted at most 134217728 in one key or value"
    );
    assert!(error.hint().unwrap().contains("several keys"));
    drop(rows);

    let schema = Schema { version: SchemaVersion(1), data_type: DataType::Bytes };
    let mut columns = writer.keyed_columns("untyped", "values", DataType::U8, schema).unwrap();
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 3, long as i32 + 3]));
    let values: ArrayRef = Arc::new(BinaryArray::new(offsets, Buffer::from_vec(vec![0_u8; long + 3]), None));
    let keys: ArrayRef = Arc::new(UInt8Array::from(vec![3, 4]));
    let refused = columns.write(keys, values).and_then(|()| columns.finish()).unwrap_err().to_string();
    let wanted =
        "found 134217733 bytes in column `value`, key 4, wanted at most 134217728 in one key or value";
    assert!(refused.ends_with(wanted), "{refused}");
}
