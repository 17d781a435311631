//! `pitlane inspect SAVEPOINT [OPERATOR[/STATE]]`.

use super::named::NamedArgs;
use super::text::{Table, counted, grouped, share, size, time_of, watermark};
use super::{Answer, Console, Outcome, inspect_state, place, sql};
use crate::model::{
    Delivery, ImageKind, Manifest, OperatorEntry, SourceEntry, SourcePosition, StateEntry, TimeBasis,
};
use crate::savepoint::{Savepoint, StateView};
use serde_json::{Value as Json, json};
use std::io;

/// Show what a savepoint holds: job, sources, operators, states and their schemas
///
/// Reads the manifest alone, however large the state is.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    savepoint: NamedArgs,
    /// Show this operator alone, or this state with its fields and files
    #[arg(value_name = "OPERATOR[/STATE]")]
    place: Option<String>,
    /// Print JSON, see --help
    #[arg(long, long_help = JSON_HELP)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  pitlane inspect pitlane-data/flights/savepoints/0000000012-a0001
  pitlane inspect SAVEPOINT carriers/delays
  pitlane inspect SAVEPOINT --json | jq '.operators[].states[] | {name, rows}'";

const JSON_HELP: &str = "Print JSON: {path, id, kind, created_ms, writer, job, release, branch, attempt, epoch, parent or null, labels,
  max_parallelism, parallelism, rows, size_bytes,
  sources: [{uid, watermark_ms or null, positions: [{split, offset, records, finished, watermark_ms or null}]}],
  operators: [{uid, kind, time: event | ingestion | processing or null, delivery: exactly-once | at-least-once or null,
    states: [{name, kind, key or null, rows, quarantined, size_bytes,
    schemas: [{version, type, rows}], files: [{path, rows, size_bytes, schema}], sql or null}]}]}
Of the rows so many are in quarantine, see `pitlane quarantine`. The first of the schemas is the one of the job that wrote the savepoint; a file's schema is a position in them.
Of a state in layers, rows are at most so many; its files have a layer, and there are tombstones, as files.";

/// The most splits of one source that are shown.
const MAX_SPLITS: usize = 10;

pub(super) fn run(args: &InspectArgs, console: &mut Console<'_>) -> Outcome {
    let savepoint = args.savepoint.open()?;
    let place = args.place.as_ref().map(|place| place::find(&savepoint, place)).transpose()?;
    match (place, args.json) {
        (None, true) => console.json(&document(&savepoint))?,
        (None, false) => overview(&savepoint, console)?,
        (Some((_, Some(state))), true) => console.json(&state_document(&state))?,
        (Some((operator, None)), true) => {
            console.json(&operator_document(operator.entry(), operator.states()))?;
        }
        (Some((_, Some(state))), false) => inspect_state::write(&state, console)?,
        (Some((operator, None)), false) => {
            for state in operator.states() {
                inspect_state::write(&state, console)?;
            }
        }
    }
    Ok(Answer::Yes)
}

fn overview(savepoint: &Savepoint, console: &mut Console<'_>) -> io::Result<()> {
    let manifest = savepoint.manifest();
    head(savepoint).write(console.out, "")?;
    for source in &manifest.sources {
        write_source(source, console)?;
    }
    states(manifest).write(console.out, "")?;
    writeln!(console.out, "total       {}", total(manifest))?;
    for (operator, state) in manifest.states().filter(|(_, state)| state.quarantined_rows() > 0) {
        let rows = counted(state.quarantined_rows(), "row");
        let place = format!("{}/{}", operator.uid, state.name);
        writeln!(console.out, "quarantine  {place}: {rows}, see `pitlane quarantine`")?;
    }
    for operator in &manifest.operators {
        for warning in operator.traits.warnings() {
            writeln!(console.out, "warning     operator `{}` {warning}", operator.uid)?;
        }
    }
    let states = savepoint.operators().flat_map(|operator| operator.states());
    let largest = states.reduce(|a, b| if b.entry().rows() > a.entry().rows() { b } else { a });
    match largest.and_then(|state| sql::select(&state)) {
        Some(sql) => writeln!(console.out, "in DuckDB   {sql}"),
        None => Ok(()),
    }
}

fn total(manifest: &Manifest) -> String {
    let bytes = manifest.files().map(|file| file.size_bytes).sum();
    format!(
        "{}, {} in {}",
        counted(manifest.rows(), "row"),
        size(bytes),
        counted(manifest.files().count() as u64, "file")
    )
}

fn head(savepoint: &Savepoint) -> Table {
    let manifest = savepoint.manifest();
    let job = &manifest.job;
    let mut table = Table::new(&["", ""]);
    table.row([kind(manifest.kind).to_owned(), format!("{}  {}", savepoint.id(), savepoint.location())]);
    let parent = manifest.parent.as_ref().map_or("none".to_owned(), ToString::to_string);
    table.row(["parent".to_owned(), parent]);
    table.row(["taken".to_owned(), format!("{} by {}", time_of(manifest.created_ms), manifest.writer)]);
    for (name, text) in &manifest.labels {
        table.row(["label".to_owned(), format!("{name}: {text}")]);
    }
    let branch = if job.branch == "main" { String::new() } else { format!(", branch {}", job.branch) };
    table.row([
        "job".to_owned(),
        format!(
            "{}, release {}{branch}, attempt {}, epoch {}",
            job.name, job.release, job.attempt, manifest.epoch
        ),
    ]);
    let workers = counted(manifest.parallelism.into(), "worker");
    table.row([
        "written by".to_owned(),
        format!("{workers}, {}", counted(manifest.max_parallelism.get().into(), "key group")),
    ]);
    table
}

fn kind(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Savepoint => "savepoint",
        ImageKind::Checkpoint => "checkpoint",
    }
}

fn write_source(source: &SourceEntry, console: &mut Console<'_>) -> io::Result<()> {
    let splits = source.positions.len();
    let finished = source.positions.iter().filter(|p| p.finished).count();
    let records: u64 = source.positions.iter().map(|p| p.records).sum();
    writeln!(
        console.out,
        "source      {}: watermark {}, {} from {}, {finished} finished",
        source.uid,
        watermark(source.watermark_ms()),
        counted(records, "record"),
        counted(splits as u64, "split"),
    )?;
    let mut table = Table::new(&["", ">", ">", "", ""]);
    for position in source.positions.iter().take(MAX_SPLITS) {
        table.row([
            position.split.clone(),
            format!("offset {}", grouped(position.offset)),
            counted(position.records, "record"),
            if position.finished { "finished" } else { "" }.to_owned(),
            watermark(position.watermark_ms),
        ]);
    }
    table.write(console.out, "            ")?;
    match splits.checked_sub(MAX_SPLITS) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(console.out, "            and {more} more, see --json"),
    }
}

fn states(manifest: &Manifest) -> Table {
    let mut table = Table::with_head(&[
        "OPERATOR", "KIND", "STATE", "KIND", "KEY", ">ROWS", ">BYTES", "VERSIONS", "SCHEMA",
    ]);
    for operator in &manifest.operators {
        if operator.states.is_empty() {
            table.row([operator.uid.as_str(), &operator.kind, "none"]);
        }
        for state in &operator.states {
            table.row([
                operator.uid.to_string(),
                operator.kind.clone(),
                state.name.to_string(),
                state.kind.as_str().to_owned(),
                state.key.as_ref().map_or(String::new(), ToString::to_string),
                grouped(state.rows()),
                size(state.size_bytes()),
                versions(state),
                state.schemas.first().map_or(String::new(), |schema| schema.data_type.to_string()),
            ]);
        }
    }
    table
}

/// The shares of the schema versions, newest first: `v2 62.0 %, v1 38.0 %`.
fn versions(state: &StateEntry) -> String {
    let rows = state.rows();
    let shares: Vec<_> = state
        .rows_by_version()
        .iter()
        .rev()
        .filter(|(_, part)| **part > 0)
        .map(|(version, part)| format!("v{version} {}", share(*part, rows)))
        .collect();
    match (shares.is_empty(), state.schemas.first()) {
        (true, Some(schema)) => format!("v{}", schema.version),
        _ => shares.join(", "),
    }
}

fn document(savepoint: &Savepoint) -> Json {
    let manifest = savepoint.manifest();
    let operators: Vec<_> = savepoint
        .operators()
        .map(|operator| operator_document(operator.entry(), operator.states()))
        .collect();
    let sources: Vec<_> = manifest.sources.iter().map(source_document).collect();
    json!({
        "path": savepoint.location(),
        "id": savepoint.id().to_string(),
        "kind": kind(manifest.kind),
        "created_ms": manifest.created_ms,
        "writer": manifest.writer,
        "job": manifest.job.name.as_str(),
        "release": manifest.job.release,
        "branch": manifest.job.branch,
        "attempt": manifest.job.attempt,
        "epoch": manifest.epoch.0,
        "parent": manifest.parent.as_ref().map(ToString::to_string),
        "labels": manifest.labels,
        "max_parallelism": manifest.max_parallelism.get(),
        "parallelism": manifest.parallelism,
        "rows": manifest.rows(),
        "size_bytes": manifest.files().map(|file| file.size_bytes).sum::<u64>(),
        "sources": sources,
        "operators": operators,
    })
}

fn source_document(source: &SourceEntry) -> Json {
    let position = |p: &SourcePosition| {
        json!({
            "split": p.split,
            "offset": p.offset,
            "records": p.records,
            "finished": p.finished,
            "watermark_ms": p.watermark_ms,
        })
    };
    let positions: Vec<_> = source.positions.iter().map(position).collect();
    json!({ "uid": source.uid.as_str(), "watermark_ms": source.watermark_ms(), "positions": positions })
}

fn operator_document<'a>(operator: &OperatorEntry, states: impl Iterator<Item = StateView<'a>>) -> Json {
    let states: Vec<_> = states.map(|state| state_document(&state)).collect();
    json!({
        "uid": operator.uid.as_str(),
        "kind": operator.kind,
        "time": operator.traits.time.map(TimeBasis::as_str),
        "delivery": operator.traits.delivery.map(Delivery::as_str),
        "states": states,
    })
}

fn state_document(state: &StateView<'_>) -> Json {
    let entry = state.entry();
    let rows = |schema: usize| entry.files.iter().filter(|f| f.schema == schema).map(|f| f.rows).sum::<u64>();
    let schemas: Vec<_> = (entry.schemas.iter().enumerate())
        .map(|(i, schema)| json!({ "version": schema.version, "type": schema.data_type, "rows": rows(i) }))
        .collect();
    let files: Vec<_> = (entry.files.iter())
        .map(|f| json!({ "path": f.place(), "rows": f.rows, "size_bytes": f.size_bytes, "schema": f.schema }))
        .collect();
    let mut document = json!({
        "name": entry.name.as_str(),
        "kind": entry.kind.as_str(),
        "key": entry.key,
        "rows": entry.rows(),
        "quarantined": entry.quarantined_rows(),
        "size_bytes": entry.size_bytes(),
        "schemas": schemas,
        "files": files,
        "sql": sql::select(state),
    });
    if entry.is_layered() {
        let tombstones = entry.tombstones.iter().map(
            |f| json!({ "path": f.place(), "rows": f.rows, "size_bytes": f.size_bytes, "layer": f.layer }),
        );
        document["tombstones"] = tombstones.collect();
        for (shown, file) in document["files"].as_array_mut().into_iter().flatten().zip(&entry.files) {
            shown["layer"] = file.layer.into();
        }
    }
    document
}
