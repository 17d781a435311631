//! docs/first-job.md, done as it stands: its files are written, its commands run, and what they print is compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take, and how long it is tried until it prints what the page says: a job takes its time.
const PATIENCE: Duration = Duration::from_secs(300);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a reader of the page does.
#[derive(Debug)]
enum Step {
    Write { path: String, text: String },
    Append { path: String, text: String },
    Run { command: String, wanted: Vec<String> },
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut last_words = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            last_words = if line.is_empty() { last_words } else { line };
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "rust" => {
                let path =
                    last_words.split('`').nth(1).expect("a program is preceded by its file").to_owned();
                let text = block.join("\n") + "\n";
                steps.push(if last_words.starts_with('`') {
                    Step::Write { path, text }
                } else {
                    Step::Append { path, text: format!("\n{text}") }
                });
            }
            "console" => {
                for line in block {
                    match (line.strip_prefix("$ "), steps.last_mut()) {
                        (Some(command), _) => {
                            steps.push(Step::Run { command: command.to_owned(), wanted: Vec::new() });
                        }
                        (None, Some(Step::Run { wanted, .. })) => wanted.push(line.to_owned()),
                        (None, _) => panic!("`{line}` follows no command"),
                    }
                }
            }
            other => panic!("a block of `{other}`"),
        }
    }
    steps
}

/// Whether a line is as wanted, where `...` stands for anything; the widths of columns do not matter.
fn matches_line(found: &str, wanted: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (found, wanted) = (squeeze(found), squeeze(wanted));
    let mut parts = wanted.split("...").map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Whether lines are as wanted, where a line `...` stands for any number of them.
fn matches_lines(found: &[&str], wanted: &[String]) -> bool {
    match wanted.split_first() {
        None => found.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=found.len()).any(|skipped| matches_lines(&found[skipped..], rest))
        }
        Some((line, rest)) => found
            .split_first()
            .is_some_and(|(first, others)| matches_line(first, line) && matches_lines(others, rest)),
    }
}

#[test]
fn what_a_page_wants_of_the_output_is_told_from_what_it_does_not() {
    assert!(matches_line("a-1  b   running  3 s", "a-1 b ... 3 s"));
    assert!(matches_line("savepoint  /tmp/x/before", "savepoint ...before"));
    assert!(!matches_line("a-2  b   running  3 s", "a-1 b ..."));
    assert!(!matches_line("a-1 b c", "a-1 b"));
    let wanted = ["...", "b", "..."].map(str::to_owned);
    assert!(matches_lines(&["a", "b", "c"], &wanted) && !matches_lines(&["a", "c"], &wanted));
    assert!(matches_lines(&[], &[]) && !matches_lines(&["a"], &[]));
}

/// A shell that remembers its directory, and the jobs that it runs in the background.
struct Shell {
    directory: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
    background: Vec<Child>,
}

impl Shell {
    /// Makes a command that needs no network, if that can be: what this build has been made of is there.
    fn command(&self, command: &str) -> Command {
        // The page has its clone beside the new project.
        let command = command.replace("../pitlane", root().to_str().unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-c", &command]).current_dir(&self.directory).stdin(Stdio::null());
        shell
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("CARGO_NET_OFFLINE", "true");
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = Path::new(env!("CARGO_BIN_EXE_pitlane")).parent().unwrap().display().to_string();
        shell.env("PATH", format!("{bin}:{path}"));
        shell
    }

    fn run(&mut self, command: &str, wanted: &[String]) {
        if let Some(directory) = command.strip_prefix("cd ") {
            self.directory.push(directory);
            return;
        }
        if let Some(command) = command.strip_suffix(" &") {
            let mut command = self.command(&format!("exec {command}"));
            let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
            self.background.push(child);
            return;
        }
        // What only looks may be tried until what is running has come so far.
        let looks = ["pitlane list", "pitlane status", "cat "].iter().any(|verb| command.starts_with(verb));
        let began = Instant::now();
        loop {
            let mut done = self.command(command).output().unwrap();
            if command.starts_with("cargo ") && !done.status.success() {
                done = self.command(command).env_remove("CARGO_NET_OFFLINE").output().unwrap();
            }
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            let is_wanted = wanted.is_empty() || matches_lines(&out.lines().collect::<Vec<_>>(), wanted);
            if done.status.success() && is_wanted {
                return;
            }
            assert!(
                looks && began.elapsed() < PATIENCE,
                "$ {command}\n{out}{err}\nwanted:\n{}",
                wanted.join("\n")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for child in &mut self.background {
            // Those that have ended need no telling.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_first_job_is_as_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let target = Path::new(env!("CARGO_BIN_EXE_pitlane")).parent().unwrap().parent().unwrap();
    // The same profile and the same versions as here: then what is built already is not built again.
    fs::create_dir(dir.path().join(".cargo")).unwrap();
    let profile = "[profile.dev]\ndebug = \"line-tables-only\"\n\
                   [profile.dev.package.\"*\"]\nopt-level = 2\ndebug = false\n\
                   [profile.dev.package.pitlane]\nopt-level = 0\ndebug = \"line-tables-only\"\n\
                   [profile.dev.package.pitlane-derive]\nopt-level = 0\ndebug = \"line-tables-only\"\n";
    fs::write(dir.path().join(".cargo/config.toml"), profile).unwrap();
    let mut shell = Shell {
        directory: dir.path().to_owned(),
        environment: vec![
            ("CARGO_TARGET_DIR", target.to_owned()),
            ("PITLANE_RUN_DIR", dir.path().join("run")),
        ],
        background: Vec::new(),
    };
    for step in steps(&fs::read_to_string(root().join("docs/first-job.md")).unwrap()) {
        match step {
            Step::Write { path, text } => fs::write(shell.directory.join(path), text).unwrap(),
            Step::Append { path, text } => {
                let path = shell.directory.join(path);
                let before = fs::read_to_string(&path).unwrap();
                fs::write(path, before + &text).unwrap();
            }
            Step::Run { command, wanted } => {
                shell.run(&command, &wanted);
                if command.starts_with("cargo new") {
                    // The versions that this build has, so that nothing has to be fetched.
                    fs::copy(root().join("Cargo.lock"), dir.path().join("warmest/Cargo.lock")).unwrap();
                }
            }
        }
    }
}
