//! Files in memory, for tests and for what need not outlive the process.

use super::paths::{checked, checked_prefix};
use super::{Blob, NewFile, Store};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files in memory; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<BTreeMap<String, Arc<Vec<u8>>>>>,
}

impl MemoryStore {
    /// Makes a store without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the content of a file.
    pub fn get(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.files().get(path).cloned()
    }

    /// Puts a file in place, or replaces it: how tests damage one.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.files().insert(path.to_owned(), Arc::new(bytes));
    }

    // A thread that panicked while it held the lock has left a whole map: each change is one insertion.
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Vec<u8>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        // Takes the name at once and the content at the end, as a file system would after a crash at worst.
        self.create_new(path, &[])?;
        Ok(Box::new(MemoryFile { store: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>> {
        let bytes = self.get(checked(path)?).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryBlob(bytes)))
    }

    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        if files.contains_key(checked(path)?) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        files.insert(path.to_owned(), Arc::new(bytes.to_vec()));
        Ok(())
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        let below = |path: &&String| match path.strip_prefix(prefix) {
            Some(rest) => prefix.is_empty() || rest.starts_with('/'),
            None => false,
        };
        checked_prefix(prefix)?;
        Ok(self.files().keys().filter(below).cloned().collect())
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        self.files().remove(checked(path)?);
        Ok(())
    }

    fn describe(&self, path: &str) -> String {
        format!("memory:{path}")
    }
}

struct MemoryFile {
    store: MemoryStore,
    path: String,
    bytes: Vec<u8>,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for MemoryFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { store, path, bytes } = *self;
        store.put(&path, bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryBlob(Arc<Vec<u8>>);

impl Blob for MemoryBlob {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start.checked_add(buffer.len()).and_then(|end| self.0.get(start..end));
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
