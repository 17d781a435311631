//! `./job migrate SAVEPOINT NEW`.

use crate::error::Result;
use crate::migrate::JobDescription;
use crate::model::{OperatorUid, SchemaVersion, StateName};
use crate::rewrite::{self, Rewrite};
use crate::savepoint::Savepoint;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Make a new savepoint out of an old one, in which all state is as this release has it
///
/// Takes every row through the job's migrations, on all cores, those in quarantine too. The old savepoint stays as it is; the new one appears
/// when all of it is there. A job needs none of this to start: it migrates each key when it is first touched.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    ./job migrate SAVEPOINT --dry-run\n  \
    ./job migrate SAVEPOINT NEW\n  \
    ./job migrate SAVEPOINT NEW --drop-unmatched old-operator\n  \
    ./job migrate SAVEPOINT NEW --back motion-alarm/activation=1")]
pub(super) struct MigrateArgs {
    /// The directory of a savepoint or checkpoint
    savepoint: PathBuf,
    /// The directory of the new savepoint, which does not exist or is empty
    #[arg(required_unless_present = "dry_run")]
    new: Option<PathBuf>,
    /// Show what would become of each state, and how much of it would be done anew
    #[arg(long)]
    dry_run: bool,
    /// Leave behind the state of an operator that this release does not have; may be given several times
    #[arg(long, value_name = "UID", value_parser = super::uid)]
    drop_unmatched: Vec<OperatorUid>,
    /// Take a state back to an older schema version, by the `down` of the migrations, for a release that is rolled back;
    /// all other state stays as it is; may be given several times
    #[arg(long, value_name = "OPERATOR/STATE=VERSION", value_parser = older, conflicts_with = "drop_unmatched")]
    back: Vec<(OperatorUid, StateName, SchemaVersion)>,
    /// Put rows whose migration fails into quarantine, instead of ending
    #[arg(long, conflicts_with = "back")]
    quarantine_failing_keys: bool,
    /// The number of threads; as many as there are cores unless said otherwise
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print JSON, as `pitlane migrate --help` shows it
    #[arg(long)]
    json: bool,
}

/// Reads `OPERATOR/STATE=VERSION`; a name may have slashes in it, so the last one counts.
fn older(text: &str) -> std::result::Result<(OperatorUid, StateName, SchemaVersion), String> {
    let read = || {
        let (place, version) = text.rsplit_once('=')?;
        let (uid, state) = place.rsplit_once('/')?;
        Some((OperatorUid::new(uid)?, StateName::new(state)?, SchemaVersion(version.parse().ok()?)))
    };
    read().ok_or_else(|| "not OPERATOR/STATE=VERSION".to_owned())
}

impl MigrateArgs {
    pub(super) fn run(&self, job: &JobDescription) -> Result<()> {
        let savepoint = Savepoint::open(&self.savepoint)?;
        let rewrite = match self.back.is_empty() {
            true => Rewrite::by_job(&savepoint, job, &self.drop_unmatched)?,
            false => Rewrite::back_by_job(&savepoint, job, &self.back)?,
        };
        let (text, json) = match &self.new {
            Some(new) if !self.dry_run => {
                let shown = rewrite::Shown::default();
                let mut options = rewrite::Options { progress: &shown, ..Default::default() };
                options.threads = self.threads.unwrap_or(options.threads);
                options.quarantine_failing_keys = self.quarantine_failing_keys;
                let done = rewrite::run_to(&rewrite, new, options);
                shown.end();
                let done = done?;
                (done.to_string(), done.to_json())
            }
            _ => {
                let outlook = rewrite.outlook();
                (outlook.to_string(), outlook.to_json())
            }
        };
        if self.json {
            println!("{json:#}")
        } else {
            print!("{text}")
        }
        Ok(())
    }
}
