//! Aggregates: values of one type taken into an accumulator of another, with a result of a third.

use crate::connectors::Record;
use crate::state::State;

/// Takes values into an accumulator, which is what is kept.
///
/// # Examples
///
/// ```
/// use pitlane::engine::Aggregate;
///
/// /// The mean delay; sum and number are what is kept.
/// #[derive(Clone)]
/// struct Mean;
///
/// impl Aggregate for Mean {
///     type In = i64;
///     type Accumulator = (i64, u64);
///     type Out = f64;
///
///     fn create(&self) -> (i64, u64) {
///         (0, 0)
///     }
///
///     fn add(&self, (sum, count): &mut (i64, u64), delay: i64) {
///         *sum += delay;
///         *count += 1;
///     }
///
///     fn result(&self, (sum, count): &(i64, u64)) -> f64 {
///         *sum as f64 / *count as f64
///     }
///
///     fn merge(&self, into: &mut (i64, u64), other: (i64, u64)) {
///         into.0 += other.0;
///         into.1 += other.1;
///     }
/// }
/// ```
pub trait Aggregate: Clone + Send + 'static {
    /// What is taken in.
    type In;
    /// What is kept.
    type Accumulator: State;
    /// What comes of it.
    type Out: Record;

    /// Makes an accumulator that has taken nothing in.
    fn create(&self) -> Self::Accumulator;

    /// Takes a value in.
    fn add(&self, accumulator: &mut Self::Accumulator, value: Self::In);

    /// Returns the result so far.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Out;

    /// Takes another accumulator in, as when two sessions become one.
    fn merge(&self, into: &mut Self::Accumulator, other: Self::Accumulator);
}
