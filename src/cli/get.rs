//! `pitlane get SAVEPOINT OPERATOR[/STATE] KEY`.

use super::named::NamedArgs;
use super::text::Table;
use super::{Answer, Console, Failure, Outcome, place};
use crate::error::Error;
use crate::model::{DataType, NotAValue, Value};
use crate::savepoint::{Found, StateView};
use serde_json::json;

/// Show the value of one key
///
/// Reads one page of each column, however large the state is. The value is shown as it was stored: no
/// migration is applied.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GetArgs {
    #[command(flatten)]
    savepoint: NamedArgs,
    /// The operator, and its state if it has several
    #[arg(value_name = "OPERATOR[/STATE]")]
    place: String,
    /// The key: bare text for strings, numbers and names of variants, JSON for all else
    #[arg(allow_hyphen_values = true)]
    key: String,
    /// Print JSON: {operator, state, key, found, schema_version, type, value,
    /// quarantined: the reason, or null}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane get SAVEPOINT carriers UA
  pitlane get SAVEPOINT rooms/activation '[\"house\", 17]' --json | jq .value

Exit status: 0 found; 1 there is no such key; 2 it could not be done.";

pub(super) fn run(args: &GetArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = args.savepoint.open()?;
    let state = place::find_state(&savepoint, &args.place)?;
    let key = parse_key(&state, &args.key)?;
    let found = state.get(&key)?;
    let place = format!("{}/{}", state.operator().uid, state.entry().name);
    let reason = reason_of(&state, &key)?;
    if args.json {
        console.json(&json!({
            "operator": state.operator().uid.as_str(),
            "state": state.entry().name.as_str(),
            "key": key.to_json(),
            "found": found.is_some(),
            "schema_version": found.as_ref().map(|found| found.schema.version),
            "type": found.as_ref().map(|found| &found.schema.data_type),
            "value": found.as_ref().map(|found| found.value.to_json()),
            "quarantined": reason,
        }))?;
    } else if let Some(found) = &found {
        writeln!(console.out, "{place} {key}: schema version {}", found.schema.version)?;
        table(found).write(console.out, "  ")?;
        if let Some(reason) = reason {
            writeln!(console.out, "  in quarantine: {reason}")?;
        }
    } else {
        // An aside, so that nothing on standard output stands for nothing found.
        let _ = writeln!(console.err, "{place} has no key {key}");
    }
    Ok(if found.is_some() { Answer::Yes } else { Answer::No })
}

/// Returns why a key is in quarantine, if it is.
fn reason_of(state: &StateView<'_>, key: &Value) -> crate::Result<Option<String>> {
    if state.entry().quarantined_rows() == 0 {
        return Ok(None);
    }
    for row in state.quarantined()? {
        let row = row?;
        if row.key == *key {
            return Ok(Some(row.reason));
        }
    }
    Ok(None)
}

/// Reads a key from the command line.
pub(super) fn parse_key(state: &StateView<'_>, text: &str) -> Result<Value, Failure> {
    let (uid, entry) = (&state.operator().uid, state.entry());
    let Some(wanted) = &entry.key else {
        return Err(Failure::Usage {
            error: format!("operator `{uid}`, state `{}`: a {} has no keys", entry.name, entry.kind.as_str()),
            hint: format!("see it with `pitlane inspect SAVEPOINT '{uid}/{}'`", entry.name),
        });
    };
    let not_a_key = |error: NotAValue| Error::NotAKey {
        found: text.to_owned(),
        wanted: wanted.to_string(),
        reason: error.to_string(),
    };
    Ok(Value::parse(text, wanted).map_err(not_a_key)?)
}

/// The value, one field a row.
fn table(found: &Found) -> Table {
    let mut table = Table::new(&["", ""]);
    match (&found.value, &found.schema.data_type) {
        (Value::Struct(fields), _) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| table.row([name.clone(), value.to_string()]));
        }
        (Value::Tuple(parts), DataType::Tuple(_)) if !parts.is_empty() => {
            parts.iter().enumerate().for_each(|(i, part)| table.row([format!("f{i}"), part.to_string()]));
        }
        (value, _) => table.row([value.to_string()]),
    }
    table
}
