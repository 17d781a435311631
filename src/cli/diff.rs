//! `pitlane diff BEFORE AFTER`.

use super::named::DataArgs;
use super::text::{Table, counted, grouped, watermark};
use super::{Answer, Console, Failure, Outcome, diff_json, get};
use crate::diff::{
    Counts, DiffOptions, KeyChange, KeyDiff, PositionDiff, SavepointDiff, SchemaChange, SourceDiff,
    StateDiff, StateSummary, diff, diff_key,
};
use crate::error::Error;
use crate::model::{OperatorUid, SourcePosition, Value};
use crate::savepoint::{Savepoint, StateView};
use serde_json::json;
use std::io;
use std::path::PathBuf;

/// Show what changed between two savepoints
///
/// Values are decoded with the schema stored beside them, so neither job is needed. What did not change is
/// recognised by its hashes and not read. Where schemas differ, values are compared as far as rules lead from
/// the older to the newer; where only a migration does, both are shown as they are.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DiffArgs {
    /// The savepoint to start from: its directory, the end of its path, or the first characters of its id
    before: PathBuf,
    /// The savepoint to compare it with
    after: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Count only: list no keys
    #[arg(long, conflicts_with = "key")]
    stat: bool,
    /// Compare this key alone, in every state that may have it
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
    /// Compare this operator alone
    #[arg(long, value_name = "UID")]
    operator: Option<String>,
    /// List up to this many keys of each state
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print JSON, see --help
    #[arg(long, long_help = diff_json::HELP)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane diff MONDAY TUESDAY --stat
  pitlane diff MONDAY TUESDAY --operator carriers --limit 100
  pitlane diff MONDAY TUESDAY --key UA --json

Exit status: 0 no difference; 1 differences; 2 it could not be done.";

pub(super) fn run(args: &DiffArgs, console: &mut Console<'_>) -> Outcome {
    let (before, after) = (args.data.open(&args.before)?, args.data.open(&args.after)?);
    let operator = args.operator.as_deref().map(|uid| uid_of(&after, uid)).transpose()?;
    if let Some(key) = &args.key {
        return one_key(&before, &after, operator.as_ref(), key, args.json, console);
    }
    let limit = if args.stat { 0 } else { args.limit };
    let found = diff(&before, &after, &DiffOptions { operator, limit })?;
    if args.json {
        console.json(&diff_json::document(&before, &after, &found))?;
    } else if found.is_empty() {
        writeln!(console.out, "no difference")?;
    } else {
        write(&found, args.stat, console)?;
    }
    Ok(if found.is_empty() { Answer::Yes } else { Answer::No })
}

fn uid_of(savepoint: &Savepoint, text: &str) -> Result<OperatorUid, Error> {
    // A name that is none is a name that no operator has.
    match OperatorUid::new(text) {
        Some(uid) => Ok(uid),
        None => savepoint.operator(text).map(|operator| operator.entry().uid.clone()),
    }
}

/// Compares one key in all states of both savepoints that it may be a key of.
fn one_key(
    before: &Savepoint,
    after: &Savepoint,
    operator: Option<&OperatorUid>,
    text: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Outcome {
    let (mut found, mut not_a_key, mut looked) = (Vec::new(), None, false);
    let states = after.operators().flat_map(|o| o.states()).filter(|s| s.entry().key.is_some());
    for new in states.filter(|state| operator.is_none_or(|uid| *uid == state.operator().uid)) {
        let uid = &new.operator().uid;
        let Ok(old) = before.operator(uid.as_str()).and_then(|o| o.state(new.entry().name.as_str())) else {
            continue;
        };
        match (get::parse_key(&new, text), get::parse_key(&old, text)) {
            (Ok(key), Ok(old_key)) if key == old_key => {
                looked = true;
                found.extend(diff_key(old, new, &key)?.map(|diff| (new, diff)));
            }
            (Err(error), _) | (_, Err(error)) => not_a_key = Some(error),
            // The key's type changed: no key is in both.
            (Ok(_), Ok(_)) => {}
        }
    }
    match (looked, not_a_key) {
        (false, Some(error)) => return Err(error),
        (false, None) => {
            return Err(Failure::Usage {
                error: "the savepoints have no keyed state in common".to_owned(),
                hint: "see `pitlane inspect`, or compare without --key".to_owned(),
            });
        }
        (true, _) => {}
    }
    if json {
        let keys: Vec<_> = found.iter().map(|(state, diff)| one_key_document(state, diff)).collect();
        console.json(&json!({ "different": !found.is_empty(), "keys": keys }))?;
    } else if found.is_empty() {
        writeln!(console.out, "no difference")?;
    }
    if !json {
        for (state, diff) in &found {
            writeln!(console.out, "{}/{}", state.operator().uid, state.entry().name)?;
            key_table(std::slice::from_ref(diff)).write(console.out, "  ")?;
        }
    }
    Ok(if found.is_empty() { Answer::Yes } else { Answer::No })
}

fn one_key_document(state: &StateView<'_>, diff: &KeyDiff) -> serde_json::Value {
    let mut document = diff_json::key(diff);
    document["operator"] = state.operator().uid.as_str().into();
    document["state"] = state.entry().name.as_str().into();
    document
}

fn write(diff: &SavepointDiff, stat: bool, console: &mut Console<'_>) -> io::Result<()> {
    for source in &diff.sources {
        write_source(source, console)?;
    }
    let mut table =
        Table::with_head(&["OPERATOR", "STATE", ">ROWS", ">ADDED", ">REMOVED", ">CHANGED", "FIELDS"]);
    for state in &diff.states {
        table.row(state_row(state));
    }
    table.write(console.out, "")?;
    for state in diff.states.iter().filter(|state| !state.is_empty()) {
        write_state(state, stat, console)?;
    }
    Ok(())
}

fn write_source(source: &SourceDiff, console: &mut Console<'_>) -> io::Result<()> {
    let SourceDiff { uid, watermark_before_ms: old, watermark_after_ms: new, positions } = source;
    let moved = counted(positions.len() as u64, "split");
    let marks = if old == new {
        format!("watermark {}", watermark(*new))
    } else {
        format!("watermark {} -> {}", watermark(*old), watermark(*new))
    };
    writeln!(console.out, "source {uid}: {marks}, {moved} moved")?;
    let mut table = Table::new(&["", ">", "", ">", ""]);
    for PositionDiff { split, before, after } in positions {
        let field =
            |get: fn(&SourcePosition) -> u64| change_of(before.as_ref().map(get), after.as_ref().map(get));
        let finished =
            after.as_ref().is_some_and(|p| p.finished) && before.as_ref().is_none_or(|p| !p.finished);
        table.row([
            split.clone(),
            "offset".to_owned(),
            field(|position| position.offset),
            "records".to_owned(),
            format!("{}{}", field(|position| position.records), if finished { "  finished" } else { "" }),
        ]);
    }
    table.write(console.out, "  ")
}

/// `1 204 -> 2 048 (+844)`, or what there is of it.
fn change_of(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(old), Some(new)) if old == new => grouped(new),
        (Some(old), Some(new)) => {
            let by = i128::from(new) - i128::from(old);
            let sign = if by > 0 { "+" } else { "" };
            format!("{} -> {} ({sign}{})", grouped(old), grouped(new), grouped(by))
        }
        (None, Some(new)) => format!("{} (new)", grouped(new)),
        (Some(old), None) => format!("{} (gone)", grouped(old)),
        (None, None) => String::new(),
    }
}

fn state_row(state: &StateDiff) -> Vec<String> {
    let rows = |summary: &Option<StateSummary>| summary.as_ref().map(|summary| summary.rows);
    let Counts { added, removed, changed, needs_code, .. } = state.counts;
    let signed = |sign: &str, count: u64| format!("{sign}{}", grouped(count));
    let fields: Vec<_> = state
        .fields
        .iter()
        .map(|(place, count)| format!("{} {}", shown_place(place), grouped(*count)))
        .collect();
    let (rows_before, rows_after) = (rows(&state.before), rows(&state.after));
    let rows = match (rows_before, rows_after) {
        (Some(old), Some(new)) if old != new => format!("{} -> {}", grouped(old), grouped(new)),
        _ => change_of(rows_before, rows_after),
    };
    let mut row = vec![state.uid.to_string(), state.state.to_string(), rows];
    match &state.not_compared {
        Some(reason) => row.extend(["", "", ""].map(str::to_owned).into_iter().chain([reason.clone()])),
        None => {
            // Keys of which only a migration could say whether they changed.
            let open = if needs_code == 0 { String::new() } else { format!(" {}", signed("?", needs_code)) };
            let changed = signed("~", changed) + &open;
            row.extend([signed("+", added), signed("-", removed), changed, fields.join(", ")])
        }
    }
    row
}

fn shown_place(place: &str) -> &str {
    if place.is_empty() { "value" } else { place }
}

fn write_state(state: &StateDiff, stat: bool, console: &mut Console<'_>) -> io::Result<()> {
    let notes = notes(state);
    if notes.is_empty() && (stat || state.keys.is_empty()) {
        return Ok(());
    }
    writeln!(console.out, "{}/{}", state.uid, state.state)?;
    for note in notes {
        writeln!(console.out, "  {note}")?;
    }
    if stat {
        return Ok(());
    }
    key_table(&state.keys).write(console.out, "  ")?;
    let Counts { added, removed, changed, needs_code, .. } = state.counts;
    let both = state.before.is_some() && state.after.is_some();
    match (added + removed + changed + needs_code).saturating_sub(state.keys.len() as u64) {
        more if more > 0 && both => writeln!(console.out, "  and {} more, see --limit", grouped(more)),
        _ => Ok(()),
    }
}

/// What there is to say of a state beside its keys.
fn notes(state: &StateDiff) -> Vec<String> {
    let version = |summary: &Option<StateSummary>| {
        let schema = summary.as_ref().and_then(|summary| summary.schema.as_ref());
        schema.map_or("none".to_owned(), |schema| schema.version.to_string())
    };
    let head = format!("schema {} -> {}", version(&state.before), version(&state.after));
    let mut notes = Vec::new();
    match &state.schema {
        SchemaChange::None => {}
        SchemaChange::Automatic(changes) if changes.is_empty() => {
            notes.push(format!("{head}, the same type"))
        }
        SchemaChange::Automatic(changes) => {
            notes.extend(changes.iter().map(|change| format!("{head}  {change}")))
        }
        SchemaChange::NeedsCode(mismatches) => {
            notes.push(format!("{head}, needs code"));
            notes.extend(mismatches.iter().map(|mismatch| format!("  {mismatch}")));
        }
    }
    if state.counts.migrated > 0 {
        notes.push(format!("{} stored under another schema, with equal values", keys(state.counts.migrated)));
    }
    if state.counts.needs_code > 0 {
        notes.push(format!("{} under schemas that only a migration connects", keys(state.counts.needs_code)));
    }
    notes
}

fn keys(count: u64) -> String {
    counted(count, "key")
}

/// The keys that differ, one row each; a key that changed has a row for each field.
fn key_table(keys: &[KeyDiff]) -> Table {
    let mut table = Table::new(&["", "", "", ""]);
    for KeyDiff { key, change } in keys {
        let key = key.as_ref().map_or(String::new(), Value::to_string);
        match change {
            KeyChange::Added { after } => table.row(["+".to_owned(), key, after.to_string()]),
            KeyChange::Removed { before } => table.row(["-".to_owned(), key, before.to_string()]),
            KeyChange::NeedsCode { before, after } => {
                table.row(["?".to_owned(), key, format!("{before} -> {after}")]);
            }
            KeyChange::Changed { fields, .. } => {
                for (i, field) in fields.iter().enumerate() {
                    let (sign, key) = if i == 0 { ("~", key.as_str()) } else { ("", "") };
                    let change = format!("{} {} -> {}", shown_place(&field.place), field.before, field.after);
                    table.row([sign.to_owned(), key.to_owned(), change]);
                }
            }
        }
    }
    table
}
