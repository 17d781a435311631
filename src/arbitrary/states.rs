//! Values of a Rust type that is state.

use super::values::{Known, Place, each_place};
use crate::model::{ColumnMismatch, DataType, Value, array_of, value_at};
use crate::state::{Build as _, Read as _, State};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::any::type_name;
use std::fmt::Debug;
use std::marker::PhantomData;

/// How many values in a row a type has to read before it is taken for granted that it mostly does.
const TRIES: usize = 256;

/// Returns values of a state type.
///
/// What a schema does not tell is found out by trying: the lengths of arrays, and years that a type of times does not
/// have. Of a `Msgpack<T>`, whose bytes are nobody's but `T`'s, nothing can be found out: see [`States`].
///
/// # Panics
///
/// As [`States::strategy`].
///
/// # Examples
///
/// ```
/// use pitlane::State;
/// use pitlane::arbitrary::any_state;
/// use proptest::prelude::*;
/// use std::collections::BTreeMap;
///
/// #[derive(Clone, Debug, State)]
/// enum Order {
///     Open { lines: BTreeMap<String, [Option<u32>; 2]> },
///     Paid(u64),
/// }
///
/// proptest!(|(order in any_state::<Order>())| {
///     let is_paid = matches!(order, Order::Paid(_));
///     prop_assert_eq!(is_paid, !matches!(order, Order::Open { .. }));
/// });
/// ```
pub fn any_state<S: State + Debug>() -> BoxedStrategy<S> {
    States::new().strategy()
}

/// Values of a state type, with strategies of your own for some of its parts.
///
/// # Examples
///
/// ```
/// use pitlane::State;
/// use pitlane::state::Msgpack;
/// use pitlane::arbitrary::States;
/// use proptest::prelude::*;
///
/// #[derive(Clone, Debug, State)]
/// struct Sample {
///     celsius: Option<f64>,
///     sensor: Msgpack<String>,
/// }
///
/// let samples = States::<Sample>::new()
///     .with("celsius", -40.0..60.0)
///     .with("sensor", "[a-z]{3}-[0-9]".prop_map(Msgpack))
///     .strategy();
/// proptest!(|(sample in samples)| {
///     prop_assert!(sample.celsius.is_none_or(|celsius| celsius < 60.0));
///     prop_assert_eq!(sample.sensor.0.len(), 5);
/// });
/// ```
pub struct States<S> {
    known: Known,
    of: PhantomData<fn() -> S>,
}

impl<S: State + Debug> Default for States<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: State + Debug> States<S> {
    /// Begins with any value of the type.
    pub fn new() -> Self {
        Self { known: Known::default(), of: PhantomData }
    }

    /// Says what lies at a place of the type, named from the root: the names of fields and variants, `f0` and so on in
    /// tuples, `element` in lists and sets, `key` and `value` in maps, with dots in between; `""` is the value itself.
    ///
    /// An option is no place of its own: a strategy for its values leaves it to chance whether there is one.
    ///
    /// # Panics
    ///
    /// If the type has no such place, or no `T` there.
    #[must_use]
    pub fn with<T: State + Debug>(mut self, place: &str, values: impl Strategy<Value = T> + 'static) -> Self {
        let data_type = T::data_type();
        let mut there = Vec::new();
        each_place(&S::data_type(), &Place::default(), &mut |found, at| {
            if at.shown == place {
                there.push(found.clone());
            }
        });
        let found: Vec<_> = there.iter().map(ToString::to_string).collect();
        assert!(
            there.contains(&data_type),
            "`{}` has {} at `{place}`, wanted {data_type}",
            type_name::<S>(),
            if found.is_empty() { "nothing".to_owned() } else { found.join(", ") },
        );
        let values = values.prop_map(|value| untyped(&value)).boxed();
        self.known.given.insert(place.to_owned(), (data_type, values));
        self
    }

    /// Makes the strategy.
    ///
    /// # Panics
    ///
    /// If too few values of the type's schema are values of the type, as those of a `Msgpack` for which
    /// [`with`](Self::with) said nothing. The message tells what was found and where.
    pub fn strategy(mut self) -> BoxedStrategy<S> {
        let data_type = S::data_type();
        let mut runner = TestRunner::deterministic();
        'learning: loop {
            let values = self.known.values(&data_type, &Place::default());
            let (mut read, mut refused) = (0, None);
            for _ in 0..TRIES {
                let value = values.new_tree(&mut runner).expect("no value is filtered out yet").current();
                match typed::<S>(&value, &data_type) {
                    Ok(_) => read += 1,
                    Err(mismatch) => {
                        let (place, length) = (mismatch.place.clone(), length_wanted(&mismatch));
                        refused = Some(mismatch);
                        if let Some(length) = length
                            && self.known.lengths.insert(place, length).is_none()
                        {
                            continue 'learning;
                        }
                    }
                }
            }
            if let (0, Some(mismatch)) = (read, refused) {
                panic!(
                    "{TRIES} values of {data_type} are none of `{}`, the last one since {mismatch}; \
                     say with `States::with` what lies there",
                    type_name::<S>()
                );
            }
            let wanted = format!("values of `{}`", type_name::<S>());
            return values.prop_filter_map(wanted, move |value| typed(&value, &data_type).ok()).boxed();
        }
    }
}

/// Reads a value as a Rust type.
fn typed<S: State>(value: &Value, data_type: &DataType) -> Result<S, ColumnMismatch> {
    let column = array_of(std::slice::from_ref(value), data_type);
    let column =
        column.map_err(|odd| ColumnMismatch { place: odd.place, found: odd.found, wanted: odd.wanted })?;
    Ok(S::Reader::new(&column)?.read(0))
}

/// Makes a value of what a strategy of the user's made.
fn untyped<T: State + Debug>(value: &T) -> Value {
    let mut builder = T::Builder::default();
    if let Err(problem) = builder.append(value) {
        panic!("{value:?} cannot be stored: {problem}");
    }
    value_at(&builder.finish(None), &T::data_type(), 0).expect("what a builder made is a value of its type")
}

/// Returns the length that an array wanted of a list: the one thing that readers say of lengths.
fn length_wanted(mismatch: &ColumnMismatch) -> Option<usize> {
    mismatch.wanted.strip_suffix(" elements")?.parse().ok()
}
