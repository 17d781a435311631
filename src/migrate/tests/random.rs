//! Random types, random allowed changes to them, random values: projection against an oracle that follows the
//! rules one value at a time.

use super::*;
use DataType::{
    Bool, Bytes, Char, Decimal, F32, F64, FixedBytes, I8, I16, I32, I64, I128, String as Text, U8, U16, U32,
    U64, U128, Unit, Uuid,
};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema as ArrowSchema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

/// A small source of random choices; the seed is what proptest shows.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const INTEGERS: [DataType; 10] = [I8, I16, I32, I64, I128, U8, U16, U32, U64, U128];

fn any_type(dice: &mut Dice, depth: usize) -> DataType {
    let inner = |dice: &mut Dice| any_type(dice, depth - 1);
    if depth == 0 || dice.one_in(4) {
        let plain = [
            DataType::Duration,
            DataType::Timestamp,
            Bool,
            F32,
            F64,
            Char,
            Text,
            Bytes,
            Unit,
            DataType::FixedBytes(3),
            DataType::FixedBytes(16),
            DataType::Uuid,
            DataType::Decimal(5, 2),
            DataType::Decimal(38, 38),
            DataType::TimestampNs,
            DataType::LocalDateTime,
            DataType::LocalDateTimeNs,
            DataType::Date,
            DataType::Time,
            DataType::Msgpack,
        ];
        return if dice.one_in(2) { dice.pick(&plain) } else { dice.pick(&INTEGERS) };
    }
    match dice.below(7) {
        0 => option(inner(dice)),
        1 => list(inner(dice)),
        2 => set(dice.pick(&[I8, I32, U16, Char, Text])),
        3 => map(dice.pick(&[I8, U64, Char, Text]), inner(dice)),
        4 => DataType::Tuple((0..1 + dice.below(3)).map(|_| inner(dice)).collect()),
        5 => DataType::Struct((0..dice.below(4)).map(|i| Field::new(format!("a{i}"), inner(dice))).collect()),
        _ => {
            let payload = |dice: &mut Dice| (!dice.one_in(3)).then(|| any_type(dice, depth - 1));
            let variant = |(i, payload)| Variant { name: format!("A{i}"), was: None, payload };
            let count = 1 + dice.below(3);
            let payloads: Vec<_> = (0..count).map(|_| payload(dice)).collect();
            DataType::Enum(payloads.into_iter().enumerate().map(variant).collect())
        }
    }
}

fn any_value(dice: &mut Dice, data_type: &DataType) -> Value {
    let signed = |dice: &mut Dice, bits: u32| {
        let wide = i128::from(dice.next().cast_signed()) << 64 | i128::from(dice.next());
        Value::Int(wide >> (128 - bits))
    };
    let unsigned = |dice: &mut Dice, bits: u32| {
        let wide = u128::from(dice.next()) << 64 | u128::from(dice.next());
        Value::Uint(wide >> (128 - bits))
    };
    let many = |dice: &mut Dice, data_type| {
        (0..dice.below(4)).map(|_| any_value(dice, data_type)).collect::<Vec<_>>()
    };
    match data_type {
        Bool => Value::Bool(dice.one_in(2)),
        I8 => signed(dice, 8),
        I16 => signed(dice, 16),
        I32 => signed(dice, 32),
        I64 => signed(dice, 64),
        I128 => signed(dice, 128),
        U8 => unsigned(dice, 8),
        U16 => unsigned(dice, 16),
        U32 => unsigned(dice, 32),
        U64 => unsigned(dice, 64),
        U128 => unsigned(dice, 128),
        F32 => Value::F32(dice.pick(&[0.0, -0.0, 1.5, f32::INFINITY, f32::MIN_POSITIVE, -3e38])),
        F64 => Value::F64(dice.pick(&[0.0, -0.0, 1.5, f64::INFINITY, f64::MIN_POSITIVE, -1e308])),
        Char => Value::Char(dice.pick(&['a', 'ß', '\0', '🦀'])),
        Text => Value::String(dice.pick(&["", "a", "läng er", "\0\u{1}", "🦀"]).to_owned()),
        Bytes => Value::Bytes(vec![7; dice.below(4)]),
        DataType::FixedBytes(length) => Value::Bytes(vec![dice.below(256) as u8; *length as usize]),
        Unit => Value::Unit,
        DataType::Duration => Value::Duration(std::time::Duration::from_millis(dice.below(5_000) as u64)),
        DataType::Timestamp => Value::Timestamp(dice.below(5_000) as i64 - 2_500),
        DataType::TimestampNs => Value::TimestampNs(dice.next().cast_signed()),
        DataType::LocalDateTime => Value::LocalDateTime(dice.next().cast_signed()),
        DataType::LocalDateTimeNs => Value::LocalDateTimeNs(dice.next().cast_signed()),
        DataType::Date => Value::Date(dice.next() as i32),
        DataType::Time => Value::Time((dice.next() % 86_400_000_000_000).cast_signed()),
        DataType::Uuid => Value::Uuid([dice.below(256) as u8; 16]),
        DataType::Decimal(precision, scale) => {
            let limit = 10_i128.pow(u32::from(*precision).min(18));
            Value::Decimal(i128::from(dice.next().cast_signed()) % limit, *scale)
        }
        DataType::Msgpack => Value::Msgpack(vec![dice.below(128) as u8]),
        DataType::Option(inner) => Value::Option((!dice.one_in(3)).then(|| Box::new(any_value(dice, inner)))),
        DataType::List(element) => Value::List(many(dice, element)),
        DataType::Set(element) => {
            let mut elements = many(dice, element);
            elements.sort_by_key(Value::to_string);
            elements.dedup();
            Value::List(elements)
        }
        DataType::Map(key, value) => {
            let mut keys = many(dice, key);
            keys.sort_by_key(Value::to_string);
            keys.dedup();
            Value::Map(keys.into_iter().map(|key| (key, any_value(dice, value))).collect())
        }
        DataType::Tuple(parts) => Value::Tuple(parts.iter().map(|part| any_value(dice, part)).collect()),
        DataType::Struct(fields) => {
            Value::Struct(fields.iter().map(|f| (f.name.clone(), any_value(dice, &f.data_type))).collect())
        }
        DataType::Enum(variants) => {
            let variant = dice.pick(variants);
            Value::Enum(variant.name, variant.payload.map(|payload| Box::new(any_value(dice, &payload))))
        }
    }
}

/// A wider plain type, or the same one.
fn wider(dice: &mut Dice, data_type: &DataType) -> DataType {
    dice.pick(match data_type {
        I8 => &[I8, I16, I32, I64, I128, F32, F64, Decimal(3, 0), Decimal(38, 35)][..],
        I16 => &[I16, I32, I128, F32, F64],
        I32 => &[I32, I64, I128, F64],
        I64 => &[I64, I128, Decimal(38, 18)],
        U8 => &[U8, U16, U32, U64, U128, I16, I32, I64, I128, F32, F64],
        U16 => &[U16, U64, I32, I64, F32, F64],
        U32 => &[U32, U64, I64, F64],
        U64 => &[U64, U128, I128, Decimal(20, 0)],
        F32 => &[F32, F64],
        Char => &[Char, Text],
        FixedBytes(16) => &[FixedBytes(16), Uuid],
        Decimal(5, 2) => &[Decimal(5, 2), Decimal(9, 4), Decimal(38, 35), Decimal(38, 2)],
        same => return same.clone(),
    })
}

/// A type that values of `data_type` become by the rules.
fn changed(dice: &mut Dice, data_type: &DataType) -> DataType {
    // `Option<T>` to `Option<Option<T>>` is refused, so that an option only changes inside.
    if !data_type.is_nullable() && dice.one_in(5) {
        return option(changed(dice, data_type));
    }
    changed_inside(dice, data_type)
}

fn changed_inside(dice: &mut Dice, data_type: &DataType) -> DataType {
    // Floats are no keys: what is a key stays one.
    let key = |dice: &mut Dice, key: &DataType| match wider(dice, key) {
        F32 | F64 => key.clone(),
        wide => wide,
    };
    let name = |dice: &mut Dice, name: &str, new: &str| {
        if dice.one_in(4) {
            (format!("{new}_{name}"), Some(name.to_owned()))
        } else {
            (name.to_owned(), None)
        }
    };
    match data_type {
        DataType::Option(inner) if inner.is_nullable() => option(changed(dice, inner)),
        DataType::Option(inner) => option(changed_inside(dice, inner)),
        DataType::List(element) => list(changed(dice, element)),
        DataType::Set(element) => set(key(dice, element)),
        DataType::Map(of, value) => map(key(dice, of), changed(dice, value)),
        DataType::Tuple(parts) => DataType::Tuple(parts.iter().map(|part| changed(dice, part)).collect()),
        DataType::Struct(fields) => {
            let mut made: Vec<Field> = Vec::new();
            let mut dropped = Vec::new();
            for field in fields {
                if fields.len() > 1 && dice.one_in(5) {
                    dropped.push(field.name.clone());
                    continue;
                }
                let (name, was) = name(dice, &field.name, "r");
                made.push(Field { was, ..Field::new(name, changed(dice, &field.data_type)) });
            }
            if dice.one_in(3) {
                made.push(Field::new("new_none", option(any_type(dice, 1))));
            }
            if dice.one_in(3) {
                let data_type = any_type(dice, 1);
                let default = Some(any_value(dice, &data_type).to_json());
                made.push(Field { default, ..Field::new("new_default", data_type) });
            }
            if made.is_empty() && !dropped.is_empty() {
                return data_type.clone();
            }
            if made.len() > 1 && dice.one_in(2) {
                made.rotate_left(1);
            }
            if let Some(first) = made.first_mut() {
                first.dropped = dropped;
            }
            DataType::Struct(made)
        }
        DataType::Enum(variants) => {
            let mut made = Vec::new();
            for variant in variants {
                let (name, was) = name(dice, &variant.name, "R");
                made.push(Variant { name, was, payload: variant.payload.as_ref().map(|p| changed(dice, p)) });
            }
            if dice.one_in(3) {
                let payload = dice.one_in(2).then(|| any_type(dice, 1));
                made.insert(0, Variant { name: "New".to_owned(), was: None, payload });
            }
            DataType::Enum(made)
        }
        plain => wider(dice, plain),
    }
}

/// What `value` becomes, by the rules.
fn read_as(value: &Value, stored: &DataType, wanted: &DataType) -> Value {
    use DataType::{Enum, List, Map, Option, Set, Struct, Tuple};
    let all = |values: &[Value], a, b| values.iter().map(|v| read_as(v, a, b)).collect();
    match (value, stored, wanted) {
        (Value::Option(value), Option(a), Option(b)) => {
            Value::Option(value.as_ref().map(|value| Box::new(read_as(value, a, b))))
        }
        (value, stored, Option(b)) => Value::Option(Some(Box::new(read_as(value, stored, b)))),
        (Value::List(values), List(a) | Set(a), List(b) | Set(b)) => Value::List(all(values, a, b)),
        (Value::Map(pairs), Map(ak, av), Map(bk, bv)) => {
            Value::Map(pairs.iter().map(|(k, v)| (read_as(k, ak, bk), read_as(v, av, bv))).collect())
        }
        (Value::Tuple(values), Tuple(a), Tuple(b)) => {
            Value::Tuple(values.iter().zip(a.iter().zip(b)).map(|(v, (a, b))| read_as(v, a, b)).collect())
        }
        (Value::Struct(values), Struct(a), Struct(b)) => Value::Struct(
            b.iter()
                .map(|field| {
                    let old = a.iter().zip(values).find(|(old, _)| old.name == field.identity());
                    let value = match (old, &field.default) {
                        (Some((old, (_, value))), _) => read_as(value, &old.data_type, &field.data_type),
                        (None, Some(default)) => Value::from_json(default, &field.data_type).unwrap(),
                        (None, None) => Value::Option(None),
                    };
                    (field.name.clone(), value)
                })
                .collect(),
        ),
        (Value::Enum(tag, data), Enum(a), Enum(b)) => {
            let old = a.iter().find(|variant| variant.name == *tag).unwrap();
            let new = b.iter().find(|variant| variant.identity() == tag).unwrap();
            let types = old.payload.as_ref().zip(new.payload.as_ref());
            let data = data.as_ref().zip(types).map(|(data, (a, b))| Box::new(read_as(data, a, b)));
            Value::Enum(new.name.clone(), data)
        }
        (Value::Int(value), _, F32) => Value::F32(*value as f32),
        (Value::Uint(value), _, F32) => Value::F32(*value as f32),
        (Value::Int(value), _, F64) => Value::F64(*value as f64),
        (Value::Uint(value), _, F64) => Value::F64(*value as f64),
        (Value::F32(value), _, F64) => Value::F64(f64::from(*value)),
        (Value::Uint(value), _, I16 | I32 | I64 | I128) => Value::Int(value.cast_signed()),
        (Value::Int(value), _, Decimal(_, scale)) => {
            Value::Decimal(value * 10_i128.pow((*scale).into()), *scale)
        }
        (Value::Uint(value), _, Decimal(_, scale)) => {
            Value::Decimal(value.cast_signed() * 10_i128.pow((*scale).into()), *scale)
        }
        (Value::Decimal(value, from), _, Decimal(_, scale)) => {
            Value::Decimal(value * 10_i128.pow((scale - from).into()), *scale)
        }
        (Value::Bytes(bytes), _, Uuid) => Value::Uuid(bytes.clone().try_into().unwrap()),
        (Value::Char(value), _, Text) => Value::String(value.to_string()),
        (same, ..) => same.clone(),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

    #[test]
    fn a_projection_to_the_same_type_is_the_same_column(seed: u64) {
        let dice = &mut Dice(seed);
        let data_type = any_type(dice, 3);
        let values: Vec<_> = (0..dice.below(6)).map(|_| any_value(dice, &data_type)).collect();
        let column = array_of(&values, &data_type).unwrap();
        let evolution = evolve(&data_type, &data_type).unwrap();
        proptest::prop_assert!(evolution.is_identity(), "{}", data_type);
        proptest::prop_assert_eq!(&*project(&evolution, &column).unwrap(), &*column);
    }

    #[test]
    fn a_projection_does_what_the_rules_say_of_each_value(seed: u64) {
        let dice = &mut Dice(seed);
        let stored = any_type(dice, 3);
        let wanted = changed(dice, &stored);
        let values: Vec<_> = (0..dice.below(6)).map(|_| any_value(dice, &stored)).collect();
        let expected: Vec<_> = values.iter().map(|value| read_as(value, &stored, &wanted)).collect();
        let evolution = evolve(&stored, &wanted);
        proptest::prop_assert!(evolution.is_ok(), "{} to {}: {:?}", stored, wanted, evolution);
        let column = array_of(&values, &stored).unwrap();
        let projected = project(&evolution.unwrap(), &column).unwrap();
        proptest::prop_assert_eq!(projected.data_type(), &arrow_type(&wanted));
        for (row, expected) in expected.iter().enumerate() {
            let found = value_at(&projected, &wanted, row).unwrap();
            // Sets and maps are read in their own order.
            let one = array_of(std::slice::from_ref(expected), &wanted).unwrap();
            proptest::prop_assert_eq!(&found, &value_at(&one, &wanted, 0).unwrap(), "{} to {}", stored, wanted);
        }
        proptest::prop_assert_eq!(&*projected, &*array_of(&expected, &wanted).unwrap(), "{} to {}", stored, wanted);
    }

    #[test]
    fn a_projection_of_what_parquet_gave_back_is_the_same(seed in 0_u64..256) {
        let dice = &mut Dice(seed);
        let stored = option(any_type(dice, 3));
        let wanted = changed(dice, &stored);
        let values: Vec<_> = (0..20).map(|_| any_value(dice, &stored)).collect();
        let column = array_of(&values, &stored).unwrap();
        let read = through_parquet(&stored, &column);
        let evolution = evolve(&stored, &wanted).unwrap();
        proptest::prop_assert_eq!(
            &*project(&evolution, &read).unwrap(),
            &*project(&evolution, &column).unwrap(),
            "{} to {}", stored, wanted
        );
    }
}

/// Absent places look otherwise in a column that was read: parts of an absent value are null, too.
fn through_parquet(data_type: &DataType, column: &ArrayRef) -> ArrayRef {
    let schema = Arc::new(ArrowSchema::new(vec![arrow_field("value", data_type, 4)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column.clone()]).unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
    let mut batches = reader.with_batch_size(1000).build().unwrap();
    batches.next().unwrap().unwrap().column(0).clone()
}
