//! Values of a type.

use crate::model::decimal::MAX_PRECISION;
use crate::model::time::DAY_NANOS;
use crate::model::{DataType, Value, Variant, encode_value};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many elements a collection has at the most.
const ELEMENTS: usize = 5;
/// How many of the bytes of one fixed length differ.
const BYTES: usize = 64;
/// The days, and the microseconds of a day, between the years 1 and 9999, which every type of times has.
const DAYS: std::ops::Range<i32> = -719_162..2_932_897;
const DAY_MICROS: i64 = DAY_NANOS / 1_000;

/// Returns values of type `data_type`; elements of sets and entries of maps are in the order in which they are stored.
///
/// # Panics
///
/// If the type has no columns, of which [`type_problem`](crate::model::type_problem) tells.
///
/// # Examples
///
/// ```
/// use pitlane::model::{DataType, Value};
/// use pitlane::arbitrary::any_value;
/// use proptest::prelude::*;
///
/// let prices = DataType::List(Box::new(DataType::Option(Box::new(DataType::Decimal(12, 2)))));
/// proptest!(|(value in any_value(&prices))| {
///     prop_assert_eq!(Value::from_json(&value.to_json(), &prices), Ok(value));
/// });
/// ```
pub fn any_value(data_type: &DataType) -> BoxedStrategy<Value> {
    Known::default().values(data_type, &Place::default())
}

/// What is known of values beyond their type.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// The lengths of lists that are arrays, by the name that readers have for the place.
    pub(super) lengths: BTreeMap<String, usize>,
    /// What lies at a place, by the name that people have for it.
    pub(super) given: BTreeMap<String, (DataType, BoxedStrategy<Value>)>,
}

/// A place in a type, from the root: names joined by dots.
#[derive(Clone, Default)]
pub(super) struct Place {
    /// For people, to whom an option is no place of its own.
    pub(super) shown: String,
    /// As columns are named.
    column: String,
}

impl Place {
    fn inside(&self, name: &str) -> Self {
        let join = |outer: &str| if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
        Self { shown: join(&self.shown), column: join(&self.column) }
    }

    /// The place of a value inside of what is there only for the columns' sake.
    fn wrapped(&self, name: &str) -> Self {
        Self { column: self.inside(name).column, ..self.clone() }
    }
}

/// Calls `visit` with each part of a type and its place, the type itself included.
pub(super) fn each_place(data_type: &DataType, place: &Place, visit: &mut impl FnMut(&DataType, &Place)) {
    visit(data_type, place);
    match data_type {
        DataType::Option(inner) => each_place(inner, place, visit),
        DataType::List(element) | DataType::Set(element) => {
            each_place(element, &place.inside("element"), visit);
        }
        DataType::Map(key, value) => {
            each_place(key, &place.inside("key"), visit);
            each_place(value, &place.inside("value"), visit);
        }
        DataType::Tuple(parts) => {
            let parts = parts.iter().enumerate();
            parts.for_each(|(i, part)| each_place(part, &place.inside(&format!("f{i}")), visit));
        }
        DataType::Struct(fields) => {
            fields.iter().for_each(|f| each_place(&f.data_type, &place.inside(&f.name), visit));
        }
        DataType::Enum(variants) => {
            let data = variants.iter().filter_map(|v| Some((v.payload.as_ref()?, place.inside(&v.name))));
            data.for_each(|(payload, place)| each_place(payload, &place, visit));
        }
        _ => {}
    }
}

/// Integers of a type: its ends, small ones, and any.
macro_rules! integers {
    ($type:ty, $variant:ident) => {
        prop_oneof![
            2 => proptest::sample::select(vec![<$type>::MIN, <$type>::MAX, 0, 1]),
            2 => (0 as $type)..=100,
            3 => any::<$type>(),
        ]
        .prop_map(|number| Value::$variant(number.into()))
        .boxed()
    };
}

/// Floats: the odd ones, and any bits.
macro_rules! floats {
    ($type:ident, $bits:ty, $variant:ident) => {
        prop_oneof![
            1 => proptest::sample::select(vec![
                0.0, -0.0, 1.5, $type::NAN, $type::INFINITY, $type::NEG_INFINITY, $type::MIN_POSITIVE, $type::MAX, $type::MIN,
                $type::from_bits(1),
            ]),
            1 => any::<$bits>().prop_map($type::from_bits),
        ]
        .prop_map(Value::$variant)
        .boxed()
    };
}

impl Known {
    pub(super) fn values(&self, data_type: &DataType, place: &Place) -> BoxedStrategy<Value> {
        if let Some((of, values)) = self.given.get(&place.shown)
            && of == data_type
        {
            return values.clone();
        }
        let inside = |name: &str, inner: &DataType| self.values(inner, &place.inside(name));
        match data_type {
            DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            DataType::I8 => integers!(i8, Int),
            DataType::I16 => integers!(i16, Int),
            DataType::I32 => integers!(i32, Int),
            DataType::I64 => integers!(i64, Int),
            DataType::I128 => integers!(i128, Int),
            DataType::U8 => integers!(u8, Uint),
            DataType::U16 => integers!(u16, Uint),
            DataType::U32 => integers!(u32, Uint),
            DataType::U64 => integers!(u64, Uint),
            DataType::U128 => integers!(u128, Uint),
            DataType::F32 => floats!(f32, u32, F32),
            DataType::F64 => floats!(f64, u64, F64),
            DataType::Char => character().prop_map(Value::Char).boxed(),
            DataType::String => vec(character(), 0..ELEMENTS)
                .prop_map(|text| Value::String(text.into_iter().collect()))
                .boxed(),
            DataType::Bytes => vec(byte(), 0..ELEMENTS).prop_map(Value::Bytes).boxed(),
            DataType::FixedBytes(length) => {
                let length = *length as usize;
                let filled = move |bytes: Vec<u8>| bytes.into_iter().cycle().take(length).collect();
                vec(byte(), length.min(BYTES)).prop_map(move |bytes| Value::Bytes(filled(bytes))).boxed()
            }
            DataType::Uuid => proptest::array::uniform16(byte()).prop_map(Value::Uuid).boxed(),
            DataType::Decimal(precision, scale) => {
                let (most, scale) = (10_i128.pow((*precision).min(MAX_PRECISION).into()) - 1, *scale);
                let numbers = prop_oneof![
                    1 => proptest::sample::select(vec![-most, -1, 0, 1, most]),
                    2 => -most..=most,
                ];
                numbers.prop_map(move |number| Value::Decimal(number, scale)).boxed()
            }
            DataType::Duration => {
                let secs =
                    prop_oneof![1 => Just(0), 1 => Just(u64::MAX), 2 => 0_u64..100_000, 1 => any::<u64>()];
                let nanos = prop_oneof![Just(0), Just(999_999_999), 0_u32..1_000_000_000];
                (secs, nanos).prop_map(|(secs, nanos)| Value::Duration(Duration::new(secs, nanos))).boxed()
            }
            DataType::Timestamp => moments(DAY_MICROS).prop_map(Value::Timestamp).boxed(),
            DataType::LocalDateTime => moments(DAY_MICROS).prop_map(Value::LocalDateTime).boxed(),
            DataType::TimestampNs => any::<i64>().prop_map(Value::TimestampNs).boxed(),
            DataType::LocalDateTimeNs => any::<i64>().prop_map(Value::LocalDateTimeNs).boxed(),
            DataType::Date => prop_oneof![8 => DAYS, 1 => any::<i32>()].prop_map(Value::Date).boxed(),
            DataType::Time => {
                let times = prop_oneof![1 => Just(0), 1 => Just(DAY_NANOS - 1), 4 => 0..DAY_NANOS];
                times.prop_map(Value::Time).boxed()
            }
            DataType::Unit => Just(Value::Unit).boxed(),
            DataType::Msgpack => messages().prop_map(Value::Msgpack).boxed(),
            DataType::Option(inner) => {
                let place = if inner.is_nullable() { place.wrapped("some") } else { place.clone() };
                let values = option::of(self.values(inner, &place));
                values.prop_map(|value| Value::Option(value.map(Box::new))).boxed()
            }
            DataType::List(element) => {
                let length = self.lengths.get(&place.column).map_or(0..=ELEMENTS, |length| *length..=*length);
                vec(inside("element", element), length).prop_map(Value::List).boxed()
            }
            DataType::Set(element) => {
                let of = element.clone();
                let elements = vec(inside("element", element), 0..ELEMENTS);
                elements
                    .prop_map(move |elements| Value::List(stored(elements, &of, |element| element)))
                    .boxed()
            }
            DataType::Map(key, value) => {
                let of = key.clone();
                let entries = vec((inside("key", key), inside("value", value)), 0..ELEMENTS);
                entries.prop_map(move |entries| Value::Map(stored(entries, &of, |(key, _)| key))).boxed()
            }
            DataType::Tuple(parts) => {
                let parts = parts.iter().enumerate().map(|(i, part)| inside(&format!("f{i}"), part));
                parts.collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
            }
            DataType::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|f| f.name.clone()).collect();
                let values: Vec<_> = fields.iter().map(|f| inside(&f.name, &f.data_type)).collect();
                let record =
                    move |values| Value::Struct(names.iter().cloned().zip::<Vec<_>>(values).collect());
                values.prop_map(record).boxed()
            }
            DataType::Enum(variants) => {
                Union::new(variants.iter().map(|variant| self.variant(variant, place))).boxed()
            }
        }
    }

    fn variant(&self, variant: &Variant, place: &Place) -> BoxedStrategy<Value> {
        let name = variant.name.clone();
        let Some(payload) = &variant.payload else { return Just(Value::Enum(name, None)).boxed() };
        let mut place = place.inside(&name);
        if payload.is_nullable() {
            place = place.wrapped("f0");
        }
        let data = self.values(payload, &place);
        data.prop_map(move |data| Value::Enum(name.clone(), Some(Box::new(data)))).boxed()
    }
}

fn character() -> impl Strategy<Value = char> {
    prop_oneof![1 => Just('\0'), 1 => Just('🦀'), 1 => Just(char::MAX), 2 => proptest::char::range('a', 'c'), 2 => any::<char>()]
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(0), 1 => Just(0xFF), 3 => any::<u8>()]
}

/// Points in time, given how many units a day has: mostly such as calendars have names for.
fn moments(day: i64) -> impl Strategy<Value = i64> {
    let calendar = (DAYS, 0..day).prop_map(move |(date, time)| i64::from(date) * day + time);
    prop_oneof![8 => calendar, 1 => Just(-1), 1 => any::<i64>()]
}

/// MessagePack of numbers, text, arrays and maps.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    use serde_json::Value as Json;
    let text = || vec(character(), 0..ELEMENTS).prop_map(|text| text.into_iter().collect::<String>());
    let plain = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::from),
        text().prop_map(Json::String),
    ];
    let nested = plain.prop_recursive(2, 8, 3, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Json::Array),
            vec((text(), inner), 0..3).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    });
    nested.prop_map(|json| rmp_serde::to_vec_named(&json).expect("JSON is MessagePack in another coat"))
}

/// Brings what has keys into the order of their encodings, each key once.
fn stored<T>(mut items: Vec<T>, of: &DataType, key: impl Fn(&T) -> &Value) -> Vec<T> {
    let encoded = |item: &T| {
        let mut bytes = Vec::new();
        encode_value(key(item), of, &mut bytes).expect("elements and keys have types with an encoding");
        bytes
    };
    items.sort_by_cached_key(encoded);
    items.dedup_by_key(|item| encoded(item));
    items
}
