//! Putting layers together: a checkpoint in layers becomes a savepoint, or has fewer layers (section 10 of the format).
//!
//! Files are sorted, so those of all layers are gone through side by side; of the rows and tombstones of one key the one
//! in the newest layer stays. Rows keep the schema that they have: no type of a user's is needed, and none is asked.

use super::merge::{Cursor, Gathered, Rows};
use super::{LayerFiles, LayerOf, LayerWriter, Savepoint, StateColumns, StateView, new};
use crate::error::{Error, Result, shown};
use crate::model::{FileEntry, ImageKind, Manifest, Schema, StateEntry};
use crate::storage::{LocalStore, Store};
use arrow::array::RecordBatch;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// The rows of all files that are held in memory while they are gone through.
const BUDGET_BYTES: usize = 32 << 20;

/// Writes a savepoint that is complete by itself, in the directory `dir` of a store, which has no files: without layers,
/// tombstones or files of other directories, whatever `image` has of them.
///
/// The state is the same, and so is all else but the kind, the time and the parent, which is `image`. Files that are part
/// of no layer get a second name where the file system has that, and are copied elsewhere.
///
/// # Errors
///
/// [`Error::ImageExists`] if there is something in the directory; [`Error::Damaged`] if a file of `image` is damaged, as
/// far as it is read; [`Error::Io`].
pub fn consolidate(image: &Savepoint, store: Arc<dyn Store>, dir: &str) -> Result<Savepoint> {
    image.write_anew(store, dir, |store| {
        let mut manifest = Manifest {
            kind: ImageKind::Savepoint,
            created_ms: new::now_ms(),
            writer: new::writer_name(),
            parent: Some(image.id.clone()),
            ..image.manifest().clone()
        };
        for (index, operator) in image.operators().enumerate() {
            for (place, view) in operator.states().enumerate() {
                manifest.operators[index].states[place] = match view.entry.is_layered() {
                    true => view.flattened(store, dir)?,
                    false => image.link_state(view.entry, (store.as_ref(), dir))?,
                };
            }
        }
        Ok(manifest)
    })
}

/// Does what [`consolidate`] does, into a local directory, which appears.
///
/// # Errors
///
/// As [`consolidate`].
pub fn consolidate_to(image: &Savepoint, new: impl AsRef<Path>) -> Result<Savepoint> {
    let new = new.as_ref();
    let store = LocalStore::create_root(new).map_err(Error::io("create", shown(new)))?;
    consolidate(image, Arc::new(store), "")
}

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    /// Rows of the schema with this index, with the times at which they were touched or without, in quarantine or not.
    Rows {
        schema: usize,
        touched: bool,
        quarantined: bool,
    },
    Tombstones,
}

impl StateView<'_> {
    /// Returns the state without layers, of which files are written into `dir`.
    fn flattened(&self, store: &Arc<dyn Store>, dir: &str) -> Result<StateEntry> {
        let mut entry = self.entry.clone();
        (entry.files, entry.tombstones) = Default::default();
        self.merge_layers(0..=u32::MAX, store.clone(), dir)?.add_to(&mut entry);
        entry.forget_schemas();
        Ok(entry)
    }

    /// Puts some layers of a keyed state together: writes a layer that can take their place, into the directory `dir` of
    /// a store. It has the number of the greatest of them, and layer 0 if there is none below; then it has no tombstones.
    ///
    /// # Errors
    ///
    /// [`Error::Rows`] if the state has no keys; [`Error::Damaged`] if a file is damaged; [`Error::Io`].
    pub fn merge_layers(
        &self,
        layers: RangeInclusive<u32>,
        store: Arc<dyn Store>,
        dir: &str,
    ) -> Result<LayerFiles> {
        let of = LayerOf::view(self).ok_or_else(|| Error::Rows {
            path: format!("operator `{}`, state `{}`", self.operator.uid, self.entry.name),
            found: "a list".to_owned(),
            wanted: "keys".to_owned(),
        })?;
        let has_older = self.entry.layers().iter().any(|layer| layer < layers.start());
        let newest = self.entry.layers().into_iter().filter(|layer| layers.contains(layer)).max();
        let Some(newest) = newest else { return Ok(LayerFiles::default()) };
        let layer = if has_older { newest } else { 0 };
        let files = || self.entry.all_files().filter(|file| layers.contains(&file.layer));
        let rows = files().map(|file| file.rows).sum();
        let groups = usize::from(of.max_parallelism.get());
        let writer = LayerWriter::new(store, dir, of, layer).expect_rows(rows, groups);
        Merging::new(self, &layers, has_older).write(writer)
    }

    /// Returns the files of some layers, by layer and content; of each, the files of a chain follow each other in order.
    fn chains(&self, layers: &RangeInclusive<u32>) -> Vec<(u32, Content, Vec<&FileEntry>)> {
        let content = |&FileEntry { schema, touched, quarantined, .. }: &FileEntry| Content::Rows {
            schema,
            touched,
            quarantined,
        };
        let rows = self.entry.files.iter().map(|file| (content(file), file));
        let tombstones = self.entry.tombstones.iter().map(|file| (Content::Tombstones, file));
        let mut by_layer: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (content, file) in rows.chain(tombstones) {
            if let (true, Some(range)) = (layers.contains(&file.layer), file.key_groups) {
                by_layer.entry((file.layer, content)).or_default().push((range.first(), range.last(), file));
            }
        }
        let mut chains = Vec::new();
        for ((layer, content), mut files) in by_layer {
            files.sort_by_key(|(first, last, _)| (*first, *last));
            let mut open: Vec<(_, Vec<&FileEntry>)> = Vec::new();
            for (first, last, file) in files {
                match open.iter_mut().find(|(end, _)| *end < first) {
                    Some((end, chain)) => {
                        *end = last;
                        chain.push(file);
                    }
                    None => open.push((last, vec![file])),
                }
            }
            chains.extend(open.into_iter().map(|(_, chain)| (layer, content, chain)));
        }
        chains
    }
}

/// Layers that are gone through side by side.
struct Merging<'a> {
    schemas: &'a [Schema],
    has_older: bool,
    sources: Vec<Source<'a>>,
    /// What the rows of each schema are, without times and with them, then those in quarantine, and last the tombstones.
    kinds: Vec<Rows>,
    /// Rows that stay and wait, likewise.
    gathered: Vec<Gathered>,
}

/// A chain of files of one layer and content.
struct Source<'a> {
    layer: u32,
    content: Content,
    cursor: Cursor<'a>,
}

impl<'a> Merging<'a> {
    fn new(view: &'a StateView<'_>, layers: &RangeInclusive<u32>, has_older: bool) -> Self {
        let (savepoint, entry) = (view.savepoint, view.entry);
        let columns = |content: Content| match content {
            Content::Rows { schema, touched, quarantined } => {
                StateColumns { touched, quarantined, ..savepoint.columns_of(entry, &entry.schemas[schema]) }
            }
            Content::Tombstones => savepoint.columns_of(entry, &entry.schemas[0]).of_tombstones(),
        };
        let chains = view.chains(layers);
        let share = BUDGET_BYTES / chains.len().max(1);
        let sources = chains.into_iter().map(|(layer, content, files)| {
            let files = files.into_iter().map(move |file| savepoint.open_alone(file, columns(content)));
            Source { layer, content, cursor: Cursor::new(files, share) }
        });
        let of_schema = |schema| {
            [(false, false), (true, false), (false, true), (true, true)]
                .map(|(touched, quarantined)| Content::Rows { schema, touched, quarantined })
        };
        let contents = (0..entry.schemas.len()).flat_map(of_schema).chain([Content::Tombstones]);
        let kinds = contents.map(|content| Rows {
            columns: columns(content),
            uid: view.operator.uid.clone(),
            state: entry.name.clone(),
            merge: None,
        });
        let (sources, kinds): (_, Vec<_>) = (sources.collect(), kinds.collect());
        let gathered = kinds.iter().map(|_| Gathered::default()).collect();
        Self { schemas: &entry.schemas, has_older, sources, kinds, gathered }
    }

    /// The position of a content among the kinds.
    fn kind(&self, content: Content) -> usize {
        match content {
            Content::Rows { schema, touched, quarantined } => {
                4 * schema + 2 * usize::from(quarantined) + usize::from(touched)
            }
            Content::Tombstones => 4 * self.schemas.len(),
        }
    }

    fn write(mut self, mut writer: LayerWriter) -> Result<LayerFiles> {
        let mut heads = BinaryHeap::new();
        for index in 0..self.sources.len() {
            heads.extend(self.next(index, Vec::new())?);
        }
        let mut last: Option<Head> = None;
        while let Some(Reverse(head)) = heads.pop() {
            let Head { group, ref key, layer, index } = head;
            // Of the rows of one key that of the newest layer comes first, and the others count for nothing.
            match &last {
                Some(last) if last.group == group && last.key == *key => {
                    if last.layer == layer {
                        return Err(self.twice(last.index, index));
                    }
                }
                _ => self.keep(index, (group, key), &mut writer)?,
            }
            let source = &self.sources[index];
            if source.cursor.is_at_end() {
                let kind = self.kind(source.content);
                self.gathered[kind].forget(index);
            }
            let spent = last.replace(head).map_or_else(Vec::new, |last| last.key);
            heads.extend(self.next(index, spent)?);
        }
        for kind in 0..self.kinds.len() {
            let rest = self.gathered[kind].take(&self.kinds[kind])?;
            rest.map_or(Ok(()), |batch| self.put(kind, &batch, &mut writer))?;
        }
        writer.finish()
    }

    /// Says that two files of one layer have a key, so that none of the two rows can be told to be the newer one.
    fn twice(&self, first: usize, second: usize) -> Error {
        let path = |source: usize| self.sources[source].cursor.path().unwrap_or("another file").to_owned();
        Error::Damaged {
            path: path(second),
            found: format!("a key that {} has too", path(first)),
            wanted: "each key in one file of a layer".to_owned(),
        }
    }

    /// Goes on to the next row of a source.
    fn next(&mut self, index: usize, mut key: Vec<u8>) -> Result<Option<Reverse<Head>>> {
        let kind = self.kind(self.sources[index].content);
        let Source { layer, cursor, .. } = &mut self.sources[index];
        let group = cursor.next(&self.kinds[kind], &mut key)?;
        Ok(group.map(|group| Reverse(Head { group, key, layer: Reverse(*layer), index })))
    }

    /// Keeps the current row of a source.
    fn keep(&mut self, index: usize, key: (u16, &[u8]), writer: &mut LayerWriter) -> Result<()> {
        let source = &self.sources[index];
        if source.content == Content::Tombstones && !self.has_older {
            return Ok(());
        }
        let (kind, cursor) = (self.kind(source.content), &source.cursor);
        let place = (index, cursor.row());
        let enough =
            self.gathered[kind].row(&self.kinds[kind], key, place, cursor.arrays(), cursor.row_bytes())?;
        enough.map_or(Ok(()), |batch| self.put(kind, &batch, writer))
    }

    fn put(&self, kind: usize, batch: &RecordBatch, writer: &mut LayerWriter) -> Result<()> {
        match self.schemas.get(kind / 4) {
            Some(schema) => writer.write_rows(schema, &self.kinds[kind].columns, batch.columns().to_vec()),
            None => writer.remove(batch.column(0).clone(), batch.column(1).clone()),
        }
    }
}

/// The next row of a source: by key, and of one key that of the newest layer first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    group: u16,
    key: Vec<u8>,
    layer: Reverse<u32>,
    index: usize,
}
