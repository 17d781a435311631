//! What ARCHITECTURE.md and the README say of the code is so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module names of the others.
type Edges = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Returns the lines of the fenced block that follows a marker in ARCHITECTURE.md.
fn block(marker: &str) -> Vec<String> {
    let text = read("ARCHITECTURE.md");
    let start = text.find(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("no {marker}"));
    let lines = text[start..].lines().skip_while(|line| !line.starts_with("```")).skip(1);
    lines.take_while(|line| !line.starts_with("```")).map(str::to_owned).collect()
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// The files of `src`, without their tests and comments, by the path of their module.
fn sources() -> Vec<(Vec<String>, String)> {
    let mut files = Vec::new();
    let src = root().join("src");
    files_below(&src, &mut files);
    files.sort();
    let source = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).unwrap().with_extension("");
        let mut module: Vec<String> =
            relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        (module, code_of(&fs::read_to_string(path).unwrap()))
    };
    let all = files.iter().map(source);
    all.filter(|(module, _)| !module.iter().any(|part| part == "tests")).collect()
}

/// Leaves out what follows `#[cfg(test)] mod tests {`, and comments.
fn code_of(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let rest = text[at + mark.len()..].trim_start();
        rest.starts_with("mod ") && rest.find('{').is_some_and(|open| !rest[..open].contains(';'))
    });
    let code = &text[..tests.map_or(text.len(), |(at, _)| at)];
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Returns the first names of a use group: `{a::b, c::{d, e}}` has `a` and `c`.
fn group_heads(text: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut expects_head = false;
    for (at, c) in text.char_indices() {
        match c {
            '{' => {
                depth += 1;
                expects_head = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' if depth == 1 => expects_head = true,
            c if c.is_alphabetic() && expects_head => {
                heads.push(identifier(&text[at..]));
                expects_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Returns the modules right below the crate that the code of `module` names.
fn named_by(module: &[String], code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for opening in ["crate::", "pitlane::", "super::"] {
        for (at, _) in code.match_indices(opening) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') || code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &code[at..];
            let mut ups = 0;
            while let Some(shorter) = rest.strip_prefix("super::") {
                rest = shorter;
                ups += 1;
            }
            if ups == 0 {
                rest = &rest[opening.len()..];
            }
            let base = if ups == 0 { &[] } else { &module[..module.len().saturating_sub(ups)] };
            match base.first() {
                Some(top) => drop(names.insert(top.clone())),
                None if rest.starts_with('{') => {
                    names.extend(group_heads(rest).into_iter().filter_map(module_of_root_item));
                }
                None => names.extend(module_of_root_item(identifier(rest))),
            }
        }
    }
    names
}

/// Items that the crate root hands on count as those of the module they come from.
fn module_of_root_item(name: &str) -> Option<String> {
    let module = match name {
        "VERSION" | "self" => return None,
        "Error" | "Result" | "BoxError" => "error",
        "State" | "Key" => "state",
        module => module,
    };
    Some(module.to_owned())
}

#[test]
fn the_reading_of_use_lines_finds_what_is_named() {
    let module: Vec<String> = ["engine", "operators", "source"].map(str::to_owned).to_vec();
    let code = "use crate::{error::{Error, Result}, Key}; use super::super::batch; super::super::super::diff::x();\
                pitlane::cli::run(); other_crate::storage::y();";
    let names: Vec<_> = named_by(&module, code).into_iter().collect();
    assert_eq!(names, ["cli", "diff", "engine", "error", "state"]);
    assert_eq!(code_of("a // b\n#[cfg(test)]\nmod tests {\n c }").trim(), "a");
    assert_eq!(code_of("#[cfg(test)]\nmod tests;\nuse x;"), "#[cfg(test)]\nmod tests;\nuse x;");
}

#[test]
fn modules_name_only_modules_that_the_map_lets_them() {
    let mut found = Edges::new();
    for (module, code) in sources() {
        let Some(top) = module.first().cloned() else { continue };
        let named = named_by(&module, &code);
        let edges = found.entry(top.clone()).or_default();
        edges.extend(named.into_iter().filter(|name| *name != top));
    }
    let mut allowed = Edges::new();
    let mut order = Vec::new();
    for line in block("dependencies") {
        let (from, to) = line.split_once("->").unwrap_or_else(|| panic!("no arrow in `{line}`"));
        let to = to.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "nothing of ours");
        order.push(from.trim().to_owned());
        allowed.insert(from.trim().to_owned(), to.collect());
    }
    let mut wrong = Vec::new();
    let nothing = BTreeSet::new();
    for module in found.keys().chain(allowed.keys()).collect::<BTreeSet<_>>() {
        let (is, may) = (found.get(module).unwrap_or(&nothing), allowed.get(module).unwrap_or(&nothing));
        wrong.extend(
            is.difference(may).map(|name| format!("{module} names {name}, which the map does not allow")),
        );
        wrong.extend(
            may.difference(is).map(|name| format!("the map lets {module} name {name}, and it does not")),
        );
        if !allowed.contains_key(module) {
            wrong.push(format!("the map does not have {module}"));
        }
        let place = |name: &String| order.iter().position(|other| other == name);
        let up = may.iter().filter(|name| place(name) <= place(module));
        wrong.extend(up.map(|name| format!("{module} -> {name} points up the map")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_engine_knows_timely() {
    for (module, code) in sources() {
        let is_engine = module.first().is_some_and(|top| top == "engine");
        assert!(is_engine || !code.contains("timely::"), "{} names timely", module.join("::"));
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    for (module, code) in sources() {
        for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
            assert!(!code.contains(word), "{} has {word}", module.join("::"));
        }
    }
}

#[test]
fn every_fixture_is_listed() {
    let listed = read("fixtures/README.md");
    let mut missing = Vec::new();
    let mut look_in = vec![root().join("fixtures")];
    while let Some(directory) = look_in.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Files of a fixture are its own affair; folders of fixtures are looked into.
            let is_top = directory == root().join("fixtures");
            if is_top && path.is_dir() {
                look_in.push(path);
            } else if name != "README.md"
                && (is_top || path.is_dir())
                && !listed.contains(&format!("`{name}`"))
            {
                missing.push(name);
            }
        }
    }
    missing.sort();
    assert!(missing.is_empty(), "fixtures/README.md does not list {missing:?}");
}

#[test]
fn folders_named_in_the_map_are_there() {
    for line in block("folders") {
        let Some(folder) = line.split_whitespace().next().filter(|_| !line.starts_with(' ')) else {
            continue;
        };
        assert!(root().join(folder).is_dir(), "there is no {folder}");
    }
}

/// Returns the code blocks of the README with this language.
fn readme_blocks(language: &str) -> Vec<String> {
    let text = read("README.md");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            if found == language {
                blocks.push(block.join("\n") + "\n");
            }
        }
    }
    blocks
}

#[test]
fn the_program_in_the_readme_is_the_example_and_so_is_its_change() {
    let (one, two) = (read("examples/visits_1.rs"), read("examples/visits_2.rs"));
    let programs = readme_blocks("rust,no_run");
    assert!(
        matches!(&*programs, [program] if one.ends_with(program)),
        "not what examples/visits_1.rs ends with"
    );
    let changes = readme_blocks("diff");
    assert!(!changes.is_empty());
    for line in changes.iter().flat_map(|change| change.lines()) {
        let (mark, code) = line.split_at_checked(1).unwrap_or((" ", ""));
        let is_in = |program: &str| program.lines().any(|line| line == code);
        // A line of brackets alone may well be in both.
        let is_telling = code.contains(char::is_alphabetic);
        assert!(is_in(&one) == (mark != "+") || !is_telling, "examples/visits_1.rs: `{line}`");
        assert!(is_in(&two) == (mark != "-") || !is_telling, "examples/visits_2.rs: `{line}`");
    }
}
