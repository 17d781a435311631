//! Where the files of a savepoint lie (clauses PB-1, PB-5, PB-6 and MF-9).
//!
//! Names of operators and states appear in paths so that people find their way; readers go by the manifest
//! alone. Whatever the names are, the paths are plain ASCII, and two states never share a directory.

use crate::model::{OperatorUid, SchemaVersion, StateName, hash_key};

/// The name of the file whose presence makes a savepoint exist.
pub const MANIFEST: &str = "manifest.json";

/// The name of a detached signature of the manifest.
pub const SIGNATURE: &str = "manifest.json.sig";

/// The name of the marker that the sinks' transactions of this image are committed.
pub const COMMITTED: &str = "committed";

/// The directory of the state files inside a savepoint.
pub const STATE: &str = "state";

/// The directory of sorted runs while a savepoint is being written; gone when it is complete.
pub(crate) const RUNS: &str = "runs";

/// The longest part of a path that is made from a name, in bytes.
const LONGEST_PART: usize = 48;

/// Returns the path of the manifest of the savepoint in `dir`, which may be empty for the root of a store.
pub fn manifest_path(dir: &str) -> String {
    join(dir, MANIFEST)
}

/// Returns the path `path` inside `dir`, which may be empty for the root of a store.
pub fn join(dir: &str, path: &str) -> String {
    if dir.is_empty() { path.to_owned() } else { format!("{dir}/{path}") }
}

/// Returns the path of a state file, relative to its manifest.
///
/// `ordinal` is the position of the operator in the manifest, `part` counts the files that `worker` writes for
/// the state under one schema version.
///
/// # Examples
///
/// ```
/// use pitlane::format::layout::state_file_path;
/// use pitlane::model::{OperatorUid, SchemaVersion, StateName};
///
/// let uid = OperatorUid::new("motion-alarm").unwrap();
/// let state = StateName::new("activation").unwrap();
/// assert_eq!(
///     state_file_path(2, &uid, &state, 1, SchemaVersion(3), 0),
///     "state/0002-motion-alarm/activation/w0001.s3.p0000.parquet",
/// );
/// ```
pub fn state_file_path(
    ordinal: usize,
    uid: &OperatorUid,
    state: &StateName,
    worker: usize,
    schema_version: SchemaVersion,
    part: usize,
) -> String {
    let (operator, state) = (plain(uid.as_str()), plain(state.as_str()));
    format!("{STATE}/{ordinal:04}-{operator}/{state}/w{worker:04}.s{schema_version}.p{part:04}.parquet")
}

/// Returns the path of a file of tombstones, relative to its manifest.
///
/// As [`state_file_path`], but for the schema version, which tombstones do not have.
pub fn tombstone_file_path(
    ordinal: usize,
    uid: &OperatorUid,
    state: &StateName,
    worker: usize,
    part: usize,
) -> String {
    let (operator, state) = (plain(uid.as_str()), plain(state.as_str()));
    format!("{STATE}/{ordinal:04}-{operator}/{state}/w{worker:04}.gone.p{part:04}.parquet")
}

/// Returns the path of the state file or the tombstones that would lie at `path` if there were no layers, in the layer
/// `layer`.
///
/// ```
/// use pitlane::format::layout::layer_path;
///
/// assert_eq!(layer_path("state/w0001.s3.p0000.parquet", 12), "state/w0001.s3.p0000.l00000012.parquet");
/// assert_eq!(layer_path("state/w0001.s3.p0000.parquet", 0), "state/w0001.s3.p0000.parquet");
/// ```
pub fn layer_path(path: &str, layer: u32) -> String {
    if layer == 0 {
        return path.to_owned();
    }
    let (stem, suffix) = path.strip_suffix(".parquet").map_or((path, ""), |stem| (stem, ".parquet"));
    format!("{stem}.l{layer:08}{suffix}")
}

/// Returns the path of the `number`-th file that continues the state file `path`.
///
/// ```
/// use pitlane::format::layout::continued_path;
///
/// assert_eq!(continued_path("state/w0001.s3.p0000.parquet", 1), "state/w0001.s3.p0000.c0001.parquet");
/// ```
pub fn continued_path(path: &str, number: usize) -> String {
    let (stem, suffix) = path.strip_suffix(".parquet").map_or((path, ""), |stem| (stem, ".parquet"));
    format!("{stem}.c{number:04}{suffix}")
}

/// Says what keeps `path` from being a path of a state file inside a savepoint, if anything does (clause MF-9).
pub fn path_problem(path: &str) -> Option<&'static str> {
    match path {
        _ if path.len() > 1024 => Some("is longer than 1024 bytes"),
        _ if path.starts_with('/') => Some("starts at the root"),
        _ if path.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Some("has an empty, `.` or `..` part")
        }
        _ if path.chars().any(|c| c == '\\' || c.is_control()) => {
            Some("has a backslash or a control character")
        }
        MANIFEST => Some("is the manifest itself"),
        _ => None,
    }
}

/// Says what keeps `base` from being the name of a directory beside that of a manifest (clause SF-2).
pub fn base_problem(base: &str) -> Option<&'static str> {
    match base {
        _ if base.len() > 255 => Some("is longer than 255 bytes"),
        _ if base.contains('/') => Some("has several parts"),
        _ => path_problem(base),
    }
}

/// Makes a name a part of a path. A name that does not survive as it is gets a hash, so that no two meet,
/// not even on a file system that does not tell upper from lower case.
fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.len() <= LONGEST_PART && name.chars().all(keep) {
        return name.to_owned();
    }
    let mut part: String =
        name.chars().map(|c| c.to_ascii_lowercase()).map(|c| if keep(c) { c } else { '_' }).collect();
    part.truncate(LONGEST_PART);
    // Dots are in no name that survives as it is, so this never meets one of those.
    format!("{part}.{:08x}", hash_key(name.as_bytes()) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(uid: &str, state: &str) -> String {
        let (uid, state) = (OperatorUid::new(uid).unwrap(), StateName::new(state).unwrap());
        state_file_path(0, &uid, &state, 0, SchemaVersion(1), 0)
    }

    /// Clause MF-9.
    #[test]
    fn paths_that_leave_the_savepoint_have_a_problem() {
        for bad in ["", "/etc/passwd", "../x", "state/../../x", "a//b", "a/", "a\\b", "a\nb", "manifest.json"]
        {
            assert!(path_problem(bad).is_some(), "{bad:?}");
        }
        assert!(path_problem(&"x".repeat(1025)).is_some());
    }

    /// Clause SF-2.
    #[test]
    fn a_base_is_one_plain_name() {
        for bad in ["", ".", "..", "/", "a/b", "../a", "a/", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(base_problem(bad).is_some(), "{bad:?}");
        }
        assert_eq!(base_problem("0000000012-a0003"), None);
    }

    /// Clause PB-5.
    #[test]
    fn any_name_makes_a_path_and_no_two_states_share_one() {
        let names = [
            "a b",
            "a_b",
            "A_B",
            "a/b",
            "..",
            "späte flüge",
            "\u{202e}x",
            &"y".repeat(255),
            &"y".repeat(254),
        ];
        let paths: std::collections::BTreeSet<_> = names.iter().map(|name| path_of("op", name)).collect();
        assert_eq!(paths.len(), names.len());
        for path in &paths {
            assert_eq!(path_problem(path), None, "{path}");
            assert!(path.is_ascii() && path.len() < 200, "{path}");
        }
        assert_ne!(path_of("..", "x"), path_of("__", "x"));
    }
}
