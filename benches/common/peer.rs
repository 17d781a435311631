//! The same pipeline by hand on timely with plain vectors: what the engine is compared with.
//!
//! No epochs, no watermarks, no savepoints, no types behind trait objects: source, exchange by key group,
//! one table a key group, count.

use super::{Alarm, Event, Progress, SPLITS, event, mix, step};
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use timely::communication::Push;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::generic::OutputBuilderSession;
use timely::dataflow::operators::generic::operator::{Operator, source};

const GROUPS: usize = 128;
/// Records that a split makes at once.
const BATCH: u64 = 1024;
/// Records that go to a worker at once.
const SENT: usize = 4096;
/// Records under way, so that a worker which is ahead waits.
const CREDIT: u64 = 256 * 1024;

type Vectors = CapacityContainerBuilder<Vec<Event>>;

#[inline(always)]
fn group_of(hash: u64) -> usize {
    // Bits that neither index a table nor tag its slots.
    (hash >> 40) as usize & (GROUPS - 1)
}

struct Tables(Vec<HashTable<(u64, Alarm)>>);

impl Tables {
    /// Holds the keys of one worker.
    fn filled(keys: u64, worker: usize, workers: usize) -> Self {
        let mut tables = Self((0..GROUPS).map(|_| HashTable::new()).collect());
        for key in (0..keys).filter(|key| group_of(mix(*key)) * workers / GROUPS == worker) {
            tables.apply(&Event { key, at: 0, change: 0 });
        }
        tables
    }

    #[inline(always)]
    fn apply(&mut self, event: &Event) -> Option<Event> {
        let hash = mix(event.key);
        let entry = self.0[group_of(hash)]
            .entry(hash, |e| e.0 == event.key, |e| mix(e.0))
            .or_insert_with(|| (event.key, (false, 0)));
        step(&mut entry.into_mut().1, event)
    }
}

struct Scatter(Vec<Vec<Event>>);

impl Distributor<Vec<Event>> for Scatter {
    fn partition<T: Clone, P: Push<Message<T, Vec<Event>>>>(
        &mut self,
        events: &mut Vec<Event>,
        time: &T,
        pushers: &mut [P],
    ) {
        for event in events.drain(..) {
            let to = group_of(mix(event.key)) * pushers.len() / GROUPS;
            let buffer = &mut self.0[to];
            if buffer.capacity() == 0 {
                buffer.reserve_exact(SENT);
            }
            buffer.push(event);
            if buffer.len() >= SENT {
                Message::push_at(buffer, time.clone(), &mut pushers[to]);
                buffer.clear();
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Vec<Event>>>>(&mut self, time: &T, pushers: &mut [P]) {
        for (buffer, pusher) in self.0.iter_mut().zip(pushers).filter(|(buffer, _)| !buffer.is_empty()) {
            Message::push_at(buffer, time.clone(), pusher);
            buffer.clear();
        }
    }
}

/// Runs the pipeline on `workers` threads until `stop` is set.
pub fn run(workers: usize, keys: u64, progress: &Arc<Progress>, stop: &Arc<AtomicBool>) {
    let (progress, stop) = (Arc::clone(progress), Arc::clone(stop));
    let under_way: Arc<AtomicU64> = Arc::default();
    let config = timely::Config::process(workers);
    let guards = timely::execute(config, move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut tables = Tables::filled(keys, index, peers);
        let (progress, stop) = (Arc::clone(&progress), Arc::clone(&stop));
        let (sent, received) = (Arc::clone(&under_way), Arc::clone(&under_way));
        worker.dataflow::<u64, _, _>(|scope| {
            let events = source(scope, "source", |capability, info| {
                let activator = scope.activator_for(info.address);
                let mut capability = Some(capability);
                // Past the events that fill the tables.
                let mut splits: Vec<(u32, u64)> = (0..SPLITS)
                    .filter(|split| *split as usize % peers == index)
                    .map(|split| (split, keys / u64::from(SPLITS) + 1))
                    .collect();
                move |output: &mut OutputBuilderSession<'_, u64, Vectors>| {
                    let Some(time) = &capability else { return };
                    if stop.load(Relaxed) {
                        capability = None;
                        return;
                    }
                    activator.activate();
                    if sent.load(Relaxed) > CREDIT {
                        return;
                    }
                    for (split, next) in &mut splits {
                        let make = |n| {
                            progress.note(*split, n);
                            event(*split, n, keys)
                        };
                        let mut events: Vec<_> = (*next..*next + BATCH).map(make).collect();
                        *next += BATCH;
                        sent.fetch_add(BATCH, Relaxed);
                        output.session(time).give_container(&mut events);
                    }
                }
            });
            let scatter = DistributorPact(|peers| Scatter(vec![Vec::new(); peers]));
            let changes = events.unary::<Vectors, _, _, _>(scatter, "state", |_, _| {
                move |input, output| {
                    input.for_each(|time, events| {
                        received.fetch_sub(events.len() as u64, Relaxed);
                        let mut changes = Vec::with_capacity(events.len() / 2 + 1);
                        changes.extend(events.drain(..).filter_map(|event| tables.apply(&event)));
                        output.session(&time).give_container(&mut changes);
                    });
                }
            });
            let mut count = 0;
            changes.unary::<Vectors, _, _, _>(Pipeline, "sink", |_, _| {
                move |input, _| {
                    input.for_each(|_, events| {
                        count += events.len();
                        std::hint::black_box(&count);
                        events.clear();
                    });
                }
            });
        });
    });
    guards.expect("timely starts").join().into_iter().for_each(|done| done.expect("the worker ends well"));
}
