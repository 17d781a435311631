//! Files below a directory of the local file system (clauses PB-2 to PB-4).
//!
//! Durable means synced: the file, and every directory between it and the root, since a file whose
//! directory entry is lost is lost. A file that appears whole is written under a temporary name and
//! linked to its own; `link` fails when the name is taken, which `rename` would not.

use super::paths::{checked, checked_prefix};
use super::{Blob, NewFile, Store, local_path};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Starts the names of files that are not published yet.
const TEMPORARY: &str = ".tmp-";

/// A directory of the local file system.
#[derive(Clone, Debug)]
pub struct LocalStore {
    /// As it was given, for messages.
    shown: PathBuf,
    /// Without symbolic links, so that what lies below it can be told from what does not.
    root: PathBuf,
}

impl LocalStore {
    /// Takes a directory that exists, given as a path or as a `file://` URL ([`local_path`]).
    ///
    /// # Errors
    ///
    /// `NotFound`, or `NotADirectory` if there is something else.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let shown = local_path(root.as_ref())?.into_owned();
        let root = fs::canonicalize(&shown)?;
        if !root.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Self { shown, root })
    }

    /// Takes a directory, which appears, with its parents, if there is none.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn create_root(root: impl AsRef<Path>) -> io::Result<Self> {
        let shown = &*local_path(root.as_ref())?;
        let absent = shown.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).count();
        fs::create_dir_all(shown)?;
        let store = Self::open(shown)?;
        store.root.ancestors().skip(1).take(absent).try_for_each(sync_directory)?;
        Ok(store)
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory of a new file, and returns the file's place in it.
    fn place(&self, path: &str) -> io::Result<PathBuf> {
        let place = self.root.join(checked(path)?);
        let directory = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory)?;
        self.direct(directory)?;
        Ok(place)
    }

    /// Refuses a place that symbolic links lead to: it may lie anywhere, and does not move with the root.
    fn direct(&self, place: &Path) -> io::Result<()> {
        if fs::canonicalize(place)? == place {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::PermissionDenied, "a symbolic link lies on the way to it"))
    }

    /// Runs `make` again if a directory vanished under it: deleting sweeps directories that become empty.
    fn in_directory<T>(&self, path: &str, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
        for _ in 0..3 {
            let place = match self.place(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                place => place?,
            };
            match make(&place) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                made => return made.map(|made| (made, place)),
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Syncs every directory from the one of `place` up to the root. A clean one costs next to nothing.
    fn sync_directories(&self, place: &Path) -> io::Result<()> {
        let below = place.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root));
        below.into_iter().try_for_each(sync_directory)
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A name beside `place` that no other file has.
fn temporary_beside(place: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    place.with_file_name(format!("{TEMPORARY}{process}-{count}-{:x}", now.as_nanos()))
}

impl Store for LocalStore {
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        let open = |place: &Path| OpenOptions::new().write(true).create_new(true).open(place);
        let (file, place) = self.in_directory(path, open)?;
        Ok(Box::new(LocalFile { file, place, store: self.clone() }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>> {
        let place = self.root.join(checked(path)?);
        self.direct(&place)?;
        // Asked before it is opened: opening a pipe would wait for its other end.
        let metadata = fs::metadata(&place)?;
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a file"));
        }
        let file = File::open(&place)?;
        Ok(Arc::new(LocalBlob { size: file.metadata()?.len(), file }))
    }

    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (temporary, place) = self.in_directory(path, |place| {
            let temporary = temporary_beside(place);
            let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
            let written = file.write_all(bytes).and_then(|()| file.sync_all());
            written.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
            Ok(temporary)
        })?;
        // The directories first: the file must not appear in one that may yet be lost.
        let linked = self.sync_directories(&place).and_then(|()| fs::hard_link(&temporary, &place));
        let removed = fs::remove_file(&temporary);
        linked?;
        removed?;
        sync_directory(place.parent().unwrap_or(&self.root))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        let mut paths = Vec::new();
        let mut directories = vec![checked_prefix(prefix)?.to_owned()];
        while let Some(directory) = directories.pop() {
            let entries = match fs::read_dir(self.root.join(&directory)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                // A name that is not UTF-8 cannot be one of ours, yet is shown as well as it can be.
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                // Not the type of what a link points to: a linked directory could lead round in a circle.
                if entry.file_type()?.is_dir() { directories.push(path) } else { paths.push(path) }
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let place = self.root.join(checked(path)?);
        match place.parent().map(|directory| self.direct(directory)) {
            Some(Err(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Some(direct) => direct?,
            None => {}
        }
        match fs::remove_file(&place) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }?;
        for directory in place.ancestors().skip(1).take_while(|dir| *dir != self.root) {
            if fs::remove_dir(directory).is_err() {
                return sync_directory(directory).or_else(|error| match error.kind() {
                    ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                });
            }
        }
        sync_directory(&self.root)
    }

    fn describe(&self, path: &str) -> String {
        match path {
            "" => crate::error::shown(&self.shown),
            path => crate::error::shown(&self.shown.join(path)),
        }
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let place = self.root.join(checked(path).ok()?);
        // A second name of a symbolic link would lead elsewhere.
        self.direct(&place).is_ok().then_some(place)
    }

    fn link(&self, from: &Path, path: &str) -> io::Result<()> {
        let ((), place) = self.in_directory(path, |place| fs::hard_link(from, place))?;
        self.sync_directories(&place)
    }
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    place: PathBuf,
    store: LocalStore,
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for LocalFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()?;
        self.store.sync_directories(&self.place)
    }
}

#[derive(Debug)]
struct LocalBlob {
    file: File,
    size: u64,
}

impl Blob for LocalBlob {
    fn size(&self) -> u64 {
        self.size
    }

    // By position: clones of one `File` share an offset, and readers would get each other's bytes.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // A file offset is signed for the operating system, which would call a larger one invalid.
        match i64::try_from(offset) {
            Ok(_) => self.file.read_exact_at(buffer, offset),
            Err(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create_root(directory.path().join("data")).unwrap();
        (directory, store)
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let (directory, store) = store();
        fs::write(directory.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink("../secret", store.root().join("leak")).unwrap();
        std::os::unix::fs::symlink("..", store.root().join("up")).unwrap();
        fs::write(store.root().join("real"), b"x").unwrap();
        std::os::unix::fs::symlink("real", store.root().join("inside")).unwrap();
        for path in ["leak", "up/secret", "inside"] {
            assert_eq!(store.open(path).unwrap_err().kind(), ErrorKind::PermissionDenied, "{path}");
        }
        assert_eq!(store.create("up/new").err().unwrap().kind(), ErrorKind::PermissionDenied);
        assert_eq!(store.create_new("up/new", b"").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(store.delete("up/secret").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(store.list("").unwrap(), ["inside", "leak", "real", "up"]);
    }

    #[test]
    fn a_root_that_is_missing_or_a_file_is_refused() {
        let (directory, _) = store();
        fs::write(directory.path().join("file"), b"x").unwrap();
        assert_eq!(LocalStore::open(directory.path().join("no")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(
            LocalStore::open(directory.path().join("file")).unwrap_err().kind(),
            ErrorKind::NotADirectory
        );
    }

    #[test]
    fn deleting_the_last_file_takes_its_empty_directories_along() {
        let (_directory, store) = store();
        store.create_new("a/b/c", b"1").unwrap();
        store.create_new("a/d", b"2").unwrap();
        store.delete("a/b/c").unwrap();
        assert!(!store.root().join("a/b").exists());
        assert!(store.root().join("a").exists());
    }
}
