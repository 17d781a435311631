//! A store that fails on purpose: what a writer leaves behind is tested at each of its calls.
//!
//! Calls that change something are counted. The one that is chosen fails in a chosen way, and what was written
//! but not made durable before it is lost or torn, as after a crash at worst.

#[cfg(feature = "engine")]
use super::LocalStore;
use super::{Blob, MemoryStore, NewFile, Store};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a call fails, and those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone: neither this call nor a later one does anything.
    Gone,
    /// The process is gone in the middle: half of the call is done, and half of what was written stays.
    Torn,
    /// The process is gone, or the disk fails, right after the call was done: it is done, and fails.
    Late,
    /// The disk is full: this call and all later ones that write fail, a write after its half; deleting goes on.
    Full,
    /// The disk fails once to make something durable: the content is lost, and later calls go well.
    Sync,
}

impl Fault {
    /// Every way to fail.
    pub const ALL: [Self; 5] = [Self::Gone, Self::Torn, Self::Late, Self::Full, Self::Sync];
}

#[derive(Default)]
struct Calls {
    all: Vec<String>,
    /// The first that failed.
    failed: Option<String>,
    /// Files beside those of stores that are not durable yet, and names that are not.
    unsynced: Vec<PathBuf>,
    renamed: Vec<(PathBuf, PathBuf)>,
}

impl Calls {
    /// Takes back what was not durable, as the end of the machine may.
    fn crash(&mut self, fault: Fault) {
        for (from, to) in self.renamed.drain(..).rev() {
            // Nobody writes there any more; what cannot be taken back was durable all the same.
            let _ = fs::rename(to, from);
        }
        for path in self.unsynced.drain(..) {
            lose(&path, fault);
        }
    }
}

/// Loses the content of a file that was not made durable, or the end of it.
fn lose(path: &Path, fault: Fault) {
    let Ok(file) = OpenOptions::new().write(true).open(path) else { return };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let _ = file.set_len(if fault == Fault::Torn { size / 2 } else { 0 });
}

/// A store over another one that fails at a chosen call. Clones share the count.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Fault,
    /// The number of calls that go well.
    sound: usize,
    calls: Arc<Mutex<Calls>>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("fault", &self.fault).field("sound", &self.sound).finish()
    }
}

impl FaultyStore {
    /// Makes a store in which `sound` calls go well and the next one fails.
    pub fn new(inner: Arc<dyn Store>, fault: Fault, sound: usize) -> Self {
        Self { inner, fault, sound, calls: Arc::default() }
    }

    /// Returns the calls so far that change something, such as `create state/x`, the failed ones included.
    pub fn calls(&self) -> Vec<String> {
        self.lock().all.clone()
    }

    /// Returns the first call that failed.
    pub fn failed(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    // A panic of a test that holds the lock leaves a whole list.
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the way in which it fails, if it does.
    pub(super) fn step(&self, verb: &'static str, path: &str) -> Option<Failing> {
        let mut calls = self.lock();
        let number = calls.all.len();
        let call = format!("{verb} {path}");
        calls.all.push(call.clone());
        let fails = match self.fault {
            Fault::Gone | Fault::Torn | Fault::Late => number >= self.sound,
            Fault::Full => number >= self.sound && verb != "delete",
            // Only what makes something durable can fail so; the first such call does.
            Fault::Sync => number == self.sound && matches!(verb, "finish" | "publish" | "sync"),
        };
        if !fails {
            return None;
        }
        // A full disk is found full by the first call that writes.
        let is_first = calls.failed.is_none();
        calls.failed.get_or_insert(call);
        if is_first && matches!(self.fault, Fault::Gone | Fault::Torn) {
            calls.crash(self.fault);
        }
        Some(Failing { fault: self.fault, is_first })
    }
}

/// Acts on files that are no store's, and are counted with the calls of stores.
#[cfg(feature = "engine")]
impl FaultyStore {
    pub(super) fn created(&self, path: &Path) {
        self.lock().unsynced.push(path.to_owned());
    }

    pub(super) fn synced(&self, path: &Path) {
        let mut calls = self.lock();
        calls.unsynced.retain(|unsynced| unsynced != path);
        calls.renamed.retain(|(_, to)| to.parent() != Some(path));
    }

    pub(super) fn renamed(&self, from: &Path, to: &Path) {
        self.lock().renamed.push((from.to_owned(), to.to_owned()));
    }

    /// A file that could not be made durable.
    pub(super) fn lost(&self, path: &Path) {
        // One that fails late is durable.
        if self.fault != Fault::Late {
            lose(path, self.fault);
        }
        self.synced(path);
    }
}

/// A call that fails.
#[derive(Clone, Copy)]
pub(super) struct Failing {
    fault: Fault,
    /// Whether it is the chosen call, not one after it.
    is_first: bool,
}

impl Failing {
    pub(super) fn error(self) -> io::Error {
        match self.fault {
            Fault::Gone | Fault::Torn | Fault::Late => io::Error::other("the process is gone"),
            Fault::Full => io::Error::new(ErrorKind::StorageFull, "no space left on device"),
            Fault::Sync => io::Error::other("input/output error"),
        }
    }

    /// Whether the call is done although it fails.
    pub(super) fn is_done(self) -> bool {
        self.is_first && self.fault == Fault::Late
    }

    /// Whether half of the call is done.
    pub(super) fn is_torn(self) -> bool {
        self.is_first && matches!(self.fault, Fault::Torn | Fault::Full)
    }
}

/// Faults in what the engine and file sinks do below a directory of the local file system, as long as this lives.
///
/// The calls of all stores that are opened there are counted together, and with them what sinks do.
#[derive(Debug)]
pub struct PlannedFaults {
    dir: PathBuf,
    store: FaultyStore,
}

/// What is planned in this process.
static PLANNED: Mutex<Vec<(PathBuf, FaultyStore)>> = Mutex::new(Vec::new());

impl PlannedFaults {
    /// Lets `sound` calls below `dir` go well, and the next one fail.
    pub fn new(dir: impl Into<PathBuf>, fault: Fault, sound: usize) -> Self {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), fault, sound);
        let dir = dir.into();
        planned().push((dir.clone(), store.clone()));
        Self { dir, store }
    }

    /// Returns the first call that failed.
    pub fn failed(&self) -> Option<String> {
        self.store.failed()
    }

    /// Returns the number of calls so far, the failed ones included.
    pub fn calls(&self) -> usize {
        self.store.lock().all.len()
    }
}

impl Drop for PlannedFaults {
    fn drop(&mut self) {
        planned().retain(|(dir, _)| *dir != self.dir);
    }
}

fn planned() -> MutexGuard<'static, Vec<(PathBuf, FaultyStore)>> {
    PLANNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a store of a directory with the faults that are planned for it, which are none but in tests.
#[cfg(feature = "engine")]
pub(super) fn with_planned(dir: &Path, store: LocalStore) -> Arc<dyn Store> {
    let inner: Arc<dyn Store> = Arc::new(store);
    match planned_for(dir) {
        Some(faulty) => Arc::new(FaultyStore { inner, ..faulty }),
        None => inner,
    }
}

/// Returns what counts calls below a directory that faults are planned for.
#[cfg(feature = "engine")]
pub(super) fn planned_for(path: &Path) -> Option<FaultyStore> {
    planned().iter().find(|(planned, _)| path.starts_with(planned)).map(|(_, faulty)| faulty.clone())
}

impl Store for FaultyStore {
    fn create(&self, path: &str) -> io::Result<Box<dyn NewFile>> {
        let failing = self.step("create", path);
        if let Some(failing) = failing {
            if failing.is_done() {
                self.inner.create(path)?;
            }
            return Err(failing.error());
        }
        // On a disk the name is there from now on.
        self.inner.create_new(path, &[])?;
        Ok(Box::new(FaultyFile { store: self.clone(), path: path.to_owned(), bytes: Vec::new() }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn Blob>> {
        self.inner.open(path)
    }

    fn create_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let Some(failing) = self.step("publish", path) else { return self.inner.create_new(path, bytes) };
        if failing.is_done() {
            self.inner.create_new(path, bytes)?;
        }
        if failing.is_torn() {
            // It appears whole or not at all; what may be torn is the file that would have been linked.
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            let temporary = format!(".tmp-{name}");
            let temporary = if directory.is_empty() { temporary } else { format!("{directory}/{temporary}") };
            self.inner.create_new(&temporary, &bytes[..bytes.len() / 2])?;
        }
        Err(failing.error())
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.inner.list(prefix)
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        let Some(failing) = self.step("delete", path) else { return self.inner.delete(path) };
        if failing.is_done() {
            self.inner.delete(path)?;
        }
        Err(failing.error())
    }

    fn describe(&self, path: &str) -> String {
        self.inner.describe(path)
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.inner.local_path(path)
    }

    fn link(&self, from: &Path, path: &str) -> io::Result<()> {
        let Some(failing) = self.step("link", path) else { return self.inner.link(from, path) };
        if failing.is_done() {
            self.inner.link(from, path)?;
        }
        Err(failing.error())
    }
}

/// A file whose content is nowhere until it is finished, or torn.
struct FaultyFile {
    store: FaultyStore,
    path: String,
    bytes: Vec<u8>,
}

impl FaultyFile {
    /// Puts some of the bytes in place of the empty file.
    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        self.store.inner.delete(&self.path)?;
        let mut file = self.store.inner.create(&self.path)?;
        file.write_all(bytes)?;
        file.finish()
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(failing) = self.store.step("write", &self.path) else {
            self.bytes.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        if failing.is_torn() {
            self.bytes.extend_from_slice(&bytes[..bytes.len() / 2]);
            self.put(&self.bytes)?;
        }
        Err(failing.error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for FaultyFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Some(failing) = self.store.step("finish", &self.path) else { return self.put(&self.bytes) };
        if failing.is_done() {
            self.put(&self.bytes)?;
        }
        if failing.is_torn() {
            self.put(&self.bytes[..self.bytes.len() / 2])?;
        }
        Err(failing.error())
    }
}
