//! Where savepoint bytes lie: a small set of operations that a file system and an object store both have.
//!
//! Paths are relative to the store's root, with `/` between the parts. There is no rename: a file appears
//! under its final name, and only [`Store::create_new`] makes one appear whole or not at all.

mod faulty;
#[cfg(feature = "engine")]
pub(crate) mod files;
mod local;
mod memory;
mod paths;
mod place;

pub use faulty::{Fault, FaultyStore, PlannedFaults};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use place::local_path;

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens a directory of the local file system.
#[cfg(feature = "engine")]
pub(crate) fn open_directory(dir: &Path) -> io::Result<Arc<dyn Store>> {
    Ok(faulty::with_planned(dir, LocalStore::open(dir)?))
}

/// Opens a directory of the local file system, which is made if it is not there.
#[cfg(feature = "engine")]
pub(crate) fn create_directory(dir: &Path) -> io::Result<Arc<dyn Store>> {
    Ok(faulty::with_planned(dir, LocalStore::create_root(dir)?))
}

/// A place that holds files.
pub trait Store: Send + Sync + fmt::Debug {
    /// Starts a new file; parent directories appear as needed.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file of that name.
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file for positional reads.
    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>>;

    /// Publishes a small file, whole and durable, if there is none of that name: the commit of a savepoint.
    ///
    /// Everything that was written and finished before is durable before this file appears.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file of that name.
    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Returns the paths of all files below `prefix` (a directory, or empty for all), sorted.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Removes a file; no error if there is none.
    fn delete(&self, path: &str) -> io::Result<()>;

    /// Shows where the store is, for messages.
    fn describe(&self, path: &str) -> String;

    /// Returns where a file lies in the local file system, if it does.
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// Gives a file of the local file system a second name in this store, durable like a finished file.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a file of that name; `Unsupported` or `CrossesDevices` where bytes must be copied.
    fn link(&self, from: &Path, path: &str) -> io::Result<()> {
        let _ = (from, path);
        Err(ErrorKind::Unsupported.into())
    }
}

/// What is copied from one store to another at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Puts a finished file of one store into another, or under another path: as a second name of the same bytes where the
/// file system has that, as a copy elsewhere. Each byte that is copied is shown to `seen`, in order.
///
/// Returns whether it was copied.
///
/// # Errors
///
/// `AlreadyExists` if there is a file of that name; what reading and writing say.
pub fn take_over(
    (from, from_path): (&dyn Store, &str),
    (to, to_path): (&dyn Store, &str),
    mut seen: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let linked = from.local_path(from_path).map(|place| to.link(&place, to_path));
    match linked {
        Some(Ok(())) => return Ok(false),
        Some(Err(error)) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::StorageFull) => {
            return Err(error);
        }
        // Other devices, file systems without links, files with too many names: bytes can be copied still.
        Some(Err(_)) | None => {}
    }
    let blob = from.open(from_path)?;
    let mut file = to.create(to_path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < blob.size() {
        let length = (blob.size() - offset).min(PIECE_BYTES as u64) as usize;
        blob.read_exact_at(&mut piece[..length], offset)?;
        seen(&piece[..length]);
        file.write_all(&piece[..length])?;
        offset += length as u64;
    }
    file.finish()?;
    Ok(true)
}

/// A file that is being written.
pub trait NewFile: io::Write + Send {
    /// Makes the content durable and closes the file.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A file that is being read, by position: several readers share it without sharing an offset.
pub trait Blob: Send + Sync + fmt::Debug {
    /// Returns the size in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Write};

    /// Runs a test against every kind of store.
    fn every_store(test: impl Fn(&dyn Store)) {
        let directory = tempfile::tempdir().unwrap();
        test(&LocalStore::open(directory.path()).unwrap());
        test(&MemoryStore::new());
    }

    #[test]
    fn a_path_that_could_leave_the_root_is_refused() {
        every_store(|store| {
            for bad in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a/.", "a\\b", "a\0b"] {
                let kinds = [
                    store.open(bad).err(),
                    store.create(bad).err(),
                    store.create_new(bad, b"x").err(),
                    store.delete(bad).err(),
                ];
                for kind in kinds {
                    assert_eq!(kind.map(|e| e.kind()), Some(ErrorKind::InvalidInput), "{bad:?} {store:?}");
                }
            }
        });
    }

    #[test]
    fn a_taken_name_is_refused_and_keeps_its_content() {
        every_store(|store| {
            store.create_new("d/x", b"first").unwrap();
            assert_eq!(store.create_new("d/x", b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(store.create("d/x").err().unwrap().kind(), ErrorKind::AlreadyExists);
            assert_eq!(store.list("").unwrap(), ["d/x"], "nothing temporary stays");
            let mut bytes = [0; 5];
            store.open("d/x").unwrap().read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"first");
        });
    }

    #[test]
    fn reading_behind_the_end_is_an_error() {
        every_store(|store| {
            store.create_new("x", b"abc").unwrap();
            let blob = store.open("x").unwrap();
            for (length, offset) in [(4, 0), (1, 3), (1, u64::MAX)] {
                let error = blob.read_exact_at(&mut vec![0; length], offset).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length} at {offset}");
            }
        });
    }

    #[test]
    fn a_file_that_is_taken_over_never_replaces_another() {
        every_store(|to| {
            let directory = tempfile::tempdir().unwrap();
            let from = LocalStore::open(directory.path()).unwrap();
            from.create_new("a", b"new").unwrap();
            to.create_new("d/a", b"old").unwrap();
            let error = take_over((&from, "a"), (to, "d/a"), |_| {}).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert_eq!(to.open("d/a").unwrap().size(), 3);
            assert_eq!(to.list("").unwrap(), ["d/a"]);
        });
    }

    #[test]
    fn a_file_is_taken_over_as_a_second_name_or_as_a_copy() {
        every_store(|to| {
            let bytes: Vec<u8> = (0..3 << 19).map(|i| i as u8).collect();
            let directory = tempfile::tempdir().unwrap();
            let local = LocalStore::open(directory.path()).unwrap();
            let memory = MemoryStore::new();
            for (name, from) in [("local", &local as &dyn Store), ("memory", &memory)] {
                from.create_new("deep/file", &bytes).unwrap();
                let mut seen = Vec::new();
                let is_copied =
                    take_over((from, "deep/file"), (to, name), |piece| seen.extend_from_slice(piece))
                        .unwrap();
                let no_links =
                    |store: &dyn Store| store.local_path(name).or(store.local_path("deep/file")).is_none();
                assert_eq!(is_copied, no_links(from) || no_links(to));
                assert_eq!(seen.len(), if is_copied { bytes.len() } else { 0 });
                from.delete("deep/file").unwrap();
                let blob = to.open(name).unwrap();
                let mut read = vec![0; blob.size() as usize];
                blob.read_exact_at(&mut read, 0).unwrap();
                assert!(read == bytes, "{name}");
            }
        });
    }

    #[test]
    fn what_was_written_is_read_listed_and_deleted() {
        every_store(|store| {
            let mut file = store.create("a/b/two").unwrap();
            file.write_all(b"0123456789").unwrap();
            file.finish().unwrap();
            store.create_new("ab", b"").unwrap();
            store.create_new("a/one", b"1").unwrap();
            assert_eq!(store.list("").unwrap(), ["a/b/two", "a/one", "ab"]);
            assert_eq!(store.list("a").unwrap(), ["a/b/two", "a/one"]);
            assert_eq!(store.list("none").unwrap(), Vec::<String>::new());
            let blob = store.open("a/b/two").unwrap();
            let mut bytes = [0; 3];
            blob.read_exact_at(&mut bytes, 4).unwrap();
            assert_eq!((blob.size(), &bytes), (10, b"456"));
            store.delete("a/b/two").unwrap();
            store.delete("a/b/two").unwrap();
            store.delete("never/was").unwrap();
            assert_eq!(store.open("a/b/two").unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(store.list("a").unwrap(), ["a/one"]);
        });
    }
}
