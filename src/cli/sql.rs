//! The line of SQL that shows the rows of a state without pitlane.

use crate::model::{FileEntry, StateEntry, StateKind, arrow_type};
use crate::savepoint::StateView;
use arrow::datatypes::DataType as ArrowType;

/// Returns a query for DuckDB over the files of a state, if it has any, and if they show the state: of layers, no
/// plain query does.
///
/// Files under different schemas are read by the names of their columns. Where one schema has fields and
/// another has not, no query reads both, and the one of the job that wrote the savepoint is taken.
pub(super) fn select(state: &StateView<'_>) -> Option<String> {
    let entry = state.entry();
    if entry.is_layered() {
        return None;
    }
    let has_fields = |schema: usize| is_struct(entry, schema);
    let first = entry.files.first()?;
    let wanted = if entry.files.iter().any(|file| file.schema == 0) { 0 } else { first.schema };
    let mut files = entry.files.iter().filter(|file| has_fields(file.schema) == has_fields(wanted));
    let all_alike = files.clone().count() == entry.files.len();
    let mixed = files.clone().any(|file| file.schema != wanted);
    let value = if has_fields(wanted) { "value.*" } else { "value" };
    let key = match entry.kind {
        StateKind::Value | StateKind::Timers => "key",
        StateKind::List => "idx",
    };
    let root = state.savepoint().location();
    let quoted = |path: &str| format!("'{}'", format!("{root}/{path}").replace('\'', "''"));
    // Names of files are free (clause PB-5): a pattern is only for those that it finds.
    let in_pattern = |dir: &str| {
        let place =
            |file: &FileEntry| file.path.rsplit_once('/').map(|(d, n)| d == dir && n.ends_with(".parquet"));
        entry.files.iter().all(|file| place(file) == Some(true))
    };
    let from = match first.path.rsplit_once('/') {
        Some((dir, _)) if all_alike && in_pattern(dir) => quoted(&format!("{dir}/*.parquet")),
        _ if files.clone().count() == 1 => quoted(&files.next()?.path),
        _ => format!("[{}]", files.map(|file| quoted(&file.path)).collect::<Vec<_>>().join(", ")),
    };
    let union = if mixed { ", union_by_name = true" } else { "" };
    Some(format!("select {key}, {value} from read_parquet({from}{union}) limit 5"))
}

fn is_struct(entry: &StateEntry, schema: usize) -> bool {
    matches!(arrow_type(&entry.schemas[schema].data_type), ArrowType::Struct(_))
}
