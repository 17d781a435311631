//! Naming a savepoint: by its directory, by the end of its path, or by the start of its id.

use crate::error::{Error, Result, shown};
use crate::savepoint::{Savepoint, catalog};
use clap::builder::{PathBufValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// Takes a path or a `file://` URL.
pub(super) fn place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|given| catalog::local_path(&given).map(std::borrow::Cow::into_owned))
}

/// Where savepoints are looked for that are not named by their directory.
#[derive(clap::Args)]
pub(super) struct DataArgs {
    /// Where to look for a savepoint that is named by the end of its path, or by the start of its id
    #[arg(
        long,
        value_name = "DIR",
        value_parser = place(),
        default_value = "pitlane-data",
        env = "PITLANE_DATA",
        hide_env_values = true
    )]
    data: PathBuf,
}

/// One savepoint.
#[derive(clap::Args)]
pub(super) struct NamedArgs {
    /// A savepoint or checkpoint: its directory, as a path or as a `file://` URL, the end of its path, or the first
    /// characters of its id
    savepoint: PathBuf,
    #[command(flatten)]
    data: DataArgs,
}

impl NamedArgs {
    pub(super) fn name(&self) -> &Path {
        &self.savepoint
    }

    pub(super) fn open(&self) -> Result<Savepoint> {
        self.data.open(&self.savepoint)
    }
}

impl DataArgs {
    /// Opens all savepoints and checkpoints that there are.
    pub(super) fn all(&self) -> Result<Vec<Savepoint>> {
        catalog::open_all(&self.data)
    }

    pub(super) fn open(&self, name: &Path) -> Result<Savepoint> {
        let name = &*catalog::local_path(name).map_err(Error::io("open", shown(name)))?;
        let Some(text) = name.to_str() else { return Savepoint::open(name) };
        match catalog::resolve(text, &self.data) {
            // What is there was meant as a path, and so is everything where there is nothing to look through.
            Err(Error::NoSuchSavepoint { .. }) if name.exists() || !self.data.is_dir() => {
                Err(Error::NotASavepoint { path: shown(name) })
            }
            opened => opened,
        }
    }
}
