//! Migration files: changes of a savepoint that need no code, written down in TOML. docs/migration-file.md describes them.
//!
//! [`read`] takes the text apart and refuses what it does not know, with line and column; [`apply`] decides what the
//! file makes of a savepoint, with the same places for what that does not have.

mod apply;
mod read;
mod toml;

use self::toml::{At, Source};
use super::expr::Syntax;
use crate::error::{Error, Result, shown};
use crate::model::{DataType, Digest, MaxParallelism, OperatorUid, SchemaVersion, StateName};
use read::{Said, SaidStep};
use std::path::Path as FilePath;

/// Changes of a savepoint that need no code.
///
/// # Examples
///
/// ```
/// use pitlane::rewrite::MigrationFile;
///
/// let file = MigrationFile::parse(
///     r#"
///     [[state]]
///     operator = "motion-alarm"
///     state = "activation"
///     steps = [
///       { rename = "at", to = "at_ms" },
///       { add = "tolerance_ms", type = "i64", value = 30_000 },
///     ]
///     "#,
///     "rooms-get-a-tolerance.toml",
/// )?;
/// assert_eq!(file.name(), "rooms-get-a-tolerance");
/// # Ok::<(), pitlane::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MigrationFile {
    name: String,
    checksum: Digest,
    max_parallelism: Option<Said<MaxParallelism>>,
    operators: Vec<OperatorChange>,
    states: Vec<StateChange>,
}

/// What is to become of an operator.
#[derive(Clone, Debug)]
struct OperatorChange {
    uid: Said<OperatorUid>,
    /// Its new uid; it is dropped without.
    rename: Option<Said<OperatorUid>>,
}

/// What is to become of a state.
#[derive(Clone, Debug)]
struct StateChange {
    at: At,
    uid: Said<OperatorUid>,
    name: Said<StateName>,
    rename: Option<Said<StateName>>,
    moved_to: Option<Said<OperatorUid>>,
    is_dropped: bool,
    from: Option<Said<SchemaVersion>>,
    to: Option<Said<SchemaVersion>>,
    steps: Option<Steps>,
    down: Option<Steps>,
    rekey: Option<Keyed>,
}

/// What happens to values, one after the other.
#[derive(Clone, Debug)]
struct Steps {
    at: At,
    steps: Vec<SaidStep>,
}

/// How rows get new keys.
#[derive(Clone, Debug)]
struct Keyed {
    at: At,
    data_type: Option<DataType>,
    key: Syntax,
    key_at: (At, String),
    merge: Option<(Syntax, (At, String))>,
}

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

impl MigrationFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::MigrationFile`] with the line and the column of what is wrong; [`Error::Io`].
    pub fn open(path: impl AsRef<FilePath>) -> Result<Self> {
        let path = path.as_ref();
        let failed = || Error::io("read", shown(path));
        let size = std::fs::metadata(path).map_err(failed())?.len();
        if size > MAX_BYTES {
            return Err(Error::MigrationFile {
                place: shown(path),
                problem: format!("found {size} bytes, wanted at most {MAX_BYTES}"),
                hint: None,
            });
        }
        let bytes = std::fs::read(path).map_err(failed())?;
        let text = String::from_utf8(bytes).map_err(|_| Error::MigrationFile {
            place: shown(path),
            problem: "found bytes that are no UTF-8, wanted text".to_owned(),
            hint: None,
        })?;
        Self::parse(&text, &shown(path))
    }

    /// Reads the text of a file that lies at `path`, which is for messages, and names the migration unless it has a
    /// name.
    ///
    /// # Errors
    ///
    /// [`Error::MigrationFile`] with the line and the column of what is wrong.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let stem = FilePath::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or("migration");
        read::read(Source { path, text }, stem)
    }

    /// Returns what the migration is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what tells the migration from others: a hash over what the file says, whatever its spelling.
    pub fn checksum(&self) -> Digest {
        self.checksum
    }
}
