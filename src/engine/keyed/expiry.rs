//! Values that are gone some time after they were last touched.
//!
//! It is a property of the state and not of its type: beside each value lies when it was last touched, on the heap and,
//! as the column `touched_ms`, on disk (clauses EX-*). A value whose time is over is not there for whoever asks, is left
//! out of images, and is swept off the heap now and then. Values that a savepoint has without such a time count as
//! touched when the job started; those whose time is over go without being migrated.

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int64Array};
use arrow::compute::{filter, kernels::cmp::gt};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use std::sync::Arc;
use std::time::Duration;

/// When the values of a state expire, as users say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    after_ms: i64,
    /// Whether reading counts as touching too.
    on_read: bool,
}

impl Expiry {
    /// Says that values expire so long after they were last written.
    pub(crate) fn after_write(after: Duration) -> Self {
        Self { after_ms: i64::try_from(after.as_millis()).unwrap_or(i64::MAX), on_read: false }
    }

    /// Says that values expire so long after they were last written or read.
    pub(crate) fn after_use(after: Duration) -> Self {
        Self { on_read: true, ..Self::after_write(after) }
    }
}

/// A value, and when it was last touched.
#[derive(crate::State)]
pub(super) struct Touched<S: crate::state::State> {
    pub(super) touched_ms: i64,
    pub(super) value: S,
}

/// What time it is for the values of a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    expiry: Expiry,
    /// When the job started.
    started_ms: i64,
    pub(super) now_ms: i64,
    /// Until when there is no need to sweep.
    pub(super) sweep_ms: i64,
}

impl Lifetime {
    pub(super) fn new(expiry: Expiry, now_ms: i64) -> Self {
        let mut lifetime = Self { expiry, started_ms: now_ms, now_ms, sweep_ms: now_ms };
        lifetime.swept();
        lifetime
    }

    /// Notes that the heap is rid of what had expired by now: half a lifetime is a good time to look again.
    pub(super) fn swept(&mut self) {
        self.sweep_ms = self.now_ms.saturating_add((self.expiry.after_ms / 2).max(1));
    }

    pub(super) fn touches_on_read(&self) -> bool {
        self.expiry.on_read
    }

    /// Returns whether a value that was touched at this time is still there.
    #[inline]
    pub(crate) fn is_live(&self, touched_ms: i64) -> bool {
        touched_ms.saturating_add(self.expiry.after_ms) > self.now_ms
    }

    /// Returns when a value of the savepoint was last touched, by what its file says.
    pub(super) fn stored(&self, touched_ms: Option<i64>) -> i64 {
        touched_ms.unwrap_or(self.started_ms)
    }

    /// Returns the times of so many rows of the savepoint, by what their file says.
    pub(crate) fn stored_rows(&self, touched_ms: Option<ArrayRef>, rows: usize) -> ArrayRef {
        touched_ms.unwrap_or_else(|| Arc::new(Int64Array::from(vec![self.started_ms; rows])))
    }

    /// Leaves those rows of some columns that are still there; the last column has their times.
    pub(crate) fn live_rows<const N: usize>(
        &self,
        columns: [ArrayRef; N],
    ) -> Result<[ArrayRef; N], ArrowError> {
        let Some(touched_ms) = columns[N - 1].as_primitive_opt::<Int64Type>() else { return Ok(columns) };
        let latest_gone = self.now_ms.saturating_sub(self.expiry.after_ms);
        let live: BooleanArray = match self.expiry.after_ms {
            // So long that nobody will see the end of it.
            i64::MAX => return Ok(columns),
            _ => gt(touched_ms, &Int64Array::new_scalar(latest_gone))?,
        };
        if live.true_count() == live.len() {
            return Ok(columns);
        }
        let mut filtered = columns;
        for column in &mut filtered {
            *column = filter(column.as_ref(), &live)?;
        }
        Ok(filtered)
    }
}

/// Takes the columns of values and of their times apart.
pub(crate) fn split(values: &ArrayRef) -> Option<(ArrayRef, ArrayRef)> {
    let parts = values.as_struct_opt()?;
    Some((parts.column_by_name("value")?.clone(), parts.column_by_name("touched_ms")?.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_until_its_time_is_over_and_not_a_millisecond_longer() {
        let mut lifetime = Lifetime::new(Expiry::after_write(Duration::from_millis(10)), 100);
        lifetime.now_ms = 109;
        assert!(lifetime.is_live(100));
        lifetime.now_ms = 110;
        assert!(!lifetime.is_live(100) && lifetime.is_live(101));
        assert_eq!(lifetime.stored(None), 100, "what says nothing was touched when the job started");
        assert_eq!(lifetime.stored(Some(7)), 7);
    }

    #[test]
    fn an_endless_lifetime_and_odd_times_do_no_harm() {
        let mut lifetime = Lifetime::new(Expiry::after_use(Duration::MAX), 5);
        for (now_ms, touched_ms) in
            [(i64::MAX - 1, i64::MIN), (i64::MAX - 1, 0), (i64::MIN, i64::MAX), (0, i64::MAX)]
        {
            lifetime.now_ms = now_ms;
            if touched_ms >= 0 {
                assert!(lifetime.is_live(touched_ms));
            }
            lifetime.swept();
        }
        let none = Lifetime::new(Expiry::after_write(Duration::ZERO), 5);
        assert!(!none.is_live(5), "what lives for no time is never there");
    }

    #[test]
    fn rows_are_left_out_as_single_values_are() {
        let mut lifetime = Lifetime::new(Expiry::after_write(Duration::from_millis(10)), 100);
        lifetime.now_ms = 110;
        let times: ArrayRef = Arc::new(Int64Array::from_iter_values(95..106));
        let [kept] = lifetime.live_rows([times.clone()]).unwrap();
        let wanted = (95..106).filter(|at| lifetime.is_live(*at));
        assert_eq!(kept.as_primitive::<Int64Type>(), &Int64Array::from_iter_values(wanted));
    }
}
