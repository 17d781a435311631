//! What happened on one branch of a job: who started, what was committed, in one order that nobody can fork.
//!
//! Each entry is a file with the next number, made by create-if-absent. A new attempt takes the next number
//! before it reads, aborts or commits anything; its predecessor, should it still be alive, finds the number
//! taken when it wants to commit, and stops. An epoch is committed the moment its entry exists: the entry
//! holds the whole manifest, which is put into its place right after, or by the next attempt.

use crate::error::{Error, Result};
use crate::model::{Manifest, SavepointId};
use crate::savepoint::{Savepoint, Sealed, check_sealed, dispose, publish};
use crate::storage::{Store, create_directory, open_directory};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
enum Entry {
    /// An attempt began.
    Claim { attempt: u64, release: String, pid: u32, at_ms: u64 },
    /// An epoch was committed.
    Commit(Commit),
}

/// A committed epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) attempt: u64,
    pub(crate) epoch: u64,
    /// Whether the engine may discard the image once it is superseded.
    pub(crate) discard: bool,
    /// The directory of the image, relative to the data directory of the job where it lies inside.
    pub(crate) image: String,
    /// The content of the manifest.
    manifest: String,
    /// The id that it gives to the image.
    id: String,
}

/// The history of one branch of a job.
pub(crate) struct History {
    job: String,
    /// The data directory of the job.
    root: PathBuf,
    store: Arc<dyn Store>,
    entries: Vec<(u64, Entry)>,
    attempt: u64,
}

impl History {
    /// Reads the history of `branch` in the data directory of `job`.
    pub(crate) fn open(job: &str, root: &Path, branch: &str) -> Result<Self> {
        let path = root.join("history").join(branch);
        let store = create_directory(&path).map_err(Error::io("create", crate::error::shown(&path)))?;
        let mut history =
            Self { job: job.to_owned(), root: root.to_owned(), store, entries: Vec::new(), attempt: 0 };
        history.read_new()?;
        Ok(history)
    }

    /// Reads the entries that were added since.
    fn read_new(&mut self) -> Result<()> {
        let failed = |path: &str| Error::io("read", self.store.describe(path));
        let last = self.entries.last().map_or(0, |(number, _)| *number);
        let mut added = Vec::new();
        for path in self.store.list("").map_err(failed(""))? {
            let Some(number) = path.strip_suffix(".json").and_then(|stem| stem.parse::<u64>().ok()) else {
                continue;
            };
            if number <= last {
                continue;
            }
            let blob = match self.store.open(&path) {
                // An attempt that runs forgets its older commits.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(failed(&path))?,
            };
            let mut bytes = vec![0; usize::try_from(blob.size()).unwrap_or(0)];
            blob.read_exact_at(&mut bytes, 0).map_err(failed(&path))?;
            let entry = serde_json::from_slice(&bytes).map_err(|e| Error::Damaged {
                path: self.store.describe(&path),
                found: e.to_string(),
                wanted: "an entry of the job's history".to_owned(),
            })?;
            added.push((number, entry));
        }
        added.sort_by_key(|(number, _)| *number);
        self.entries.extend(added);
        Ok(())
    }

    /// Begins an attempt: from now on no earlier one can commit.
    pub(crate) fn claim(&mut self, release: &str) -> Result<u64> {
        loop {
            let newest = self.entries.iter().map(|(_, entry)| entry.attempt()).max().unwrap_or(0);
            let claim = Entry::Claim {
                attempt: newest + 1,
                release: release.to_owned(),
                pid: std::process::id(),
                at_ms: super::now_ms(),
            };
            if self.append(claim)? {
                self.attempt = newest + 1;
                return Ok(self.attempt);
            }
            self.read_new()?;
        }
    }

    /// Commits an epoch whose state files are durable in `image`: this is the moment at which it counts.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] if a newer attempt has begun.
    pub(crate) fn commit(&mut self, epoch: u64, discard: bool, image: &Path, sealed: &Sealed) -> Result<()> {
        let relative = image.strip_prefix(&self.root).unwrap_or(image);
        let manifest = String::from_utf8_lossy(&sealed.bytes).into_owned();
        let commit = Commit {
            attempt: self.attempt,
            epoch,
            discard,
            image: crate::error::shown(relative),
            manifest,
            id: sealed.id.to_string(),
        };
        // Once the entry exists it is too late to find out that nobody can read the manifest.
        check_sealed(sealed, &crate::error::shown(image))?;
        if !self.append(Entry::Commit(commit))? {
            return Err(self.fenced());
        }
        place_manifest(image, sealed)
    }

    /// Returns whether nobody has taken the next number: no newer attempt has begun. Costs no more than a look.
    pub(crate) fn is_next_free(&self) -> bool {
        let path = file_name(self.next_number());
        matches!(self.store.open(&path), Err(e) if e.kind() == ErrorKind::NotFound)
    }

    /// Returns whether an image that could not be committed is sure never to count: neither has it an entry, nor has
    /// anybody else taken the next number, so that the entry is not there without our knowing.
    pub(crate) fn is_free_of(&self, image: &str) -> bool {
        !self.lists(Path::new(image)) && self.is_next_free()
    }

    /// Says who has taken the next number.
    pub(crate) fn fenced(&mut self) -> Error {
        if let Err(error) = self.read_new() {
            return error;
        }
        Error::Fenced { job: self.job.clone(), attempt: self.attempt, by: self.last_attempt() }
    }

    /// Returns the number of the newest attempt, 0 if there was none.
    pub(crate) fn last_attempt(&self) -> u64 {
        self.entries.iter().map(|(_, entry)| entry.attempt()).max().unwrap_or(0)
    }

    /// Returns whether an entry is of this image.
    pub(crate) fn lists(&self, image: &Path) -> bool {
        self.entries.iter().any(|(_, e)| matches!(e, Entry::Commit(commit) if self.image_of(commit) == image))
    }

    fn next_number(&self) -> u64 {
        self.entries.last().map_or(1, |(number, _)| number + 1)
    }

    /// Returns the newest committed epoch.
    pub(crate) fn last_commit(&self) -> Option<&Commit> {
        self.entries.iter().rev().find_map(|(_, entry)| match entry {
            Entry::Commit(commit) => Some(commit),
            Entry::Claim { .. } => None,
        })
    }

    /// Reads what was added since; returns whether another epoch is the newest that is committed.
    pub(crate) fn has_moved_on(&mut self) -> Result<bool> {
        let newest = |history: &Self| history.last_commit().map(|commit| (commit.attempt, commit.epoch));
        let before = newest(self);
        self.read_new()?;
        Ok(newest(self) != before)
    }

    /// Returns whether the attempt of this number or a later one has committed an epoch.
    pub(crate) fn has_commit_since(&self, attempt: u64) -> bool {
        self.last_commit().is_some_and(|commit| commit.attempt >= attempt)
    }

    /// Returns the directory of a commit's image.
    pub(crate) fn image_of(&self, commit: &Commit) -> PathBuf {
        self.root.join(&commit.image)
    }

    /// Opens the image of the newest committed epoch, putting its manifest in place if a crash came between.
    pub(crate) fn open_last(&self) -> Result<Option<Savepoint>> {
        let Some(commit) = self.last_commit() else { return Ok(None) };
        let image = self.image_of(commit);
        if !image.is_dir() {
            return Err(Error::ImageGone { path: crate::error::shown(&image), epoch: commit.epoch });
        }
        let sealed =
            Sealed { bytes: commit.manifest.clone().into_bytes(), id: SavepointId(commit.id.clone()) };
        place_manifest(&image, &sealed)?;
        Savepoint::open(&image).map(Some)
    }

    /// Discards checkpoints that are superseded, all but the newest `keep` images, and forgets older commits.
    ///
    /// `spared` stays, for the next checkpoint builds on it. Claims are kept for ever: a predecessor that sleeps through all of this must still find its number taken.
    pub(crate) fn discard_superseded(&mut self, keep: usize, spared: Option<&Path>) -> Result<()> {
        let commits: Vec<u64> =
            self.entries.iter().filter(|(_, e)| matches!(e, Entry::Commit(_))).map(|(n, _)| *n).collect();
        let Some(oldest_kept) = commits.get(commits.len().saturating_sub(keep.max(1))) else { return Ok(()) };
        let (oldest_kept, root) = (*oldest_kept, self.root.clone());
        let superseded = |(number, entry): &mut (u64, Entry)| match entry {
            Entry::Commit(commit) => {
                *number < oldest_kept
                    && spared.is_none_or(|spared| !is_same_place(&root.join(&commit.image), spared))
            }
            Entry::Claim { .. } => false,
        };
        let superseded: Vec<_> = self.entries.extract_if(.., superseded).collect();
        for (number, entry) in superseded {
            if let Entry::Commit(commit) = entry
                && commit.discard
            {
                remove_image(&self.image_of(&commit))?;
            }
            let path = file_name(number);
            self.store.delete(&path).map_err(Error::io("remove", self.store.describe(&path)))?;
        }
        Ok(())
    }

    /// Adds an entry under the next number; false if somebody else has taken it.
    fn append(&mut self, entry: Entry) -> Result<bool> {
        let number = self.next_number();
        let path = file_name(number);
        let failed = Error::io("write", self.store.describe(&path));
        match serde_json::to_vec(&entry)
            .map_err(std::io::Error::other)
            .and_then(|b| self.store.create_new(&path, &b))
        {
            Ok(()) => {
                self.entries.push((number, entry));
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(failed(e)),
        }
    }
}

impl Entry {
    fn attempt(&self) -> u64 {
        match self {
            Self::Claim { attempt, .. } | Self::Commit(Commit { attempt, .. }) => *attempt,
        }
    }
}

fn is_same_place(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn file_name(number: u64) -> String {
    format!("{number:020}.json")
}

/// Puts the manifest of a committed image into its place, if it is not there.
fn place_manifest(image: &Path, sealed: &Sealed) -> Result<()> {
    let store = open_directory(image).map_err(Error::io("open", crate::error::shown(image)))?;
    match publish(&*store, "", sealed) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        published => published,
    }
}

/// Removes an image, or what there is of it: the manifest first, so that what is left half-way is no savepoint.
pub(crate) fn remove_image(image: &Path) -> Result<()> {
    let Ok(store) = open_directory(image) else { return Ok(()) };
    dispose(&*store, "")?;
    match std::fs::remove_dir_all(image) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", crate::error::shown(image))(e)),
        _ => Ok(()),
    }
}

/// The file beside a manifest that says that the output of the image's epoch is visible.
const COMMITTED: &str = "committed";

/// Notes that the sinks have made the output of an image visible; not part of the image itself.
pub(crate) fn mark_committed(image: &Path) -> Result<()> {
    let path = image.join(COMMITTED);
    std::fs::write(&path, []).map_err(Error::io("write", crate::error::shown(&path)))
}

/// Returns whether the output of an image is known to be visible.
pub(crate) fn is_marked_committed(image: &Path) -> bool {
    image.join(COMMITTED).exists()
}

/// Returns whether `manifest` was written by this branch of this job, so that its output is the branch's own.
pub(crate) fn is_own(manifest: &Manifest, job: &str, branch: &str) -> bool {
    manifest.job.name.as_str() == job && manifest.job.branch == branch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Sealed {
        crate::savepoint::seal(&Manifest {
            kind: crate::model::ImageKind::Checkpoint,
            created_ms: 0,
            writer: "test".to_owned(),
            job: crate::model::JobInfo {
                name: crate::model::JobName::new("j").unwrap(),
                release: "1".to_owned(),
                branch: "main".to_owned(),
                attempt: 1,
            },
            epoch: crate::model::Epoch(1),
            parent: None,
            labels: Default::default(),
            max_parallelism: Default::default(),
            parallelism: 1,
            sources: Vec::new(),
            operators: Vec::new(),
            migrations: Default::default(),
            unknown: Default::default(),
        })
    }

    fn image(dir: &Path, name: &str) -> PathBuf {
        let image = dir.join(name);
        std::fs::create_dir_all(&image).unwrap();
        image
    }

    #[test]
    fn a_predecessor_cannot_commit_once_a_newer_attempt_has_begun() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = History::open("j", dir.path(), "main").unwrap();
        assert_eq!(old.claim("1").unwrap(), 1);
        old.commit(1, true, &image(dir.path(), "a"), &sealed()).unwrap();
        assert!(old.is_next_free() && old.lists(&dir.path().join("a")));
        let mut new = History::open("j", dir.path(), "main").unwrap();
        assert_eq!(new.claim("1").unwrap(), 2);
        assert!(!old.is_next_free(), "a look is enough to see a newer attempt");
        let two = image(dir.path(), "b");
        let error = old.commit(2, true, &two, &sealed()).unwrap_err();
        assert!(matches!(error, Error::Fenced { attempt: 1, by: 2, .. }), "{error}");
        assert!(!two.join("manifest.json").exists(), "a fenced epoch must not look like a savepoint");
        assert!(!old.lists(&two) && new.is_next_free());
        new.commit(2, true, &image(dir.path(), "c"), &sealed()).unwrap();
        assert_eq!(new.last_commit().unwrap().image, "c");
    }

    #[test]
    fn a_fenced_predecessor_stays_fenced_when_old_commits_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = History::open("j", dir.path(), "main").unwrap();
        old.claim("1").unwrap();
        let mut new = History::open("j", dir.path(), "main").unwrap();
        new.claim("1").unwrap();
        for epoch in 1..9 {
            new.commit(epoch, true, &image(dir.path(), &epoch.to_string()), &sealed()).unwrap();
            new.discard_superseded(1, None).unwrap();
        }
        assert!(old.commit(1, true, &image(dir.path(), "x"), &sealed()).is_err());
        assert!(!dir.path().join("7").exists());
        assert!(dir.path().join("8/manifest.json").exists());
    }
}
