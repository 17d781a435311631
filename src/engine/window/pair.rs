//! How windows over two streams are written down: joins and co-groups.

use super::content::{Both, WindowPair};
use super::node::{PairLogic, WindowNode, WindowSettings};
use super::stream::{NodePlan, WindowResult, boxed};
use super::{Trigger, Window, WindowAssigner};
use crate::connectors::Record;
use crate::engine::keyed_stream::ConnectedStreams;
use crate::engine::side_output::SideOutput;
use crate::engine::stream::lock;
use crate::state::{Key, State};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Two streams with the same keys, in the same windows.
pub struct WindowedPair<K, A, B, W> {
    streams: ConnectedStreams<K, A, B>,
    settings: WindowSettings<W>,
}

impl<K: Key + Record, A: Record, B: Record> ConnectedStreams<K, A, B> {
    /// Puts the records of each key, of both streams, into windows.
    ///
    /// # Examples
    ///
    /// Who bought what they had looked at within the same ten minutes:
    ///
    /// ```
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, Tumbling, Watermarks};
    /// use std::time::Duration;
    ///
    /// let job = Job::new("bought");
    /// let looks = job.source(Generator::new(1, 90, |_, n| (n % 9, n as i64))).uid("looks");
    /// let looks = looks.watermarks(Watermarks::ascending(), |look| look.1);
    /// let sales = job.source(Generator::new(1, 30, |_, n| (n % 9, n as i64))).uid("sales");
    /// let sales = sales.watermarks(Watermarks::ascending(), |sale| sale.1);
    /// let bought = looks
    ///     .key_by(|look| look.0)
    ///     .connect(&sales.key_by(|sale| sale.0))
    ///     .window(Tumbling::of(Duration::from_secs(600)))
    ///     .join(|look, sale| (look.0, look.1, sale.1))
    ///     .uid("bought");
    /// ```
    pub fn window<W: WindowAssigner<A> + WindowAssigner<B>>(&self, assigner: W) -> WindowedPair<K, A, B, W> {
        let settings = WindowSettings::new(assigner);
        WindowedPair { streams: self.clone(), settings }
    }
}

impl<K, A, B, W> WindowedPair<K, A, B, W>
where
    K: Key + Record,
    A: Record + State,
    B: Record + State,
    W: WindowAssigner<A> + WindowAssigner<B>,
{
    /// Lets windows tell when `trigger` says so.
    #[must_use]
    pub fn trigger(mut self, trigger: impl Trigger) -> Self {
        self.settings.trigger = Arc::new(trigger);
        self
    }

    /// Keeps windows for so long after their end, for records that come late; each of those makes the window tell
    /// again.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.settings.allow_lateness(lateness);
        self
    }

    /// Sends records of the first stream that come too late to a side output; they are counted in any case.
    #[must_use]
    pub fn late_first_to(mut self, side: &SideOutput<A>) -> Self {
        self.settings.late[0] = Some(side.name().to_owned());
        self
    }

    /// Sends records of the second stream that come too late to a side output; they are counted in any case.
    #[must_use]
    pub fn late_second_to(mut self, side: &SideOutput<B>) -> Self {
        self.settings.late[1] = Some(side.name().to_owned());
        self
    }

    /// Sends what `tell` makes of the records of both streams in a window, also where one of them has none.
    pub fn co_group<O: Record>(
        &self,
        tell: impl FnMut(&K, Window, &[A], &[B], &mut Vec<O>) + Clone + Send + 'static,
    ) -> WindowResult<WindowPair<A, B>, O> {
        self.add("co_group", tell)
    }

    /// Sends what `pair` makes of each two records of both streams in a window.
    pub fn join<O: Record>(
        &self,
        mut pair: impl FnMut(&A, &B) -> O + Clone + Send + 'static,
    ) -> WindowResult<WindowPair<A, B>, O> {
        self.add("window_join", move |_: &K, _, first: &[A], second: &[B], out: &mut Vec<O>| {
            for one in first {
                out.extend(second.iter().map(|other| pair(one, other)));
            }
        })
    }

    fn add<O: Record>(
        &self,
        kind: &'static str,
        tell: impl FnMut(&K, Window, &[A], &[B], &mut Vec<O>) + Clone + Send + 'static,
    ) -> WindowResult<WindowPair<A, B>, O> {
        let time = <W as WindowAssigner<A>>::time(&self.settings.assigner);
        let content = Both { tell, types: PhantomData };
        let windows = (self.settings.clone(), Mutex::new(content));
        let records = &self.streams.first.records;
        let inputs = vec![records.output, self.streams.second.records.output];
        WindowResult::add::<K, A>(
            records,
            NodePlan { kind, inputs, time, version: 1 },
            move |state, context| {
                let (settings, content) = &windows;
                let content = lock(content).clone();
                let (node, backend) =
                    WindowNode::<K, A, B, W, _>::open(content, settings.clone(), time, state, context)?;
                Ok(boxed((PairLogic(node), backend)))
            },
        )
    }
}
