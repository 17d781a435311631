//! `pitlane quarantine SAVEPOINT`, `pitlane quarantine drop SAVEPOINT NEW OPERATOR/STATE`.

use super::get::parse_key;
use super::named::{DataArgs, place};
use super::text::{Table, counted};
use super::{Answer, Console, Failure, Outcome, place};
use crate::rewrite::{Options, Rewrite, run_to};
use crate::savepoint::{Quarantined, StateView};
use serde_json::json;
use std::path::PathBuf;

/// Show the rows of a savepoint that a migration failed for, or leave some of them behind
///
/// A job that was told to go on without such keys (`--quarantine-failing-keys`) keeps their rows as they are, with the
/// reason. Whoever starts from the savepoint tries them again, each when its key is first touched; `./job migrate
/// SAVEPOINT NEW` tries all of them at once.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
#[command(after_help = EXAMPLES)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// A savepoint or checkpoint: its directory, the end of its path, or the first characters of its id
    #[arg(required = true)]
    savepoint: Option<PathBuf>,
    /// Look at this operator alone, or this state
    #[arg(value_name = "OPERATOR[/STATE]")]
    place: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Show at most so many rows of each state
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print JSON: {rows, states: [{operator, state, rows, shown: [{key, schema_version, value, reason}]}]}
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Verb {
    Drop(DropArgs),
}

/// Make a new savepoint without rows that are in quarantine in an old one
///
/// Their keys then have no value in this state, and begin anew with their next record. Timers of these keys, and what
/// other states of the operator have of them, stay.
#[derive(clap::Args)]
#[command(after_help = DROP_EXAMPLES)]
struct DropArgs {
    /// A savepoint or checkpoint, as in `pitlane quarantine`
    savepoint: PathBuf,
    /// The directory of the new savepoint, which does not exist or is empty
    #[arg(value_parser = place())]
    new: PathBuf,
    /// The operator, and its state if it has several
    #[arg(value_name = "OPERATOR[/STATE]")]
    place: String,
    /// Leave behind the row of this key; may be given several times
    #[arg(long = "key", value_name = "KEY", required_unless_present = "all", allow_hyphen_values = true)]
    keys: Vec<String>,
    /// Leave behind all rows of the state that are in quarantine
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Print JSON, as `pitlane migrate --help` shows it
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane quarantine SAVEPOINT
  pitlane quarantine SAVEPOINT orders/by-id --json | jq '.states[].shown[].reason'
  pitlane quarantine drop SAVEPOINT NEW orders/by-id --key 4711

Exit status: 0 no row is in quarantine; 1 some are; 2 it could not be done.";

const DROP_EXAMPLES: &str = "Examples:
  pitlane quarantine drop SAVEPOINT NEW orders/by-id --key 4711 --key 4712
  pitlane quarantine drop SAVEPOINT NEW orders/by-id --all";

pub(super) fn run(args: &QuarantineArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = match (&args.verb, &args.savepoint) {
        (Some(Verb::Drop(args)), _) => return drop_rows(args, console),
        (None, Some(savepoint)) => args.data.open(savepoint)?,
        (None, None) => {
            return Err(Failure::Usage {
                error: "no savepoint to look at".to_owned(),
                hint: "say `pitlane quarantine SAVEPOINT`".to_owned(),
            });
        }
    };
    let states: Vec<StateView<'_>> = match &args.place {
        None => savepoint.operators().flat_map(|operator| operator.states()).collect(),
        Some(place) => match place::find(&savepoint, place)? {
            (_, Some(state)) => vec![state],
            (operator, None) => operator.states().collect(),
        },
    };
    let states: Vec<_> = states.into_iter().filter(|state| state.entry().quarantined_rows() > 0).collect();
    let rows: u64 = states.iter().map(|state| state.entry().quarantined_rows()).sum();
    let shown = |state: &StateView<'_>| -> crate::Result<Vec<Quarantined>> {
        state.quarantined()?.take(args.limit).collect()
    };
    if args.json {
        let states = states.iter().map(|state| {
            let shown = shown(state)?.into_iter().map(|row| {
                json!({
                    "key": row.key.to_json(),
                    "schema_version": row.version,
                    "value": row.value.to_json(),
                    "reason": row.reason,
                })
            });
            Ok(json!({
                "operator": state.operator().uid.as_str(),
                "state": state.entry().name.as_str(),
                "rows": state.entry().quarantined_rows(),
                "shown": shown.collect::<Vec<_>>(),
            }))
        });
        let states = states.collect::<crate::Result<Vec<_>>>()?;
        console.json(&json!({ "rows": rows, "states": states }))?;
    } else if states.is_empty() {
        writeln!(console.out, "no row is in quarantine")?;
    } else {
        for state in &states {
            let (uid, entry) = (&state.operator().uid, state.entry());
            let all = entry.quarantined_rows();
            writeln!(console.out, "{uid}/{}: {} in quarantine", entry.name, counted(all, "row"))?;
            let mut table = Table::new(&["", "", "", ""]);
            let shown = shown(state)?;
            for row in &shown {
                table.row([
                    row.key.to_string(),
                    format!("v{}", row.version),
                    row.value.to_string(),
                    row.reason.clone(),
                ]);
            }
            table.write(console.out, "  ")?;
            match all.saturating_sub(shown.len() as u64) {
                0 => {}
                more => writeln!(console.out, "  and {more} more, see --limit")?,
            }
        }
    }
    Ok(if rows == 0 { Answer::Yes } else { Answer::No })
}

fn drop_rows(args: &DropArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = args.data.open(&args.savepoint)?;
    let state = place::find_state(&savepoint, &args.place)?;
    let keys = args.keys.iter().map(|key| parse_key(&state, key)).collect::<Result<Vec<_>, _>>()?;
    let (uid, name) = (state.operator().uid.as_str(), state.entry().name.as_str());
    let keys = if args.all { None } else { Some(&keys[..]) };
    let rewrite = Rewrite::of(&savepoint).drop_quarantined(uid, name, keys)?;
    let done = run_to(&rewrite, &args.new, Options::default())?;
    match args.json {
        true => console.json(&done.to_json())?,
        false => write!(console.out, "{done}")?,
    }
    Ok(Answer::Yes)
}
