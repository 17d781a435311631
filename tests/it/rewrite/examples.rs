//! What the docs and the worked examples say of migration files is so.

use super::*;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let inner = |rest: &str| rest.split("\n```").next().unwrap_or_default().to_owned();
    text.split(&opening).skip(1).map(inner).collect()
}

#[test]
fn each_sample_of_the_description_is_a_migration_file() {
    let text = read("docs/migration-file.md");
    let samples = blocks(&text, "toml");
    assert!(samples.len() >= 2);
    for sample in samples {
        MigrationFile::parse(&sample, "sample.toml").unwrap_or_else(|error| panic!("{sample}\n{error}"));
    }
    let steps: Vec<&str> =
        text.split('`').filter(|code| code.starts_with("{ ") && code.ends_with(" }")).collect();
    assert!(steps.len() >= 12, "{steps:?}");
    for step in steps {
        let file = format!("[[state]]\noperator = 'o'\nstate = 's'\nsteps = [{step}]\n");
        MigrationFile::parse(&file, "step.toml").unwrap_or_else(|error| panic!("{step}\n{error}"));
    }
}

#[test]
fn the_description_has_the_grammar_and_the_functions_of_the_code() {
    let text = read("docs/migration-file.md");
    let code = read("src/rewrite/expr/syntax.rs");
    let in_code: Vec<&str> = code.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    for line in blocks(&text, "text").iter().find(|block| block.starts_with("either ")).unwrap().lines() {
        assert!(in_code.contains(&line), "{line}");
    }
    // A function that is not there is refused with all that are.
    let rows = rooms("i64", &[("hall", json!(1))]);
    let file =
        "[[state]]\noperator = 'alarm'\nstate = 'rooms'\nsteps = [{ set = 'value', as = 'nothing(1)' }]";
    let error = applied(&savepoint_of(&rows, 4), file).unwrap_err().to_string();
    for name in error.split("wanted one of ").nth(1).unwrap().split(", ") {
        assert!(text.contains(&format!("`{name}(")), "{name} is not described");
    }
}

fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("migrations/shop")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn each_worked_example_makes_what_stands_beside_it() {
    for path in examples() {
        let case: Json = serde_json::from_str(&read(path.with_extension("json"))).unwrap();
        let text = |json: &Json| -> &'static str { String::leak(json.as_str().unwrap().to_owned()) };
        let states: Vec<Rows<'_>> = case["before"]
            .as_array()
            .unwrap()
            .iter()
            .map(|state| Rows {
                uid: text(&state["operator"]),
                state: text(&state["state"]),
                key: text(&state["key"]),
                version: state["version"].as_u64().unwrap() as u32,
                value: text(&state["value"]),
                rows: state["rows"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| (row[0].clone(), row[1].clone()))
                    .collect(),
            })
            .collect();
        let old = savepoint_of(&states, 16);
        let new = migrated(&old, &read(&path))
            .unwrap_or_else(|error| panic!("{}: {}", path.display(), shown(&error)));
        let mut after = serde_json::Map::new();
        for (name, rows) in all_rows(&new) {
            let (uid, state) = name.split_once('/').unwrap();
            let version = rows.values().next().unwrap().0;
            let rows: serde_json::Map<_, _> =
                rows.into_iter().map(|(key, (_, value))| (key, value)).collect();
            let value = type_shown(&new, uid, state);
            after.insert(name, json!({"version": version, "value": value, "rows": rows}));
        }
        assert_eq!(Json::Object(after), case["after"], "{}", path.display());
    }
}

#[test]
fn the_table_of_worked_examples_has_each_of_them_with_all_that_one_asks() {
    let table = read("migrations/shop/README.md");
    let examples = examples();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with("| [")).collect();
    assert_eq!(lines.len(), examples.len());
    for path in examples {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let line = lines.iter().find(|line| line.starts_with(&format!("| [{name}]({name}.toml) |")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in the table"));
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 8, "{line}");
        assert!(cells.iter().all(|cell| !cell.trim().is_empty()), "{line}");
    }
}
