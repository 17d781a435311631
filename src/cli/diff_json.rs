//! `pitlane diff --json`: what changed, as a document that scripts may rely on.

use crate::diff::{KeyChange, KeyDiff, PositionDiff, SavepointDiff, SchemaChange, StateDiff, StateSummary};
use crate::model::{SourcePosition, Value};
use crate::savepoint::Savepoint;
use serde_json::{Value as Json, json};

pub(super) const HELP: &str = "Print JSON: {before, after, different,
  sources: [{uid, watermark_before_ms, watermark_after_ms, positions: [{split, before, after}]}],
  states: [{operator, state, different, before: {kind, rows, schema_version, versions} or null, after,
    schema: {change: none | automatic | needs_code, details: [text]},
    added, removed, changed, migrated, needs_code, fields: [{field, changed}], not_compared: text or null,
    keys: [{key, change: added | removed | changed | needs_code, before, after,
      fields: [{field, before, after}]}]}]}
A position is {offset, records, finished, watermark_ms} or null. Of the keys, up to --limit of each state are
there. With --key: {different, keys: [a key as above, with operator and state]}.";

pub(super) fn document(before: &Savepoint, after: &Savepoint, diff: &SavepointDiff) -> Json {
    let sources: Vec<_> = (diff.sources.iter())
        .map(|source| {
            json!({
                "uid": source.uid.as_str(),
                "watermark_before_ms": source.watermark_before_ms,
                "watermark_after_ms": source.watermark_after_ms,
                "positions": source.positions.iter().map(moved).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "before": before.location(),
        "after": after.location(),
        "different": !diff.is_empty(),
        "sources": sources,
        "states": diff.states.iter().map(state).collect::<Vec<_>>(),
    })
}

fn moved(diff: &PositionDiff) -> Json {
    let position = |position: &Option<SourcePosition>| {
        position.as_ref().map(|p| {
            json!({
                "offset": p.offset,
                "records": p.records,
                "finished": p.finished,
                "watermark_ms": p.watermark_ms,
            })
        })
    };
    json!({ "split": diff.split, "before": position(&diff.before), "after": position(&diff.after) })
}

fn state(state: &StateDiff) -> Json {
    let (change, details) = match &state.schema {
        SchemaChange::None => ("none", Vec::new()),
        SchemaChange::Automatic(changes) => ("automatic", changes.iter().map(ToString::to_string).collect()),
        SchemaChange::NeedsCode(why) => ("needs_code", why.iter().map(ToString::to_string).collect()),
    };
    let fields: Vec<_> =
        state.fields.iter().map(|(field, changed)| json!({ "field": field, "changed": changed })).collect();
    json!({
        "operator": state.uid.as_str(),
        "state": state.state.as_str(),
        "different": !state.is_empty(),
        "before": state.before.as_ref().map(summary),
        "after": state.after.as_ref().map(summary),
        "schema": { "change": change, "details": details },
        "added": state.counts.added,
        "removed": state.counts.removed,
        "changed": state.counts.changed,
        "migrated": state.counts.migrated,
        "needs_code": state.counts.needs_code,
        "fields": fields,
        "not_compared": state.not_compared,
        "keys": state.keys.iter().map(key).collect::<Vec<_>>(),
    })
}

fn summary(summary: &StateSummary) -> Json {
    let versions = summary.rows_by_version.iter().map(|(version, rows)| (version.to_string(), *rows));
    json!({
        "kind": summary.kind.as_str(),
        "rows": summary.rows,
        "schema_version": summary.schema.as_ref().map(|schema| schema.version),
        "versions": versions.collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// One key that differs.
pub(super) fn key(diff: &KeyDiff) -> Json {
    let (change, before, after, fields) = match &diff.change {
        KeyChange::Added { after } => ("added", None, Some(after), &[][..]),
        KeyChange::Removed { before } => ("removed", Some(before), None, &[][..]),
        KeyChange::Changed { before, after, fields } => ("changed", Some(before), Some(after), &fields[..]),
        KeyChange::NeedsCode { before, after } => ("needs_code", Some(before), Some(after), &[][..]),
    };
    let fields: Vec<_> = (fields.iter())
        .map(|f| json!({ "field": f.place, "before": f.before.to_json(), "after": f.after.to_json() }))
        .collect();
    json!({
        "key": diff.key.as_ref().map(Value::to_json),
        "change": change,
        "before": before.map(Value::to_json),
        "after": after.map(Value::to_json),
        "fields": fields,
    })
}
