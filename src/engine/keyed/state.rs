//! One keyed state of one operator instance: live values on the heap, untouched ones where the savepoint left them.

use super::StateSettings;
use super::expiry::{Lifetime, Touched};
use crate::engine::chain::START;
use crate::engine::graph::OpenContext;
use crate::engine::image::{ImageOrder, KeyedImage, StateFileKind};
use crate::engine::with_causes;
use crate::error::{BoxError, Error, Result};
use crate::migrate::lazy::{Swept, Untouched};
use crate::model::{
    KeyGroup, KeyGroupRange, MaxParallelism, OperatorUid, Schema, SchemaVersion, StateKind, StateName,
    SweptRows,
};
use crate::state::table::{GroupImage, Table};
use crate::state::{Key, State, shown_key};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

/// Where a key lies: the key group that it belongs to, and its hash in tables of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) group: KeyGroup,
    pub(crate) hash: u64,
}

impl Place {
    /// Returns the place of a key whose [`hash64`](Key::hash64) is `hash`.
    #[inline]
    pub(crate) fn of_hash(hash: u64, max_parallelism: MaxParallelism) -> Self {
        Self { group: KeyGroup::of_hash(hash, max_parallelism), hash }
    }
}

/// A value a key, for the key groups of one worker.
pub(crate) struct KeyedState<K: Key, S: State> {
    live: Live<K, S>,
    pub(super) untouched: Untouched<K, S>,
    held: KeyGroupRange,
    schema: Schema,
    file: StateFileKind,
    /// Whether there are images of what has changed.
    is_tracked: bool,
    /// Of timers: those that were taken over in the background, until they are known by their times.
    pub(super) unseen: Vec<K>,
    /// The keys that are out of service, if keys whose migration fails are to be.
    aside: Option<Aside<K>>,
}

/// Keys that a migration failed for, by hash.
type Aside<K> = HashMap<u64, Vec<K>>;

/// So many keys that are set aside are told of one by one.
const TOLD_ASIDE: u64 = 20;

/// The values on the heap. Those that never expire have no time beside them: it would take room in each entry.
enum Live<K: Key, S: State> {
    Lasting(Table<K, S>),
    Expiring(Table<K, Touched<S>>, Lifetime),
}

/// Does the same with the table, whatever is in it.
macro_rules! with_table {
    ($live:expr, $table:ident => $then:expr) => {
        match $live {
            Live::Lasting($table) => $then,
            Live::Expiring($table, _) => $then,
        }
    };
}

impl<K: Key, S: State> KeyedState<K, S> {
    /// Opens the state where the savepoint left it.
    pub(crate) fn open(
        settings: &StateSettings<S>,
        kind: StateKind,
        context: &OpenContext<'_>,
    ) -> Result<Self> {
        let name = settings.state_name().map_err(|problem| context.problem(problem))?;
        let uid = context.uid.clone();
        let held = context.held()?;
        let mut untouched = Untouched::none(uid.clone(), name.clone(), held);
        if context.quarantines {
            untouched.set_failing_aside();
        }
        let found = context.restore.and_then(|s| Some((s, s.manifest().operator(&uid)?.state(&name)?)));
        if let Some((savepoint, entry)) = found {
            let view = savepoint.operator(uid.as_str())?.state(name.as_str())?;
            let routes = settings.chain.routes(&view)?;
            for file in &entry.files {
                if file.key_groups.is_none_or(|groups| groups.intersection(held).is_none()) {
                    continue;
                }
                let Some(route) = routes[file.schema].clone() else { continue };
                let path = format!("{}/{}", savepoint.location(), file.path);
                let opened = savepoint.state_file(entry, file)?;
                // The checkpoint that the job starts from is discarded while rows of it are still untouched.
                opened.hold_layers()?;
                untouched.add(opened, path, entry.schema_of(file).clone(), route);
            }
        }
        let mut opened = Self {
            live: match settings.expiry {
                None => Live::Lasting(Table::new(held)),
                Some(expiry) => {
                    Live::Expiring(Table::new(held), Lifetime::new(expiry, context.clock.now_ms()))
                }
            },
            untouched,
            held,
            schema: settings.chain.schema(),
            file: StateFileKind {
                ordinal: context.ordinal,
                uid,
                state: name,
                kind,
                worker: context.worker,
                max_parallelism: context.max_parallelism,
            },
            is_tracked: context.is_incremental,
            unseen: Vec::new(),
            aside: context.quarantines.then(HashMap::new),
        };
        if opened.is_tracked {
            with_table!(&mut opened.live, table => table.track(START));
        }
        Ok(opened)
    }

    /// Returns the place of a key with this [`hash64`](Key::hash64).
    #[inline]
    pub(crate) fn place(&self, hash: u64) -> Place {
        Place::of_hash(hash, self.file.max_parallelism)
    }

    pub(crate) fn max_parallelism(&self) -> MaxParallelism {
        self.file.max_parallelism
    }

    /// Takes a key out of the savepoint as if it were touched, migrated; it counts as written, but not as touched.
    fn admit_key(&mut self, at: Place, key: &K) -> Result<()> {
        let taken = self.untouched.taken();
        let Self { live, untouched, .. } = self;
        match live {
            Live::Lasting(table) => {
                table.update(at.group, at.hash, key, || untouched.take(at.group, key), |_| ())?;
            }
            Live::Expiring(table, lifetime) => {
                let absent = || take_live(untouched, lifetime, at.group, key);
                table.update(at.group, at.hash, key, absent, |_| ())?;
            }
        }
        if self.is_tracked && self.untouched.taken() != taken {
            self.note_taken(at, key);
        }
        Ok(())
    }

    /// Notes that the key is out of service that a migration has just failed for.
    ///
    /// # Errors
    ///
    /// The failure, if it is another one or keys are not to be set aside.
    fn set_aside(&mut self, error: Error) -> Result<()> {
        let Some(aside) = &mut self.aside else { return Err(error) };
        let Some(key) = self.untouched.take_failed_key() else { return Err(error) };
        aside.entry(key.hash64()).or_default().push(key);
        match self.untouched.failed() {
            ..=TOLD_ASIDE => tracing::warn!("in quarantine: {}", with_causes(&error)),
            _ => tracing::debug!("in quarantine: {}", with_causes(&error)),
        }
        Ok(())
    }

    /// Returns whether the value of `key` is on the heap.
    pub(crate) fn is_live(&self, at: Place, key: &K) -> bool {
        with_table!(&self.live, table => table.contains(at.group, at.hash, key))
    }

    /// Lets `change` read and change the value of `key`, which is migrated if this is its first touch; leaving
    /// `None` behind removes the key.
    ///
    /// # Errors
    ///
    /// If the value cannot be read or migrated.
    #[inline]
    pub(crate) fn update<R>(
        &mut self,
        at: Place,
        key: &K,
        change: impl FnOnce(&mut Option<S>) -> R,
    ) -> Result<R> {
        let taken = self.untouched.taken();
        let result = self.update_entry(at, key, change);
        if self.is_tracked && self.untouched.taken() != taken {
            self.note_taken(at, key);
        }
        result
    }

    /// Notes that a key that the savepoint had is gone, if what was taken from there has not become an entry.
    #[cold]
    fn note_taken(&mut self, at: Place, key: &K) {
        with_table!(&mut self.live, table => {
            if !table.contains(at.group, at.hash, key) {
                table.note_removed(at.group, at.hash, key);
            }
        });
    }

    #[inline]
    fn update_entry<R>(&mut self, at: Place, key: &K, change: impl FnOnce(&mut Option<S>) -> R) -> Result<R> {
        let Self { live, untouched, .. } = self;
        match live {
            Live::Lasting(table) => {
                table.update(at.group, at.hash, key, || untouched.take(at.group, key), change)
            }
            Live::Expiring(table, lifetime) => {
                let absent = || take_live(untouched, lifetime, at.group, key);
                table.update(at.group, at.hash, key, absent, |kept| {
                    let mut value = kept.take().filter(|v| lifetime.is_live(v.touched_ms)).map(|v| v.value);
                    let result = change(&mut value);
                    *kept = value.map(|value| Touched { touched_ms: lifetime.now_ms, value });
                    result
                })
            }
        }
    }

    /// Lets `look` see the value of `key`, which does not count as written; as touched only if the state says so.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    #[inline]
    pub(crate) fn read<R>(&mut self, at: Place, key: &K, look: impl FnOnce(Option<&S>) -> R) -> Result<R> {
        if matches!(&self.live, Live::Expiring(_, lifetime) if lifetime.touches_on_read()) {
            return self.update(at, key, |value| look(value.as_ref()));
        }
        let taken = self.untouched.taken();
        let result = self.read_entry(at, key, look);
        if self.is_tracked && self.untouched.taken() != taken {
            self.note_taken(at, key);
        }
        result
    }

    #[inline]
    fn read_entry<R>(&mut self, at: Place, key: &K, look: impl FnOnce(Option<&S>) -> R) -> Result<R> {
        let Self { live, untouched, .. } = self;
        match live {
            Live::Lasting(table) => {
                table.read(at.group, at.hash, key, || untouched.take(at.group, key), look)
            }
            Live::Expiring(table, lifetime) => {
                let absent = || take_live(untouched, lifetime, at.group, key);
                table.read(at.group, at.hash, key, absent, |kept| {
                    look(kept.filter(|v| lifetime.is_live(v.touched_ms)).map(|v| &v.value))
                })
            }
        }
    }
}

/// Takes the value of a key out of the savepoint, unless its time is over.
fn take_live<K: Key, S: State>(
    untouched: &mut Untouched<K, S>,
    lifetime: &Lifetime,
    group: KeyGroup,
    key: &K,
) -> Result<Option<Touched<S>>> {
    let found = untouched.take_if(group, key, |touched_ms| lifetime.is_live(lifetime.stored(touched_ms)))?;
    Ok(found.map(|(value, touched_ms)| Touched { touched_ms: lifetime.stored(touched_ms), value }))
}

/// Makes an entry of a row of the savepoint. It is not touched by that; it is written if it is another value now.
fn take_in<K: Key, S: State>(table: &mut Table<K, S>, at: Place, key: K, value: S, is_same: bool) {
    if is_same {
        return table.adopt(at.group, at.hash, key, value);
    }
    let found = table.update(at.group, at.hash, &key, || Ok::<_, Infallible>(Some(value)), |_| ());
    found.unwrap_or_else(|never| match never {})
}

/// How much a state has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) untouched: u64,
    pub(super) unmigrated: u64,
}

/// A state to the backend, which knows no types.
pub(super) trait AnyState {
    /// Says what time it is to a state whose values expire; returns when there is need to sweep, if it is one.
    fn tell_time(&mut self, _now_ms: i64) -> Option<i64> {
        None
    }

    /// Looks for expired values in so many buckets, and lets go of them; returns whether there is more to look at.
    fn sweep(&mut self, _buckets: usize) -> bool {
        false
    }

    /// Begins an image of the state as it is now.
    fn begin(&mut self, order: &ImageOrder) -> KeyedImage;

    /// Goes on with the image for so many buckets; returns whether there is more to do.
    fn scan(&mut self, buckets: usize, done: &mut dyn FnMut(GroupImage)) -> bool;

    /// Gives up the image that is being taken, if there is one.
    fn abandon(&mut self);

    /// Returns the number of entries, how many of them lie where the savepoint left them, and how many of those wait for
    /// a migration.
    fn counts(&self) -> Counts;

    /// Returns how many entries are in quarantine, tried again or not.
    fn quarantined(&self) -> u64 {
        0
    }

    /// Migrates a key of the operator's, if it is one of this state and there is need; returns whether it is in service.
    fn admit(&mut self, _at: Place, _key: &dyn Any) -> Result<bool> {
        Ok(true)
    }

    /// Returns the entries that wait for a migration, by schema version.
    fn unmigrated(&self) -> BTreeMap<SchemaVersion, u64>;

    /// Returns how many rows a sweep of these has before it, as far as is known.
    fn left(&self, _rows: SweptRows) -> u64 {
        0
    }

    /// Takes up to `most` rows over that no record has touched; returns how many.
    fn take_over(&mut self, _rows: SweptRows, _most: usize) -> Result<usize> {
        Ok(0)
    }

    fn name(&self) -> &StateName;
}

impl<K: Key, S: State> AnyState for KeyedState<K, S> {
    fn tell_time(&mut self, now_ms: i64) -> Option<i64> {
        let Live::Expiring(_, lifetime) = &mut self.live else { return None };
        // The clock may be set back; what was gone stays gone.
        lifetime.now_ms = lifetime.now_ms.max(now_ms);
        Some(lifetime.sweep_ms)
    }

    fn sweep(&mut self, buckets: usize) -> bool {
        let Live::Expiring(table, lifetime) = &mut self.live else { return false };
        let now = *lifetime;
        let more = table.sweep(buckets, |value| !now.is_live(value.touched_ms));
        if !more {
            lifetime.swept();
        }
        more
    }

    fn begin(&mut self, order: &ImageOrder) -> KeyedImage {
        let chain = order.chain(&self.file.uid, &self.file.state);
        let layer = chain.and_then(|chain| chain.layer).filter(|_| self.is_tracked);
        let oldest = chain.map_or(order.epoch, |chain| chain.oldest);
        let since = layer.map(|(since, _)| since);
        with_table!(&mut self.live, table => table.begin(order.epoch, since, oldest));
        let entries = with_table!(&self.live, table => table.len());
        let size = (entries as u64 + self.untouched.remaining(), self.held.count());
        let lifetime = match &self.live {
            Live::Lasting(_) => None,
            Live::Expiring(_, lifetime) => Some(*lifetime),
        };
        // What nobody has touched has not changed, but for what was set aside.
        let untouched =
            if layer.is_some() { self.untouched.image_of_failed() } else { self.untouched.image() };
        let (file, schema) = (self.file.clone(), self.schema.clone());
        let image = KeyedImage::new::<K>(file, order, schema, untouched, size);
        image.expiring(lifetime).layer(layer.map(|(_, layer)| layer))
    }

    fn scan(&mut self, buckets: usize, done: &mut dyn FnMut(GroupImage)) -> bool {
        with_table!(&mut self.live, table => table.scan(buckets, done))
    }

    fn abandon(&mut self) {
        with_table!(&mut self.live, table => table.abandon_image());
    }

    fn counts(&self) -> Counts {
        let entries = with_table!(&self.live, table => table.len());
        let untouched = self.untouched.remaining();
        Counts { entries: entries as u64 + untouched, untouched, unmigrated: self.untouched.unmigrated() }
    }

    fn unmigrated(&self) -> BTreeMap<SchemaVersion, u64> {
        self.untouched.unmigrated_by_version()
    }

    fn quarantined(&self) -> u64 {
        self.untouched.quarantined()
    }

    fn admit(&mut self, at: Place, key: &dyn Any) -> Result<bool> {
        // Timers have other keys, and no migrations.
        let (Some(aside), Some(key)) = (&self.aside, key.downcast_ref::<K>()) else { return Ok(true) };
        if self.untouched.unmigrated() == 0 {
            return Ok(true);
        }
        if aside.get(&at.hash).is_some_and(|keys| keys.contains(key)) {
            return Ok(false);
        }
        if self.is_live(at, key) {
            return Ok(true);
        }
        match self.admit_key(at, key) {
            Ok(()) => Ok(true),
            Err(error) => self.set_aside(error).map(|()| false),
        }
    }

    fn left(&self, rows: SweptRows) -> u64 {
        self.untouched.left(rows)
    }

    fn take_over(&mut self, rows: SweptRows, most: usize) -> Result<usize> {
        for count in 0..most {
            let lifetime = match &self.live {
                Live::Lasting(_) => None,
                Live::Expiring(_, lifetime) => Some(*lifetime),
            };
            let wanted = |touched_ms| lifetime.is_none_or(|l| l.is_live(l.stored(touched_ms)));
            let swept = match self.untouched.take_next(rows, wanted) {
                Ok(Some(swept)) => swept,
                Ok(None) => return Ok(count),
                Err(error) => {
                    self.set_aside(error)?;
                    continue;
                }
            };
            let Swept { key, value, is_same, is_handed_out } = swept;
            let at = Place { hash: key.slot64(), ..self.place(key.hash64()) };
            if self.file.kind == StateKind::Timers && !is_handed_out {
                self.unseen.push(key.clone());
            }
            let Some((value, touched_ms)) = value else {
                if self.is_tracked {
                    self.note_taken(at, &key);
                }
                continue;
            };
            match &mut self.live {
                Live::Lasting(table) => take_in(table, at, key, value, is_same),
                Live::Expiring(table, lifetime) => {
                    // One without a time has one from now on.
                    let is_same = is_same && touched_ms.is_some();
                    let touched_ms = lifetime.stored(touched_ms);
                    take_in(table, at, key, Touched { touched_ms, value }, is_same);
                }
            }
        }
        Ok(most)
    }

    fn name(&self) -> &StateName {
        &self.file.state
    }
}

/// The key that an operator is working on, which the handles of its states share.
pub(crate) struct Current<K> {
    key: RefCell<Option<K>>,
    place: Cell<Place>,
    max_parallelism: Cell<MaxParallelism>,
}

impl<K: Key> Current<K> {
    pub(crate) fn new() -> Self {
        let max_parallelism = MaxParallelism::DEFAULT;
        Self {
            key: RefCell::new(None),
            place: Cell::new(Place::of_hash(0, max_parallelism)),
            max_parallelism: Cell::new(max_parallelism),
        }
    }

    /// Says how many key groups there are.
    pub(crate) fn open(&self, max_parallelism: MaxParallelism) {
        self.max_parallelism.set(max_parallelism);
    }

    /// Turns to another key.
    #[inline]
    pub(crate) fn set(&self, key: K, hash: u64) {
        self.place.set(Place::of_hash(hash, self.max_parallelism.get()));
        *self.key.borrow_mut() = Some(key);
    }

    #[inline]
    pub(crate) fn place(&self) -> Place {
        self.place.get()
    }

    /// Lets `then` use the key.
    ///
    /// # Panics
    ///
    /// If there is none: states are used while a record or a timer of a key is.
    #[inline]
    pub(crate) fn with<R>(&self, then: impl FnOnce(&K) -> R) -> R {
        then(self.key.borrow().as_ref().expect("keyed state is used for a record or a timer"))
    }
}

/// Runs a user's function, so that whatever goes wrong in it is said to have gone wrong for `key`.
///
/// # Errors
///
/// What it returns: errors of pitlane as they are, others with operator and key.
pub(crate) fn naming_key<K: Key, R>(
    uid: &OperatorUid,
    key: &K,
    run: impl FnOnce() -> std::result::Result<R, BoxError>,
) -> Result<R> {
    run().map_err(|source| match source.downcast::<Error>() {
        // State that cannot be read or migrated says all by itself.
        Ok(error) => *error,
        Err(source) => Error::UserFunction { uid: uid.clone(), key: shown_key(key), source },
    })
}

thread_local! {
    /// The key that was worked on when this thread panicked.
    static BLAMED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes `key` if what runs until it is dropped panics; costs nothing otherwise.
pub(crate) struct Blaming<'a, K: Key>(&'a K);

/// Says that what comes next is done for `key`.
#[inline]
pub(crate) fn blaming<K: Key>(key: &K) -> Blaming<'_, K> {
    Blaming(key)
}

impl<K: Key> Drop for Blaming<'_, K> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            BLAMED.set(Some(shown_key(self.0)));
        }
    }
}

/// Takes the key that was worked on when this thread last panicked.
pub(crate) fn blamed() -> Option<String> {
    BLAMED.take()
}
