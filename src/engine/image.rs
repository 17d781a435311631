//! Writing the state of an epoch: workers hand columns over, a thread beside each worker sorts and writes them.
//!
//! For each state there is one file a schema and worker, or several if there are many rows: live values under the
//! job's schema, untouched ones under the schema they came with. What an operator instance wrote for an epoch is its
//! [`Part`] of the image. Row groups that nobody has touched go into files of their own, copied as they lie encoded in
//! the savepoint that the job goes on from, their hashes checked.

use super::batch::Mark;
use super::keyed::{Lifetime, split};
use super::runtime::text_of;
use crate::error::{Error, Result};
use crate::migrate::lazy::{UntouchedImage, UntouchedRows};
use crate::model::{
    DataType, FileEntry, KeyGroup, MaxParallelism, OperatorUid, Refused, Schema, SourcePosition, StateKind,
    StateName,
};
use crate::savepoint::{
    StateColumns, StateFile, StateWriter, layer_path, state_file_path, tombstone_file_path,
};
use crate::state::table::GroupImage;
use crate::state::{Build as _, Key, Read as _, State, append};
use crate::storage::{Store, create_directory};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt16Array, UInt32Array};
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};

/// Where the image of an epoch is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageOrder {
    pub(crate) epoch: u64,
    /// The directory of the image.
    pub(crate) directory: String,
    /// What it is to have of states that a checkpoint before has too.
    pub(crate) chains: Vec<ChainOrder>,
}

/// What an image is to have of a state that a checkpoint before has too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainOrder {
    pub(crate) uid: String,
    pub(crate) state: String,
    /// No image will be asked for what has changed since an epoch before this one.
    pub(crate) oldest: u64,
    /// The epoch since which it is to have what has changed, and the layer that this is; all if there is none.
    pub(crate) layer: Option<(u64, u32)>,
}

impl ImageOrder {
    /// Returns what is ordered of a state.
    pub(crate) fn chain(&self, uid: &OperatorUid, state: &StateName) -> Option<&ChainOrder> {
        let is_of = |chain: &&ChainOrder| chain.uid == uid.as_str() && chain.state == state.as_str();
        self.chains.iter().find(is_of)
    }
}

/// What one operator instance wrote for an epoch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) states: Vec<StatePart>,
    /// Of a source: how far each of its splits was read.
    pub(crate) positions: Vec<SourcePosition>,
    /// Of a source: how far it has come on this worker.
    pub(crate) mark: Option<Mark>,
    /// Of a source: the splits that were idle.
    pub(crate) idle: BTreeSet<String>,
}

/// The files that one operator instance wrote for one of its states.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StatePart {
    pub(crate) name: String,
    pub(crate) files: Vec<(Schema, FileEntry)>,
    /// The files with the keys that are gone.
    pub(crate) tombstones: Vec<FileEntry>,
    /// How many rows of them were carried over as they lay encoded in the savepoint that the job goes on from.
    pub(crate) carried_rows: u64,
    /// Whether this is what has changed since the checkpoint that the order names, and not the whole state.
    pub(crate) is_layer: bool,
}

/// What the thread has done for an operator instance.
#[derive(Debug)]
pub(crate) struct TaskDone {
    pub(crate) node: usize,
    pub(crate) epoch: u64,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The instance's part of the image is durable, or could not be written.
    Part(Result<Part>),
    /// The instance's output of the epoch is visible.
    Committed,
    /// The attempt cannot go on.
    Fatal(Error),
}

/// Work that is done by itself.
pub(crate) type Job = Box<dyn FnOnce() -> Outcome + Send>;

enum Task {
    Open { node: usize, epoch: u64, image: NodeImage },
    Rows { node: usize, state: usize, rows: GroupImage },
    Finish { node: usize },
    Run { node: usize, epoch: u64, job: Job },
}

/// The number of tasks that may wait before rows are held back. The queue itself has no bound: a worker never
/// waits for the disk.
const QUEUE: usize = 4;

/// The way from an operator to the thread that writes its image.
pub(crate) struct ImageTasks {
    node: usize,
    sender: Sender<Task>,
}

impl ImageTasks {
    /// Returns whether rows had better wait: the writer is behind.
    pub(crate) fn is_full(&self) -> bool {
        self.sender.len() >= QUEUE
    }

    /// Begins the image of an instance's states.
    pub(crate) fn open(&self, epoch: u64, image: NodeImage) -> Result<()> {
        self.send(Task::Open { node: self.node, epoch, image })
    }

    /// Hands over the rows of a key group of one of the states.
    pub(crate) fn rows(&self, state: usize, rows: GroupImage) -> Result<()> {
        self.send(Task::Rows { node: self.node, state, rows })
    }

    pub(crate) fn finish(&self) -> Result<()> {
        self.send(Task::Finish { node: self.node })
    }

    pub(crate) fn run(&self, epoch: u64, job: impl FnOnce() -> Outcome + Send + 'static) -> Result<()> {
        self.send(Task::Run { node: self.node, epoch, job: Box::new(job) })
    }

    fn send(&self, task: Task) -> Result<()> {
        self.sender.send(task).map_err(|_| stopped())
    }
}

const THREAD: &str = "the thread that writes savepoints";

fn stopped() -> Error {
    Error::Stopped { what: THREAD }
}

/// The thread beside a worker.
pub(crate) struct ImageThread {
    sender: Sender<Task>,
    done: Receiver<TaskDone>,
    thread: Option<JoinHandle<()>>,
}

impl ImageThread {
    /// Starts it; `worker` is woken whenever a part is done.
    pub(crate) fn start(index: usize, worker: Thread) -> Result<Self> {
        let (sender, tasks) = crossbeam_channel::unbounded();
        let (report, done) = crossbeam_channel::unbounded();
        let thread = std::thread::Builder::new()
            .name(format!("pitlane-image-{index}"))
            .spawn(move || {
                let writing = AssertUnwindSafe(|| write_images(&tasks, &report, &worker));
                if let Err(panic) = catch_unwind(writing) {
                    let error =
                        Error::Panic { operator: THREAD.to_owned(), key: None, message: text_of(&*panic) };
                    // If the worker is gone too, nobody is left to tell.
                    let _ = report.send(TaskDone { node: 0, epoch: 0, outcome: Outcome::Fatal(error) });
                    worker.unpark();
                }
            })
            .map_err(Error::io("start", "a thread"))?;
        Ok(Self { sender, done, thread: Some(thread) })
    }

    pub(crate) fn tasks(&self, node: usize) -> ImageTasks {
        ImageTasks { node, sender: self.sender.clone() }
    }

    pub(crate) fn take_done(&self) -> impl Iterator<Item = TaskDone> {
        self.done.try_iter()
    }
}

impl Drop for ImageThread {
    fn drop(&mut self) {
        // Disconnects the channel, which ends the thread; there is nothing left to hear from it.
        self.sender = crossbeam_channel::bounded(0).0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_images(tasks: &Receiver<Task>, done: &Sender<TaskDone>, worker: &Thread) {
    let mut open: HashMap<usize, (u64, Result<NodeImage>)> = HashMap::new();
    for task in tasks {
        let (node, epoch, outcome) = match task {
            Task::Open { node, epoch, image } => {
                open.insert(node, (epoch, Ok(image)));
                continue;
            }
            Task::Rows { node, state, rows } => {
                if let Some((_, result)) = open.get_mut(&node)
                    && let Ok(image) = result
                    && let Err(error) = image.states[state].rows(rows)
                {
                    *result = Err(error);
                }
                continue;
            }
            Task::Finish { node } => match open.remove(&node) {
                // No later image could have the row either: better to stop than to go on without any.
                Some((epoch, Err(error @ Error::Unstorable { .. }))) => (node, epoch, Outcome::Fatal(error)),
                Some((epoch, image)) => (node, epoch, Outcome::Part(image.and_then(NodeImage::finish))),
                None => continue,
            },
            Task::Run { node, epoch, job } => (node, epoch, job()),
        };
        if done.send(TaskDone { node, epoch, outcome }).is_err() {
            return;
        }
        worker.unpark();
    }
}

/// What a state file is of.
#[derive(Clone, Debug)]
pub(crate) struct StateFileKind {
    /// The operator's position in the graph, for the name of the file.
    pub(crate) ordinal: usize,
    pub(crate) uid: OperatorUid,
    pub(crate) state: StateName,
    pub(crate) kind: StateKind,
    pub(crate) worker: usize,
    pub(crate) max_parallelism: MaxParallelism,
}

impl StateFileKind {
    fn create(
        &self,
        store: &Arc<dyn Store>,
        key: Option<&DataType>,
        (schema, touched, quarantined): (&Schema, bool, bool),
        part: usize,
        layer: u32,
    ) -> Result<(SchemaRef, StateWriter)> {
        let columns = StateColumns {
            kind: self.kind,
            key: key.cloned(),
            value: schema.data_type.clone(),
            max_parallelism: self.max_parallelism,
            touched,
            quarantined,
        };
        let path = state_file_path(self.ordinal, &self.uid, &self.state, self.worker, schema.version, part);
        let path = layer_path(&path, layer);
        Ok((columns.arrow_schema(), StateWriter::create(store.clone(), "", &path, &columns)?))
    }
}

/// Writes the keyed states of an operator instance.
pub(crate) struct NodeImage {
    states: Vec<KeyedImage>,
}

impl NodeImage {
    pub(crate) fn new(states: Vec<KeyedImage>) -> Self {
        Self { states }
    }

    fn finish(self) -> Result<Part> {
        let states = self.states.into_iter().map(KeyedImage::finish).collect::<Result<_>>()?;
        Ok(Part { states, ..Part::default() })
    }
}

/// Writes a keyed state: live rows of the job's schema, untouched rows of whatever schema they have.
pub(crate) struct KeyedImage {
    kind: StateFileKind,
    order: ImageOrder,
    store: Option<Arc<dyn Store>>,
    key: DataType,
    schema: Schema,
    sort: fn(&[ArrayRef]) -> Result<Vec<Place>>,
    untouched: UntouchedImage,
    /// About how many rows there are, in how many key groups.
    size: (u64, usize),
    /// What time it is for values that expire: the last column has theirs then.
    lifetime: Option<Lifetime>,
    /// The layer that it is, of what has changed; the whole state if there is none.
    layer: Option<u32>,
    writers: Vec<OpenFile>,
    /// What is carried over as it lies encoded in the savepoint that the job goes on from; none until that is done.
    carried: Option<Carried>,
    /// Where the keys go that are gone.
    gone: Option<(SchemaRef, StateWriter)>,
}

/// A file that is being written.
struct OpenFile {
    schema: Schema,
    is_quarantined: bool,
    columns: SchemaRef,
    writer: StateWriter,
}

/// Row groups of which no row was touched, in files of their own.
#[derive(Default)]
struct Carried {
    writers: Vec<(Schema, StateWriter)>,
    rows: u64,
}

/// Rows of one schema: keys, values, times if they expire, and reasons if they are in quarantine, each in as many arrays
/// as there are pieces.
struct Pieces {
    schema: Schema,
    is_quarantined: bool,
    /// Whether they are in order: they come as they lay on disk.
    is_sorted: bool,
    columns: Vec<Vec<ArrayRef>>,
}

impl KeyedImage {
    pub(crate) fn new<K: Key>(
        kind: StateFileKind,
        order: &ImageOrder,
        schema: Schema,
        untouched: UntouchedImage,
        size: (u64, usize),
    ) -> Self {
        Self {
            kind,
            order: order.clone(),
            store: None,
            key: K::data_type(),
            schema,
            sort: sorted_distinct::<K>,
            untouched,
            size,
            lifetime: None,
            layer: None,
            writers: Vec::new(),
            carried: None,
            gone: None,
        }
    }

    /// Says that the rows are those that have changed: what is laid over an image before as this layer.
    pub(crate) fn layer(self, layer: Option<u32>) -> Self {
        Self { layer, ..self }
    }

    /// Says that the values on the heap have times beside them, and which of them are over.
    pub(crate) fn expiring(self, lifetime: Option<Lifetime>) -> Self {
        Self { lifetime, ..self }
    }

    /// Begins a file for rows of a schema.
    fn create(&mut self, schema: &Schema, is_quarantined: bool) -> Result<(SchemaRef, StateWriter)> {
        let carried = self.carried.iter().flat_map(|carried| &carried.writers).map(|(schema, _)| schema);
        let others = self.writers.iter().map(|file| &file.schema).chain(carried);
        let part = others.filter(|other| other.version == schema.version).count();
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(open_store(&self.order)?),
        };
        let touched = self.lifetime.is_some();
        let layer = self.layer.unwrap_or(0);
        self.kind.create(store, Some(&self.key), (schema, touched, is_quarantined), part, layer)
    }

    /// Copies the row groups as they lie encoded of which no row was touched and none is over: no row of them is decoded.
    /// The others come with their key groups.
    fn carry_over(&mut self) -> Result<()> {
        if self.carried.is_some() {
            return Ok(());
        }
        self.carried = Some(Carried::default());
        let lifetime = self.lifetime;
        let is_live = |file: &StateFile, group: usize| {
            lifetime
                .is_none_or(|l| file.least_touched_ms(group).is_some_and(|touched_ms| l.is_live(touched_ms)))
        };
        for (schema, groups) in self.untouched.take_whole(is_live) {
            let (_, mut writer) = self.create(&schema, false)?;
            // Only if all files agree is it known at which key groups the row groups of the new one end.
            let stride = |(file, _): &(StateFile, usize)| file.stride();
            let first = groups.first().and_then(stride);
            if let Some(stride) =
                first.filter(|first| groups.iter().all(|group| stride(group) == Some(*first)))
            {
                writer = writer.with_stride(stride);
            }
            let mut rows = 0;
            for (file, group) in &groups {
                writer.carry(file, *group)?;
                rows += file.row_groups()[*group].rows as u64;
            }
            self.size.0 = self.size.0.saturating_sub(rows);
            if let Some(carried) = &mut self.carried {
                carried.rows += rows;
                carried.writers.push((schema, writer));
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        group: KeyGroup,
        (schema, is_quarantined): (&Schema, bool),
        rows: Vec<ArrayRef>,
    ) -> Result<()> {
        let is_same = |file: &OpenFile| file.schema.is_same(schema) && file.is_quarantined == is_quarantined;
        let known = self.writers.iter().position(is_same);
        let index = match known {
            Some(index) => index,
            None => {
                let (columns, writer) = self.create(schema, is_quarantined)?;
                let (rows, groups) = self.size;
                // How many rows have changed nobody knows before.
                let is_known = self.layer.is_none() && !is_quarantined;
                let writer = if is_known { writer.expect_rows(rows, groups) } else { writer };
                self.writers.push(OpenFile { schema: schema.clone(), is_quarantined, columns, writer });
                self.writers.len() - 1
            }
        };
        let groups: ArrayRef = Arc::new(UInt16Array::from(vec![group.index(); rows[0].len()]));
        let OpenFile { columns: schema, writer, .. } = &mut self.writers[index];
        let batch = RecordBatch::try_new(Arc::clone(schema), [vec![groups], rows].concat());
        writer.write(&batch.map_err(columns("assemble", &self.kind))?)
    }

    fn rows(&mut self, image: GroupImage) -> Result<()> {
        if let Some(refused) = image.refused {
            return Err(Error::unstorable(&self.kind.uid, &self.kind.state, refused));
        }
        self.carry_over()?;
        if let Some(gone) = &image.gone {
            self.remove(image.group, gone)?;
        }
        for pieces in self.by_schema(image)? {
            let (group, Pieces { schema, is_quarantined, is_sorted, columns: arrays }) = pieces;
            let file = (&schema, is_quarantined);
            if is_sorted {
                self.write(group, file, arrays.into_iter().flatten().collect())?;
                continue;
            }
            let order = (self.sort)(&arrays[0])?;
            let bytes: usize = arrays.iter().flatten().map(|array| array.get_array_memory_size()).sum();
            // Rows of several pieces must not become an array that is too large again.
            let step =
                if arrays[0].len() == 1 { order.len() } else { order.len() * SLICE_BYTES / bytes.max(1) };
            for slice in order.chunks(step.max(1)) {
                let rows = arrays.iter().map(|arrays| in_order(arrays, slice)).collect::<Result<_, _>>();
                self.write(group, file, rows.map_err(columns("sort", &self.kind))?)?;
            }
        }
        Ok(())
    }

    /// Writes keys that are gone.
    fn remove(&mut self, group: KeyGroup, keys: &ArrayRef) -> Result<()> {
        let order = (self.sort)(std::slice::from_ref(keys))?;
        let keys = in_order(std::slice::from_ref(keys), &order).map_err(columns("sort", &self.kind))?;
        let (schema, writer) = match &mut self.gone {
            Some(open) => open,
            none => {
                let store = match &mut self.store {
                    Some(store) => store,
                    none => none.insert(open_store(&self.order)?),
                };
                let StateFileKind { ordinal, uid, state, kind, worker, max_parallelism } = &self.kind;
                let columns = StateColumns {
                    kind: *kind,
                    key: Some(self.key.clone()),
                    value: DataType::Unit,
                    max_parallelism: *max_parallelism,
                    touched: false,
                    quarantined: false,
                };
                let path = tombstone_file_path(*ordinal, uid, state, *worker, 0);
                let path = layer_path(&path, self.layer.unwrap_or(0));
                none.insert((
                    columns.arrow_schema(),
                    StateWriter::create(store.clone(), "", &path, &columns)?,
                ))
            }
        };
        let groups: ArrayRef = Arc::new(UInt16Array::from(vec![group.index(); keys.len()]));
        let units: ArrayRef = Arc::new(BooleanArray::from(vec![true; keys.len()]));
        let batch = RecordBatch::try_new(Arc::clone(schema), vec![groups, keys, units]);
        writer.write(&batch.map_err(columns("assemble", &self.kind))?)
    }

    /// Puts the rows of a key group together that have one schema, without those whose time is over.
    fn by_schema(&mut self, image: GroupImage) -> Result<Vec<(KeyGroup, Pieces)>> {
        let mut rows: Vec<(Schema, bool, Vec<ArrayRef>)> = Vec::new();
        for piece in self.untouched.rows_of(image.group)? {
            let UntouchedRows { schema, keys, values, touched_ms, reasons } = piece;
            let is_quarantined = reasons.is_some();
            let mut arrays = match self.lifetime {
                None => vec![keys, values],
                Some(lifetime) => {
                    let touched_ms = lifetime.stored_rows(touched_ms, keys.len());
                    let arrays = [keys, values, touched_ms];
                    // Nothing goes by itself that somebody is to look at.
                    let live = if is_quarantined { Ok(arrays) } else { lifetime.live_rows(arrays) };
                    live.map_err(columns("filter", &self.kind))?.into()
                }
            };
            arrays.extend(reasons);
            rows.push((schema, is_quarantined, arrays));
        }
        let is_layer = self.layer.is_some();
        for (keys, values) in image.pieces {
            rows.push((
                self.schema.clone(),
                false,
                match self.lifetime {
                    None => vec![keys, values],
                    Some(lifetime) => {
                        let (values, touched_ms) =
                            split(&values).ok_or(Error::Stopped { what: "a state whose values expire" })?;
                        let rows = [keys, values, touched_ms];
                        // In a layer its row stays: an older one of the key would count otherwise.
                        let live = if is_layer { Ok(rows) } else { lifetime.live_rows(rows) };
                        live.map_err(columns("filter", &self.kind))?.into()
                    }
                },
            ));
        }
        rows.retain(|(.., columns)| !columns[0].is_empty());
        let mut by_schema = Vec::new();
        while let Some((schema, is_quarantined, columns)) = rows.first().cloned() {
            let mut arrays = vec![Vec::new(); columns.len()];
            let same = rows.extract_if(.., |(s, q, _)| s.is_same(&schema) && *q == is_quarantined);
            for (.., columns) in same {
                columns.into_iter().zip(&mut arrays).for_each(|(array, arrays)| arrays.push(array));
            }
            // One piece that was never in the heap comes as it lay on disk.
            let is_sorted = arrays[0].len() == 1 && (is_quarantined || !schema.is_same(&self.schema));
            by_schema.push((image.group, Pieces { schema, is_quarantined, is_sorted, columns: arrays }));
        }
        Ok(by_schema)
    }

    fn finish(mut self) -> Result<StatePart> {
        self.carry_over()?;
        let layer = self.layer.unwrap_or(0);
        let laid = |file: FileEntry| FileEntry { layer, ..file };
        let mut part = StatePart { name: self.kind.state.to_string(), ..StatePart::default() };
        part.is_layer = self.layer.is_some();
        let carried = self.carried.unwrap_or_default();
        part.carried_rows = carried.rows;
        let own = self.writers.into_iter().map(|file| (file.schema, file.writer));
        for (schema, writer) in carried.writers.into_iter().chain(own) {
            part.files.extend(writer.finish(0)?.into_iter().map(|file| (schema.clone(), laid(file))));
        }
        if let Some((_, writer)) = self.gone {
            part.tombstones = writer.finish(0)?.into_iter().map(laid).collect();
        }
        Ok(part)
    }
}

fn open_store(order: &ImageOrder) -> Result<Arc<dyn Store>> {
    create_directory(Path::new(&order.directory)).map_err(Error::io("create", &*order.directory))
}

/// The size of the rows that are brought in order at once, where they come from several arrays.
const SLICE_BYTES: usize = 64 << 20;

/// A row, by the array that holds it and its place there.
type Place = (usize, usize);

/// Returns where the rows of `keys` lie in the order of their keys, each key once.
fn sorted_distinct<K: Key>(keys: &[ArrayRef]) -> Result<Vec<Place>> {
    let mut order: Vec<(K, Place)> = Vec::with_capacity(keys.iter().map(|array| array.len()).sum());
    for (piece, array) in keys.iter().enumerate() {
        let reader = K::Reader::new(array).map_err(|e| Error::Stopped { what: mismatch(&e) })?;
        order.extend((0..array.len()).map(|row| (reader.read(row), (piece, row))));
    }
    order.sort_unstable_by(|(a, _), (b, _)| a.compare(b));
    order.dedup_by(|(a, _), (b, _)| a == b);
    Ok(order.into_iter().map(|(_, place)| place).collect())
}

/// Returns the rows at `places`, in that order.
fn in_order(
    arrays: &[ArrayRef],
    places: &[Place],
) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    if let [only] = arrays {
        let rows = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row as u32));
        return arrow::compute::take(only, &rows, None);
    }
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    arrow::compute::interleave(&arrays, places)
}

/// The builders of a key type and its reader disagree, which only a faulty implementation of the traits does.
fn mismatch(_: &crate::state::ColumnMismatch) -> &'static str {
    "a key type whose reader does not read what its builder built"
}

/// The elements of an operator state, as columns.
pub(crate) struct ListImage {
    kind: StateFileKind,
    schema: Schema,
    pieces: Vec<ArrayRef>,
}

/// The size, in bytes of text and the like, at which elements are cut off: one array holds no more than 2 GiB of it.
const LIST_PIECE_BYTES: usize = 256 << 20;

impl ListImage {
    /// Makes columns of the elements as they are now.
    pub(crate) fn of<S: State>(kind: &StateFileKind, schema: &Schema, values: &[S]) -> Result<Self> {
        let mut builder = S::Builder::default();
        let mut pieces = Vec::new();
        for (index, value) in values.iter().enumerate() {
            append(value, &mut builder).map_err(|problem| {
                let refused = Refused { row: format!("element {index}"), problem: problem.inside("value") };
                Error::unstorable(&kind.uid, &kind.state, refused)
            })?;
            if builder.size_hint_bytes() >= LIST_PIECE_BYTES {
                pieces.push(builder.finish(None));
            }
        }
        if !builder.is_empty() {
            pieces.push(builder.finish(None));
        }
        Ok(Self { kind: kind.clone(), schema: schema.clone(), pieces })
    }

    /// Writes them into a state file, if there are any.
    pub(crate) fn write(self, order: &ImageOrder) -> Result<StatePart> {
        let Self { kind, schema, pieces } = self;
        let name = kind.state.to_string();
        if pieces.is_empty() {
            return Ok(StatePart { name, ..StatePart::default() });
        }
        let store = open_store(order)?;
        let (columns_of, mut writer) = kind.create(&store, None, (&schema, false, false), 0, 0)?;
        let mut first = 0;
        for values in pieces {
            let end = first + values.len() as u32;
            let index: ArrayRef = Arc::new(UInt32Array::from_iter_values(first..end));
            let batch = RecordBatch::try_new(Arc::clone(&columns_of), vec![index, values]);
            writer.write(&batch.map_err(columns("assemble", &kind))?)?;
            first = end;
        }
        let files = writer.finish(0)?.into_iter().map(|file| (schema.clone(), file)).collect();
        Ok(StatePart { name, files, ..StatePart::default() })
    }
}

/// Writes operator state: a list of values.
pub(crate) fn write_list<S: State>(
    kind: &StateFileKind,
    order: &ImageOrder,
    schema: &Schema,
    values: &[S],
) -> Result<StatePart> {
    ListImage::of(kind, schema, values)?.write(order)
}

fn columns(action: &'static str, kind: &StateFileKind) -> impl Fn(arrow::error::ArrowError) -> Error {
    let path = format!("operator `{}`, state `{}`", kind.uid, kind.state);
    move |error| Error::Parquet { action, path: path.clone(), source: error.into() }
}
