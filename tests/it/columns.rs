//! Values to columns and back: typed and untyped, in memory and by way of Parquet.

use arrow::array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes as FileBytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pitlane::model::{Value, array_of, arrow_field, arrow_type, value_at};
use pitlane::state::{Build, Bytes, FixedBytes, Msgpack, Read, State};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Builds a column of `values`.
pub(crate) fn built<T: State>(values: &[T]) -> ArrayRef {
    let mut builder = T::Builder::default();
    values.iter().for_each(|value| builder.append(value).unwrap());
    assert_eq!(builder.len(), values.len());
    let array = builder.finish(None);
    assert!(builder.is_empty(), "finish leaves the builder empty");
    assert_eq!(array.len(), values.len());
    array
}

/// Reads a column in full.
pub(crate) fn read<T: State>(array: &ArrayRef) -> Vec<T> {
    let reader = T::Reader::new(array).unwrap();
    (0..array.len()).map(|row| reader.read(row)).collect()
}

/// Writes a column to Parquet and reads it back.
pub(crate) fn through_parquet<T: State>(array: &ArrayRef) -> ArrayRef {
    let field = arrow_field("value", &T::data_type(), 4);
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::clone(array)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    let file = FileBytes::from(writer.into_inner().unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(array.len().max(1));
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    match batches.as_slice() {
        [] => array.slice(0, 0),
        [batch] => Arc::clone(batch.column(0)),
        more => panic!("{} batches", more.len()),
    }
}

fn untyped<T: State>(array: &ArrayRef) -> Vec<Value> {
    (0..array.len()).map(|row| value_at(array, &T::data_type(), row).unwrap()).collect()
}

/// Checks everything that holds for every type.
pub(crate) fn check<T: State + PartialEq + Debug>(values: &[T]) {
    // NaN is not equal to itself, yet looks the same.
    let same = |read: &[T], way: &str| {
        assert_eq!(read.len(), values.len(), "{way}");
        for (read, value) in read.iter().zip(values) {
            assert!(
                read == value || format!("{read:?}") == format!("{value:?}"),
                "{way}: {read:?} for {value:?}"
            );
        }
    };
    let data_type = T::data_type();
    assert_eq!(T::NULLABLE, data_type.is_nullable());
    let array = built(values);
    assert_eq!(array.data_type(), &arrow_type(&data_type), "{data_type}");
    same(&read(&array), "from memory");

    let plain = untyped::<T>(&array);
    let again = array_of(&plain, &data_type).unwrap();
    assert_eq!(again.data_type(), array.data_type());
    assert_eq!(&again, &array, "typed and untyped columns differ for {data_type}");
    same(&read(&again), "from an untyped column");
    for value in &plain {
        assert_eq!(Value::from_json(&value.to_json(), &data_type).as_ref(), Ok(value));
    }

    let stored = through_parquet::<T>(&array);
    same(&read(&stored), "from Parquet");
    assert_eq!(untyped::<T>(&stored), plain);

    if let Some(rest) = values.len().checked_sub(1) {
        for array in [&array, &stored] {
            let cut = array.slice(1, rest);
            assert_eq!(untyped::<T>(&cut), plain[1..]);
            assert_eq!(untyped::<T>(&built::<T>(&read(&cut))), plain[1..], "from a slice");
        }
    }
}

#[test]
fn plain_types_come_back_as_they_were() {
    check(&[true, false]);
    check(&[i8::MIN, 0, i8::MAX]);
    check(&[i16::MIN, i16::MAX]);
    check(&[i32::MIN, i32::MAX]);
    check(&[i64::MIN, i64::MAX]);
    check(&[u8::MAX, 0]);
    check(&[u16::MAX]);
    check(&[u32::MAX]);
    check(&[u64::MAX, 0]);
    check(&[usize::MAX, 0]);
    check(&[isize::MIN, 0]);
    check(&[i128::MIN, -1, 0, 1, i128::MAX]);
    check(&[u128::MAX, 0]);
    check(&[f32::NAN, -0.0, f32::MIN_POSITIVE, f32::INFINITY]);
    check(&[f64::NAN, -0.0, f64::MAX, f64::NEG_INFINITY]);
    check(&[(), ()]);
    check::<u64>(&[]);
}

/// Clause TY-9.
#[test]
fn times_come_back_as_they_were() {
    let times = [0, 1, 1_479_399_631_250_000].map(|micros| UNIX_EPOCH + Duration::from_micros(micros));
    check(&times);
    check(&[UNIX_EPOCH - Duration::from_micros(1), UNIX_EPOCH - Duration::from_secs(100_000_000_000)]);
    check(&[None, Some(times[2])]);
    check(&[Duration::ZERO, Duration::from_nanos(1), Duration::MAX]);
    check(&[None, Some(Some((Duration::MAX, times[1]))), Some(None)]);
    check(&[vec![None, Some(Duration::MAX)], vec![]]);
    check(&[BTreeMap::from([(Duration::from_millis(1_500), vec![times[2]])])]);
}

#[test]
fn text_and_bytes_come_back_as_they_were() {
    check(&["", "\0", "a\0b", "𝄞"].map(str::to_owned));
    check(&["", "𝄞"].map(Box::<str>::from));
    check(&["", "𝄞"].map(Rc::<str>::from));
    check(&[Some(Arc::<str>::from("𝄞")), None]);
    check(&['\0', 'a', 'ä', '𝄞', char::MAX]);
    check(&[Bytes(vec![]), Bytes(vec![0, 255])]);
    check(&[FixedBytes([0, 1, 255])]);
    check(&[Msgpack(serde_json::json!({"a": [1, null]})), Msgpack(serde_json::json!("x"))]);
}

#[test]
fn each_level_of_an_option_is_kept_apart() {
    check(&[None, Some(1_u8)]);
    check(&[None, Some(())]);
    check(&[None, Some(None), Some(Some(7_i128))]);
    check(&[None, Some(None), Some(Some(None)), Some(Some(Some('x')))]);
    check(&[Some(Box::new(None)), None, Some(Box::new(Some(1_u8)))]);
    check(&[Some(Rc::new(None)), None, Some(Rc::new(Some(1_u8)))]);
    check(&[vec![Arc::new((1_u8, 'x'))], vec![]]);
    check(&[None, Some((1_u8, None)), Some((2, Some("a".to_owned())))]);
}

#[test]
fn collections_come_back_as_they_were() {
    check(&[vec![], vec![1_i64, 2], vec![]]);
    check(&[vec![vec![], vec![None, Some(1_u8)]], vec![]]);
    check(&[VecDeque::from([true]), VecDeque::new()]);
    check(&[[1_u16, 2], [3, 4]]);
    check(&[[(); 0], []]);
    check(&[None, Some([Some('a'), None])]);
    check(&[HashSet::from([3_i8, -1, 2]), HashSet::new()]);
    check(&[BTreeSet::from(["b".to_owned(), String::new()])]);
    check(&[HashMap::from([(1_u8, vec![1.5_f64]), (0, vec![])]), HashMap::new()]);
    check(&[Some(BTreeMap::from([("k".to_owned(), Some(1_u64))])), None]);
    check(&[BTreeMap::from([(None, 1_u8), (Some(1_u8), 2)]), BTreeMap::new()]);
    check(&[None, Some(BTreeMap::from([((1_u8, 'x'), BTreeMap::from([(true, ())]))]))]);
}

#[test]
fn tuples_come_back_as_they_were() {
    check(&[(1_u8,)]);
    check(&[(true, 5_i64), (false, -5)]);
    check(&[Some(((), (1_u8, "a".to_owned()))), None]);
    check(&[(1_u8, 2_u8, 3_u8, 4_u8, 5_u8, 6_u8, 7_u8, 8_u8, 9_u8, 10_u8, 11_u8, 12_u8)]);
}
