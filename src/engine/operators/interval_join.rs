//! Joins records of two keyed streams whose event times lie close together.
//!
//! Each side keeps its records by event time, as long as a partner may still come. The first record of each side has
//! a timer; when it is due, what nothing can join any more goes, and the next one is set. So bounds that change from
//! one release to the next need no care: what a timer finds too early waits for another.

use crate::connectors::Record;
use crate::engine::batch::{BEFORE_ALL, KeyedRows, NONE_HELD, Payload};
use crate::engine::graph::{OpenContext, undecodable};
use crate::engine::keyed::{
    Backend, Emitter, Gate, KeyedState, Logic, Place, StateSettings, Stateful, TimeKind, Timers, blaming,
};
use crate::engine::meter::Meter;
use crate::engine::operator::{Operator, Outbox};
use crate::engine::side_output::{SideOutput, Sides};
use crate::error::{Error, Result};
use crate::model::{OperatorUid, StateKind};
use crate::state::{Key, State};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a side keeps for a key: records by event time, those of one time in the order in which they came.
pub(crate) type ByTime<T> = BTreeMap<i64, Vec<T>>;

/// Which records of the right are partners of one of the left: by how much their event times differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) lower_ms: i64,
    pub(crate) upper_ms: i64,
    /// How long after the watermark records are still taken.
    pub(crate) lateness_ms: i64,
}

impl Interval {
    /// Returns the same interval as seen from the right.
    fn reversed(self) -> Self {
        let negated = |ms: i64| 0_i64.saturating_sub(ms);
        Self { lower_ms: negated(self.upper_ms), upper_ms: negated(self.lower_ms), ..self }
    }

    /// Returns the times of the partners of a record.
    fn partners(self, time_ms: i64) -> RangeInclusive<i64> {
        time_ms.saturating_add(self.lower_ms)..=time_ms.saturating_add(self.upper_ms)
    }

    /// Returns the time before which records are late.
    fn late_before(self, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.lateness_ms)
    }

    /// Returns the watermark at which no partner of a record can come any more.
    fn over_at(self, time_ms: i64) -> i64 {
        time_ms.saturating_add(self.upper_ms).saturating_add(self.lateness_ms).saturating_add(1)
    }

    /// Lets go of the records that nothing can join any more.
    fn clean<T>(self, kept: &mut Option<ByTime<T>>, watermark_ms: i64) {
        let Some(by_time) = kept else { return };
        while let Some(first) = by_time.first_entry() {
            if watermark_ms != NONE_HELD && self.over_at(*first.key()) > watermark_ms {
                return;
            }
            first.remove();
        }
        *kept = None;
    }
}

/// Where late records of the left go.
pub(crate) const LATE_LEFT: &str = "late-left";
/// Where late records of the right go.
pub(crate) const LATE_RIGHT: &str = "late-right";

/// The records of one side.
struct Side<K: Key, T: State> {
    state: Rc<RefCell<KeyedState<K, ByTime<T>>>>,
    /// As seen from this side.
    interval: Interval,
    late: SideOutput<T>,
}

impl<K: Key, T: State> Side<K, T> {
    fn open(
        settings: &StateSettings<ByTime<T>>,
        interval: Interval,
        late: &str,
        context: &OpenContext<'_>,
        backend: &mut Backend,
    ) -> Result<Self> {
        let state = backend.add(KeyedState::open(settings, StateKind::Value, context)?);
        Ok(Self { state, interval, late: SideOutput::new(late) })
    }

    /// Lets go of what nothing can join any more; returns when there will be more of it.
    fn clean(&self, at: Place, key: &K, watermark_ms: i64) -> Result<Option<i64>> {
        self.state.borrow_mut().update(at, key, |kept| {
            self.interval.clean(kept, watermark_ms);
            Some(self.interval.over_at(*kept.as_ref()?.first_key_value()?.0))
        })
    }
}

/// What both sides use.
struct Common<K: Key, O: Record> {
    uid: OperatorUid,
    timers: Timers<K>,
    watermark_ms: i64,
    out: Emitter<O>,
    sides: Sides,
    meters: Arc<Vec<Meter>>,
    node: usize,
}

impl<K: Key + Record, O: Record> Common<K, O> {
    /// Takes records of the side `own`, joins them with those that `other` keeps, and keeps them.
    fn take<T: Record + State, U: State>(
        &mut self,
        own: &Side<K, T>,
        other: &Side<K, U>,
        records: Payload,
        mut join: impl FnMut(&T, &U) -> O,
    ) -> Result<()> {
        let KeyedRows { hashes, keys, rows } = records.take::<KeyedRows<K, T>>().map_err(undecodable)?;
        if rows.times_ms.len() != rows.records.len() {
            return Err(Error::NoEventTime { uid: self.uid.clone() });
        }
        let interval = own.interval;
        let late_before = interval.late_before(self.watermark_ms);
        let (mut own_state, mut others) = (own.state.borrow_mut(), other.state.borrow_mut());
        let rows = rows.times_ms.into_iter().zip(rows.records);
        for ((hash, key), (time_ms, record)) in hashes.into_iter().zip(keys).zip(rows) {
            if time_ms < late_before {
                self.meters[self.node].late.fetch_add(1, Relaxed);
                self.sides.push(&own.late, Some(time_ms), record);
                continue;
            }
            let place = own_state.place(hash);
            let _blame = blaming(&key);
            others.read(place, &key, |kept| {
                for (other_ms, partners) in
                    kept.iter().flat_map(|kept| kept.range(interval.partners(time_ms)))
                {
                    for partner in partners {
                        self.out.push(Some(time_ms.max(*other_ms)), join(&record, partner));
                    }
                }
            })?;
            let over_at = interval.over_at(time_ms);
            if over_at <= self.watermark_ms {
                continue;
            }
            let is_first = own_state.update(place, &key, |kept| {
                let kept = kept.get_or_insert_default();
                let is_first = kept.first_key_value().is_none_or(|(first_ms, _)| time_ms < *first_ms);
                kept.entry(time_ms).or_default().push(record);
                is_first
            })?;
            if is_first {
                self.timers.set(over_at, &key, place)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, out: &mut Outbox) {
        self.out.send(out);
        self.sides.send(out);
    }
}

/// One instance of an interval join.
pub(crate) struct IntervalJoin<K: Key, L: State, R: State, O: Record, F> {
    join: F,
    left: Side<K, L>,
    right: Side<K, R>,
    common: Common<K, O>,
}

impl<K, L, R, O, F> IntervalJoin<K, L, R, O, F>
where
    K: Key + Record,
    L: Record + State,
    R: Record + State,
    O: Record,
    F: FnMut(&L, &R) -> O + 'static,
{
    /// Opens both sides where the savepoint left them.
    pub(crate) fn open(
        join: F,
        interval: Interval,
        (left, right): (&StateSettings<ByTime<L>>, &StateSettings<ByTime<R>>),
        context: &OpenContext<'_>,
    ) -> Result<Box<dyn Operator>> {
        let mut backend = Backend::new(context);
        let left = Side::open(left, interval, LATE_LEFT, context, &mut backend)?;
        let right = Side::open(right, interval.reversed(), LATE_RIGHT, context, &mut backend)?;
        let common = Common {
            uid: context.uid.clone(),
            timers: Timers::open(TimeKind::Event, context, &mut backend)?,
            watermark_ms: context.watermark_ms,
            out: Emitter::new(),
            sides: Sides::new(context),
            meters: Arc::clone(context.meters),
            node: context.node,
        };
        Ok(Box::new(Stateful::new(Self { join, left, right, common }, backend)))
    }
}

impl<K, L, R, O, F> Logic for IntervalJoin<K, L, R, O, F>
where
    K: Key + Record,
    L: Record + State,
    R: Record + State,
    O: Record,
    F: FnMut(&L, &R) -> O,
{
    fn admitted(&self, input: usize, records: Payload, gate: &Gate) -> Result<Payload> {
        match input {
            0 => gate.admitted::<K, L>(records),
            _ => gate.admitted::<K, R>(records),
        }
    }

    fn receive(&mut self, input: usize, records: Payload, out: &mut Outbox) -> Result<()> {
        let Self { join, left, right, common } = self;
        match input {
            0 => common.take(left, right, records, join)?,
            _ => common.take(right, left, records, |right, left| join(left, right))?,
        }
        common.send(out);
        Ok(())
    }

    fn advance(&mut self, watermark_ms: i64, _out: &mut Outbox) -> Result<()> {
        let Self { left, right, common, .. } = self;
        common.watermark_ms = watermark_ms;
        if watermark_ms == BEFORE_ALL {
            return Ok(());
        }
        while let Some((_, due)) = common.timers.take_due(watermark_ms)? {
            for (place, key) in due {
                let next = [left.clean(place, &key, watermark_ms)?, right.clean(place, &key, watermark_ms)?];
                for over_at in next.into_iter().flatten() {
                    common.timers.set(over_at, &key, place)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Interval = Interval { lower_ms: -10, upper_ms: 60, lateness_ms: 5 };

    #[test]
    fn both_sides_see_the_same_pairs() {
        for left_ms in -100..100 {
            for right_ms in -100..100 {
                let from_left = HOUR.partners(left_ms).contains(&right_ms);
                assert_eq!(HOUR.reversed().partners(right_ms).contains(&left_ms), from_left);
                assert_eq!((-10..=60).contains(&(right_ms - left_ms)), from_left);
            }
        }
    }

    #[test]
    fn a_record_goes_when_its_last_partner_would_be_late() {
        let kept_until = |watermark_ms| {
            let mut kept = Some(ByTime::from([(100, vec!["early"]), (200, vec!["later"])]));
            HOUR.clean(&mut kept, watermark_ms);
            kept.map_or(0, |kept| kept.len())
        };
        // A partner at 160 is in time until the watermark has passed 165.
        assert_eq!((HOUR.late_before(165), HOUR.late_before(166)), (160, 161));
        assert_eq!((kept_until(165), kept_until(166)), (2, 1));
        assert_eq!(kept_until(NONE_HELD), 0);
    }

    #[test]
    fn times_at_the_ends_of_all_time_do_not_overflow() {
        let widest = Interval { lower_ms: i64::MIN, upper_ms: i64::MAX, lateness_ms: i64::MAX };
        for interval in [widest, widest.reversed()] {
            for time_ms in [i64::MIN, 0, i64::MAX] {
                assert!(interval.partners(time_ms).contains(&time_ms));
                let mut kept = Some(ByTime::from([(time_ms, vec![()])]));
                interval.clean(&mut kept, NONE_HELD);
                assert_eq!(kept, None);
            }
        }
    }
}
