//! One state of a savepoint in full: its schemas field by field, and its files.

use super::text::{Table, counted, share, size};
use super::{Console, sql};
use crate::model::{DataType, Field, Schema, StateEntry};
use crate::savepoint::StateView;
use std::io;

/// The most files that are shown.
const MAX_FILES: usize = 20;

pub(super) fn write(state: &StateView<'_>, console: &mut Console<'_>) -> io::Result<()> {
    let entry = state.entry();
    let keyed = entry.key.as_ref().map_or(String::new(), |key| format!(", keyed by {key}"));
    writeln!(
        console.out,
        "state       {}/{}: {}{keyed}",
        state.operator().uid,
        entry.name,
        entry.kind.as_str()
    )?;
    // Layers have rows that newer ones cover.
    let at_most = if entry.is_layered() { "at most " } else { "" };
    writeln!(
        console.out,
        "rows        {at_most}{}, {}",
        counted(entry.rows(), "row"),
        size(entry.size_bytes())
    )?;
    if entry.quarantined_rows() > 0 {
        let rows = counted(entry.quarantined_rows(), "row");
        writeln!(console.out, "quarantine  {rows}, see `pitlane quarantine`")?;
    }
    for (i, schema) in entry.schemas.iter().enumerate() {
        write_schema(entry, i, schema, console)?;
    }
    let mut files = Table::new(&["", ">", ">", "", ""]);
    let tombstones = entry.tombstones.iter().map(|file| (file, "tombstone"));
    for (file, what) in entry.files.iter().map(|file| (file, "row")).chain(tombstones).take(MAX_FILES) {
        let groups = file.key_groups.map_or(String::new(), |groups| format!("key groups {groups}"));
        let layer = entry.is_layered().then(|| format!("layer {}", file.layer));
        let aside = file.quarantined.then(|| "in quarantine".to_owned());
        let layer = layer.into_iter().chain(aside).collect::<Vec<_>>().join(", ");
        files.row([file.place(), counted(file.rows, what), size(file.size_bytes), groups, layer]);
    }
    let count = entry.all_files().count();
    writeln!(console.out, "files       {count}")?;
    files.write(console.out, "  ")?;
    if count > MAX_FILES {
        writeln!(console.out, "  and {} more, see --json", count - MAX_FILES)?;
    }
    match sql::select(state) {
        Some(sql) => writeln!(console.out, "in DuckDB   {sql}"),
        None => Ok(()),
    }
}

fn write_schema(
    entry: &StateEntry,
    index: usize,
    schema: &Schema,
    console: &mut Console<'_>,
) -> io::Result<()> {
    let rows: u64 = entry.files.iter().filter(|f| f.schema == index).map(|f| f.rows).sum();
    let share = share(rows, entry.rows());
    writeln!(console.out, "schema      version {}: {}, {share}", schema.version, counted(rows, "row"))?;
    let mut fields = Table::new(&["", "", ""]);
    match &schema.data_type {
        DataType::Struct(members) => members.iter().for_each(|field| fields.row(field_row(field))),
        DataType::Tuple(parts) => {
            (parts.iter().enumerate()).for_each(|(i, part)| fields.row([format!("f{i}"), part.to_string()]));
        }
        DataType::Enum(variants) => {
            for variant in variants {
                let payload = variant.payload.as_ref().map_or(String::new(), ToString::to_string);
                fields.row([variant.name.clone(), payload, was(variant.was.as_deref())]);
            }
        }
        plain => fields.row(["value".to_owned(), plain.to_string()]),
    }
    fields.write(console.out, "  ")
}

fn field_row(field: &Field) -> [String; 3] {
    let default = field.default.as_ref().map(|default| format!("default {default}"));
    let was = Some(was(field.was.as_deref())).filter(|was| !was.is_empty());
    let notes: Vec<_> = was.into_iter().chain(default).collect();
    [field.name.clone(), field.data_type.to_string(), notes.join(", ")]
}

fn was(name: Option<&str>) -> String {
    name.map_or(String::new(), |name| format!("was `{name}`"))
}
