//! Looking for damage: all of it, not only the first.
//!
//! A fast look is what a job takes before it starts: manifest, sizes, tails, columns. A full one reads every byte
//! and every row: the SHA-256 of each file, the hash of each chunk, each value, each key in its key group and in
//! order, no key twice in a state, and no file in the directory that the manifest does not name (clause PB-6). A
//! sampled one does the same for some pages, so that large savepoints can be looked at often.

use super::Savepoint;
use super::verify_rows::check_rows;
use crate::error::{Error, Result};
use crate::format::layout;
use crate::model::{Digest, FileEntry, StateEntry, StateKind};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// What is read at a time to hash a file.
const PIECE_BYTES: usize = 1 << 20;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The manifest, and of each file its size, tail and columns.
    Fast,
    /// Some pages of each file and the rows in them, the first and the last one among them, and what `Fast` looks at.
    Sampled(Sample),
    /// Every byte and every row.
    Full,
}

/// Which pages are looked at: the same ones for the same savepoint and seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// About how many of a hundred pages.
    pub percent: u8,
    /// Another one chooses other pages.
    pub seed: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the savepoint.
    pub file: String,
    /// What was found.
    pub found: String,
    /// What was wanted.
    pub wanted: String,
}

/// What was looked at, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything that is not as it should be.
    pub problems: Vec<Problem>,
    /// The number of files that were looked at, the manifest included.
    pub files: usize,
    /// The number of rows that were read, or that the footers claim if the rows were not read.
    pub rows: u64,
    /// The size of all files together.
    pub bytes: u64,
    /// How many of these bytes were read.
    pub bytes_read: u64,
}

impl Report {
    /// Adds a problem.
    pub(super) fn add(&mut self, file: &str, found: impl Into<String>, wanted: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), found: found.into(), wanted: wanted.into() });
    }

    /// Adds what an error says.
    pub(super) fn add_error(&mut self, file: &str, error: Error) {
        match error {
            Error::Damaged { found, wanted, .. } | Error::Manifest { found, wanted, .. } => {
                self.add(file, found, wanted);
            }
            Error::Io { action, source, .. } => {
                self.add(file, format!("a file that one cannot {action} ({source})"), "one that can be read");
            }
            other => self.add(file, other.to_string(), "a state file"),
        }
    }
}

/// Looks for damage.
///
/// # Examples
///
/// ```
/// use pitlane::savepoint::{Depth, Sample, Savepoint, verify};
///
/// let savepoint = Savepoint::open("fixtures/v1/many-groups/savepoint")?;
/// let full = verify(&savepoint, Depth::Full);
/// assert_eq!((full.problems.len(), full.rows, full.bytes_read), (0, 300, full.bytes));
/// let some = verify(&savepoint, Depth::Sampled(Sample { percent: 10, seed: 7 }));
/// assert!(some.problems.is_empty() && some.rows < 300 && some.bytes_read < some.bytes);
/// # Ok::<(), pitlane::Error>(())
/// ```
pub fn verify(savepoint: &Savepoint, depth: Depth) -> Report {
    let mut report = Report::default();
    check_manifest(savepoint, &mut report);
    if depth != Depth::Fast {
        check_directory(savepoint, &mut report);
    }
    for (_, state) in savepoint.manifest.states() {
        let mut sound = Vec::new();
        let tombstones = state.tombstones.iter().map(|file| (file, true));
        for (file, is_tombstones) in state.files.iter().map(|file| (file, false)).chain(tombstones) {
            report.files += 1;
            report.bytes += file.size_bytes;
            if depth == Depth::Full {
                check_bytes(savepoint, file, &mut report);
            }
            let opened = match is_tombstones {
                false => savepoint.state_file(state, file),
                true => savepoint.tombstone_file(state, file),
            };
            match opened.and_then(|open| open.check_pages().map(|()| open)) {
                Ok(open) => {
                    // What opening has read; a full look has read it as part of the whole.
                    report.bytes_read += if depth == Depth::Full { 0 } else { open.bytes_to_open() };
                    sound.push((file, open));
                }
                Err(error) => report.add_error(&file.place(), error),
            }
        }
        match depth {
            Depth::Fast => report.rows += sound.iter().map(|(file, _)| file.rows).sum::<u64>(),
            Depth::Sampled(sample) => check_rows(state, sound, Some(sample), &mut report),
            Depth::Full => check_rows(state, sound, None, &mut report),
        }
        check_schemas(state, &mut report);
    }
    report
}

/// Reads the manifest again: it may have changed since the savepoint was opened.
fn check_manifest(savepoint: &Savepoint, report: &mut Report) {
    report.files += 1;
    let again = Savepoint::open_in(savepoint.store.clone(), &savepoint.dir);
    match again {
        Ok(again) if again.id == savepoint.id => {}
        Ok(again) => {
            report.add(layout::MANIFEST, format!("savepoint {}", again.id), savepoint.id.to_string())
        }
        Err(error) => report.add_error(layout::MANIFEST, error),
    }
    let blob = savepoint.store.open(&layout::manifest_path(&savepoint.dir));
    let bytes = blob.map_or(0, |blob| blob.size());
    report.bytes += bytes;
    report.bytes_read += bytes;
}

/// Finds files that the manifest does not name.
fn check_directory(savepoint: &Savepoint, report: &mut Report) {
    let listed = match savepoint.store.list(&savepoint.dir) {
        Ok(listed) => listed,
        Err(error) => return report.add("", format!("a directory that one cannot list ({error})"), "one"),
    };
    let known: BTreeSet<_> = savepoint
        .manifest
        .files()
        .filter(|file| file.base.is_none())
        .map(|file| file.path.as_str())
        .chain([layout::MANIFEST, layout::SIGNATURE, layout::COMMITTED])
        .collect();
    for path in &listed {
        let inside = match savepoint.dir.as_str() {
            "" => Some(path.as_str()),
            dir => path.strip_prefix(dir).and_then(|path| path.strip_prefix('/')),
        };
        if let Some(stranger) = inside.filter(|path| !known.contains(path)) {
            report.add(stranger, "a file that the manifest does not name", "no such file");
        }
    }
}

/// Hashes a file.
fn check_bytes(savepoint: &Savepoint, file: &FileEntry, report: &mut Report) {
    match hash(savepoint, file) {
        Ok(found) if found == file.sha256 => report.bytes_read += file.size_bytes,
        Ok(found) => {
            report.bytes_read += file.size_bytes;
            report.add(&file.place(), format!("bytes with the SHA-256 {found}"), file.sha256.to_string())
        }
        // That a file is missing, of another size or not to be opened is found when it is opened.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::UnexpectedEof
            ) => {}
        Err(error) => {
            report.add(&file.place(), format!("a file that one cannot read ({error})"), "its bytes")
        }
    }
}

fn hash(savepoint: &Savepoint, file: &FileEntry) -> std::io::Result<Digest> {
    let (store, path) = savepoint.locate(file).map_err(std::io::Error::other)?;
    let blob = store.open(&path)?;
    if blob.size() != file.size_bytes {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < file.size_bytes {
        let length = (file.size_bytes - offset).min(PIECE_BYTES as u64) as usize;
        blob.read_exact_at(&mut piece[..length], offset)?;
        hasher.update(&piece[..length]);
        offset += length as u64;
    }
    Ok(Digest(hasher.finalize().into()))
}

/// Finds schemas that no file has, other than the one of the job that wrote the image.
fn check_schemas(state: &StateEntry, report: &mut Report) {
    for (index, schema) in state.schemas.iter().enumerate().skip(1) {
        if state.files.iter().all(|file| file.schema != index) {
            let found = format!("state `{}`: schema version {} without a file", state.name, schema.version);
            report.add(layout::MANIFEST, found, "only schemas that files have");
        }
    }
}

impl Savepoint {
    /// Looks for damage as a job does before it starts, in every state, and stops at the first.
    ///
    /// # Errors
    ///
    /// As [`check_state`](Self::check_state).
    pub fn check(&self) -> Result<()> {
        self.manifest.states().try_for_each(|(_, state)| self.check_state(state))
    }

    /// Looks for damage in the size, the tail and the columns of each file of a state, so that it shows now and not when
    /// the first key is touched. Lists, which are small, are read whole.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] with the file; [`Error::Io`].
    pub fn check_state(&self, state: &StateEntry) -> Result<()> {
        for file in &state.files {
            let file = self.state_file(state, file)?;
            file.check_pages()?;
            if state.kind == StateKind::List {
                (0..file.row_groups().len()).try_for_each(|group| file.read_row_group(group).map(drop))?;
            }
        }
        state.tombstones.iter().try_for_each(|file| self.tombstone_file(state, file)?.check_pages())
    }
}
