//! Finding savepoints below a directory, and the one that a person means.

use super::Savepoint;
use crate::error::{Error, Result, shown};
use crate::format::layout;
pub use crate::storage::local_path;
use crate::storage::{LocalStore, Store};
use std::path::Path;
use std::sync::Arc;

/// The fewest characters of an id that name a savepoint.
const SHORTEST_ID: usize = 4;

/// A savepoint or checkpoint that was found.
#[derive(Debug)]
pub struct Listed {
    /// Its directory, relative to the root of the store.
    pub dir: String,
    /// The savepoint, or why it cannot be opened.
    pub savepoint: Result<Savepoint>,
}

/// Returns all savepoints and checkpoints below a directory of a store, by directory.
///
/// What has no manifest was never finished, or was disposed of, and is not listed.
///
/// # Errors
///
/// [`Error::Io`] if the store cannot be listed.
pub fn list(store: &Arc<dyn Store>, below: &str) -> Result<Vec<Listed>> {
    let paths = store.list(below).map_err(Error::io("list", store.describe(below)))?;
    let dirs = paths.iter().filter_map(|path| match path.strip_suffix(layout::MANIFEST) {
        Some("") => Some(""),
        other => other?.strip_suffix('/'),
    });
    let open = |dir: &str| Listed { dir: dir.to_owned(), savepoint: Savepoint::open_in(store.clone(), dir) };
    Ok(dirs.map(open).collect())
}

/// Opens all savepoints and checkpoints below a local directory.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be listed; what [`Savepoint::open`] returns for the first that cannot be opened.
pub fn open_all(data: impl AsRef<Path>) -> Result<Vec<Savepoint>> {
    let data = data.as_ref();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(data).map_err(Error::io("open", shown(data)))?);
    list(&store, "")?.into_iter().map(|listed| listed.savepoint).collect()
}

/// Opens the savepoint that a person named: by the path of its directory, by the end of that path below `data`,
/// or by the first characters of its id.
///
/// # Errors
///
/// [`Error::NoSuchSavepoint`] if nothing has the name; [`Error::AmbiguousName`] if several have; what
/// [`Savepoint::open`] returns for the one that has.
pub fn resolve(name: &str, data: impl AsRef<Path>) -> Result<Savepoint> {
    match Savepoint::open(name) {
        Err(Error::NotASavepoint { .. }) => {}
        other => return other,
    }
    let data = data.as_ref();
    let no_such = || Error::NoSuchSavepoint { name: name.to_owned(), place: shown(data) };
    let Ok(store) = LocalStore::open(data) else { return Err(no_such()) };
    let store: Arc<dyn Store> = Arc::new(store);
    let mut all = list(&store, "")?;
    let by_dir = |listed: &Listed| {
        let rest = listed.dir.strip_suffix(name.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let by_id = |listed: &Listed| {
        let is_id = name.len() >= SHORTEST_ID && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = listed.savepoint.as_ref().map(|savepoint| savepoint.id().0.as_str());
        is_id && id.is_ok_and(|id| id.starts_with(&name.to_ascii_lowercase()))
    };
    // A name of a directory comes first: it is what people see, and `000012` may start an id too.
    if all.iter().any(by_dir) {
        all.retain(by_dir)
    } else {
        all.retain(by_id)
    }
    match all.pop() {
        None => Err(no_such()),
        Some(only) if all.is_empty() => only.savepoint,
        Some(last) => {
            let dirs = all.iter().chain([&last]).map(|listed| store.describe(&listed.dir));
            let candidates = dirs.collect::<Vec<_>>().join(", ");
            Err(Error::AmbiguousName { name: name.to_owned(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nothing_has_is_refused_with_the_place() {
        let directory = tempfile::tempdir().unwrap();
        let error = resolve("000012", directory.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("no savepoint `000012` below {}", directory.path().display()));
        let error = resolve("000012", directory.path().join("no")).unwrap_err();
        assert!(matches!(error, Error::NoSuchSavepoint { .. }), "{error}");
    }
}
