//! Columns that hold no value of the type that they are opened as.

use crate::columns::built;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, ListArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use pitlane::State;
use pitlane::state::{Build, FixedBytes, Msgpack, Read};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, State)]
struct Point {
    x: i64,
    name: String,
}

#[derive(Clone, Debug, PartialEq, State)]
enum Light {
    Off,
    On(i64),
    Blinking { ms: i64 },
}

/// Opens a column that is refused, and shows why.
fn refusal<T: State>(array: ArrayRef) -> String {
    match T::Reader::new(&array) {
        Ok(_) => panic!("{} was read as {}", array.data_type(), T::data_type()),
        Err(mismatch) => mismatch.to_string(),
    }
}

/// Replaces a column of a struct.
fn with_column(array: &ArrayRef, index: usize, column: ArrayRef) -> ArrayRef {
    let (fields, mut columns, nulls) = array.as_struct().clone().into_parts();
    columns[index] = column;
    Arc::new(StructArray::new(fields, columns, nulls))
}

#[test]
fn a_column_of_another_type_is_refused() {
    let numbers = || built(&[1_i64]);
    assert_eq!(refusal::<String>(numbers()), "column `value`: found Int64, wanted String");
    assert_eq!(refusal::<i32>(numbers()), "column `value`: found Int64, wanted i32");
    assert_eq!(refusal::<bool>(numbers()), "column `value`: found Int64, wanted bool");
    assert_eq!(refusal::<()>(numbers()), "column `value`: found Int64, wanted ()");
    assert_eq!(refusal::<u128>(numbers()), "column `value`: found Int64, wanted u128");
    assert_eq!(refusal::<Vec<u8>>(numbers()), "column `value`: found Int64, wanted Vec<u8>");
    assert_eq!(
        refusal::<Option<Option<u8>>>(numbers()),
        "column `value`: found Int64, wanted Struct of some"
    );
    assert_eq!(refusal::<(u8, u8)>(numbers()), "column `value`: found Int64, wanted Struct of f0, f1");
    assert_eq!(refusal::<Point>(numbers()), "column `value`: found Int64, wanted Struct of x, name");
    assert_eq!(
        refusal::<BTreeMap<u8, i64>>(built(&[vec![1_u8]])),
        "column `value`: found List of UInt8, wanted Map<u8, i64>"
    );
    assert_eq!(
        refusal::<FixedBytes<3>>(built(&[1_u128])),
        "column `value`: found FixedSizeBinary(16), wanted [u8; 3]"
    );
}

#[test]
fn a_field_of_another_name_or_type_is_refused_with_its_place() {
    let lists = built(&[vec![(1_i64, 2_u8)]]);
    assert_eq!(
        refusal::<Vec<(i64, String)>>(lists.clone()),
        "column `value.element.f1`: found UInt8, wanted String"
    );
    assert_eq!(
        refusal::<Vec<Point>>(lists),
        "column `value.element`: found Struct of f0, f1, wanted Struct of x, name"
    );
}

#[test]
fn a_null_where_the_type_has_none_is_refused() {
    assert_eq!(refusal::<u8>(built(&[Some(1_u8), None])), "column `value`: found null, wanted u8");
    let options = built(&[(1_u8, Some("a".to_owned())), (2, None)]);
    assert_eq!(refusal::<(u8, String)>(options), "column `value.f1`: found null, wanted String");
    let lists = built(&[Some(vec![Some(1_u8), None])]);
    assert_eq!(refusal::<Option<Vec<u8>>>(lists), "column `value.element`: found null, wanted u8");
}

#[test]
fn an_unknown_variant_is_refused() {
    #[derive(State)]
    enum Other {
        Off,
        Up(i64),
        Blinking { ms: i64 },
    }
    let other = built(&[Other::Up(1), Other::Off, Other::Blinking { ms: 1 }]);
    assert_eq!(
        refusal::<Light>(other),
        "column `value`: found Struct of tag, Up, Blinking, wanted Struct of tag, On, Blinking"
    );
    let lights = built(&[Light::On(1)]);
    let tags: ArrayRef = Arc::new(StringArray::from(vec!["Up"]));
    assert_eq!(
        refusal::<Light>(with_column(&lights, 0, tags)),
        "column `value.tag`: found `Up`, wanted one of Off, On, Blinking"
    );
}

#[test]
fn data_that_does_not_belong_to_the_tag_is_refused() {
    let lights = built(&[Light::On(1), Light::Off]);
    let both: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    assert_eq!(
        refusal::<Light>(with_column(&lights, 1, both)),
        "column `value.On`: found data, wanted null under another tag than `On`"
    );
    let none: ArrayRef = Arc::new(Int64Array::from(vec![None, None]));
    assert_eq!(
        refusal::<Light>(with_column(&lights, 1, none)),
        "column `value.On`: found null, wanted data under the tag `On`"
    );
}

#[test]
fn a_string_that_is_no_character_is_refused() {
    for text in ["", "ab"] {
        let found = format!("column `value`: found {text:?}, wanted char");
        assert_eq!(refusal::<char>(built(&[text.to_owned()])), found);
    }
}

#[test]
fn an_array_of_another_length_is_refused() {
    let lists = built(&[vec![1_u8, 2], vec![3]]);
    assert_eq!(refusal::<[u8; 2]>(lists), "column `value`: found 1 elements, wanted 2 elements");
}

#[test]
fn bytes_that_are_no_messagepack_are_refused_when_the_column_is_opened() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[0xC1_u8][..]]));
    let refusal = refusal::<Msgpack<u8>>(bytes);
    assert!(refusal.starts_with("column `value`: found MessagePack that is none: "), "{refusal}");
}

#[test]
fn a_false_unit_is_refused() {
    assert_eq!(refusal::<()>(built(&[true, false])), "column `value`: found false, wanted ()");
}

#[test]
fn what_lies_below_an_absent_level_is_never_looked_at() {
    // All of this would be refused if the outer level were there.
    let names: ArrayRef = Arc::new(StringArray::from(vec!["no character", "x"]));
    let present = NullBuffer::from(vec![false, true]);
    let absent = |column: ArrayRef| {
        let field = Arc::new(arrow::datatypes::Field::new("f0", column.data_type().clone(), false));
        Arc::new(StructArray::new(vec![field].into(), vec![column], Some(present.clone()))) as ArrayRef
    };
    let read: Vec<Option<(char,)>> = crate::columns::read(&absent(names));
    assert_eq!(read, [None, Some(('x',))]);

    let lights = built(&[Light::On(1), Light::Blinking { ms: 2 }]);
    let tags: ArrayRef = Arc::new(StringArray::from(vec!["?", "Blinking"]));
    let read: Vec<Option<(Light,)>> = crate::columns::read(&absent(with_column(&lights, 0, tags)));
    assert_eq!(read, [None, Some((Light::Blinking { ms: 2 },))]);

    let texts: ArrayRef = Arc::new(StringArray::from(vec!["no", "characters", "x"]));
    let field = Arc::new(arrow::datatypes::Field::new("element", texts.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 3]));
    let list: ArrayRef = Arc::new(ListArray::new(field, offsets, texts, Some(present.clone())));
    let read: Vec<Option<Vec<char>>> = crate::columns::read(&list);
    assert_eq!(read, [None, Some(vec!['x'])]);
}

#[test]
fn an_absent_place_holds_the_default() {
    let mut builder = <Option<(i64, String, Vec<u8>)> as State>::Builder::default();
    builder.append(&None).unwrap();
    let array = builder.finish(None);
    let columns = array.as_struct();
    assert_eq!(columns.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 0);
    assert_eq!(columns.column(1).as_string::<i32>().value(0), "");
    assert!(columns.column(2).as_list::<i32>().value(0).is_empty());
    assert!(columns.columns().iter().all(|column| column.null_count() == 0));
}
