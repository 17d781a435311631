//! Where the pit stop takes place: a temporary directory with a program for each part, and the commands run there.

use pitlane::BoxError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

/// A directory to work in.
pub enum Place {
    /// Removed in the end.
    Temporary(tempfile::TempDir),
    /// Left as it is in the end.
    Kept(PathBuf),
}

impl Place {
    /// Makes a temporary directory.
    pub fn temporary() -> Result<Self, BoxError> {
        Ok(Self::Temporary(tempfile::Builder::new().prefix("pit-stop-").tempdir()?))
    }

    /// Makes the directory `dir`, which must not be there.
    pub fn kept(dir: PathBuf) -> Result<Self, BoxError> {
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}; name a new directory", dir.display()))?;
        Ok(Self::Kept(fs::canonicalize(dir)?))
    }
}

/// The directory, with the programs in it and what they need to know.
pub struct Stage {
    place: Place,
    /// Set for every command.
    env: Vec<(String, String)>,
    /// Whether commands and their output are shown.
    aloud: bool,
}

/// What a command came to.
pub struct Done {
    /// Its exit status; `None` if it was killed.
    pub status: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// What else it said.
    pub stderr: String,
}

/// A job that runs as a process of its own; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Stage {
    /// Fills the directory: `programs` are links to `example`, which looks at the name that it is called by.
    pub fn new(place: Place, example: &Path, programs: &[&str], input: &Path) -> Result<Self, BoxError> {
        let env = [("PITLANE_DATA", "data"), ("PITLANE_RUN_DIR", "run")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let stage = Self { place, env, aloud: false };
        for program in programs {
            symlink(example, stage.path().join(program))?;
        }
        let name = input.file_name().ok_or("the input is not a file")?;
        symlink(input, stage.path().join(name))?;
        Ok(stage)
    }

    /// Shows commands and their output from here on.
    #[must_use]
    pub fn aloud(mut self) -> Self {
        self.aloud = true;
        self
    }

    /// Sets a variable for all commands from here on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Returns where things are.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Temporary(dir) => dir.path(),
            Place::Kept(dir) => dir,
        }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(format!("./{program}"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn shown(&self, program: &str, args: &[&str], tail: &str) {
        if self.aloud {
            let prefix = if program == "pitlane" { "" } else { "./" };
            let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
            let args: Vec<String> = args.iter().map(quoted).collect();
            println!("\n$ {prefix}{program} {}{tail}", args.join(" "));
        }
    }

    /// Runs a command to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<Done, BoxError> {
        self.shown(program, args, "");
        let done = self.run_quietly(program, args)?;
        if self.aloud {
            print!("{}{}", done.stdout, done.stderr);
        }
        Ok(done)
    }

    fn run_quietly(&self, program: &str, args: &[&str]) -> Result<Done, BoxError> {
        let output = self.command(program, args).output()?;
        Ok(Done {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command to its end, which must have this exit status.
    pub fn expect(&self, status: i32, program: &str, args: &[&str]) -> Result<Done, BoxError> {
        let done = self.run(program, args)?;
        if done.status == Some(status) {
            return Ok(done);
        }
        let Done { status: found, stdout, stderr } = done;
        Err(format!("{program} {args:?}: found exit status {found:?}, wanted {status}\n{stdout}{stderr}")
            .into())
    }

    /// Starts a job beside the others.
    pub fn start(&self, program: &str, args: &[&str]) -> Result<Running, BoxError> {
        self.shown(program, args, " &");
        let logs = (1..).map(|n| self.path().join(format!("{program}-{n}.log")));
        let log = logs.into_iter().find(|log| !log.exists()).ok_or("too many logs")?;
        let child = self.command(program, args).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
        Ok(Running { child, log })
    }

    /// Waits until a running job has taken a checkpoint at which at least `rows` rows were read.
    pub fn wait_for_rows(&self, running: &mut Running, rows: u64) -> Result<(), BoxError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("the job ended with {status}: {}", running.log()).into());
            }
            let listed = self.run_quietly("pitlane", &["list", "--json"])?;
            let jobs: Value = serde_json::from_str(&listed.stdout)?;
            let jobs = jobs.as_array().ok_or("no array of jobs")?;
            let read = jobs
                .iter()
                .filter(|job| job["pid"] == running.child.id())
                .filter_map(|job| job.pointer("/sources/0/positions/0/records")?.as_u64());
            if read.max() >= Some(rows) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        Err(format!("{rows} rows are not read after {} s", PATIENCE.as_secs()).into())
    }

    /// Returns the newest checkpoint or savepoint of the job.
    pub fn last_image(&self) -> Result<PathBuf, BoxError> {
        self.newest(&["checkpoints", "savepoints"])
    }

    /// Returns the newest savepoint of the job.
    pub fn last_savepoint(&self) -> Result<PathBuf, BoxError> {
        self.newest(&["savepoints"])
    }

    fn newest(&self, kinds: &[&str]) -> Result<PathBuf, BoxError> {
        let mut images = Vec::new();
        for kind in kinds {
            let Ok(entries) = fs::read_dir(self.path().join("data/flights").join(kind)) else { continue };
            for entry in entries {
                let entry = entry?;
                if entry.path().join("manifest.json").exists() {
                    images.push((entry.file_name(), entry.path()));
                }
            }
        }
        images.sort();
        Ok(images.pop().ok_or("there is no checkpoint")?.1)
    }
}

impl Running {
    /// Returns what the job has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end, and returns the exit status.
    pub fn wait(&mut self) -> Result<Option<i32>, BoxError> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(TICK);
        }
        Err(format!("the job has not ended after {} s: {}", PATIENCE.as_secs(), self.log()).into())
    }

    /// Waits for its end, which must be a good one.
    pub fn wait_well(&mut self) -> Result<(), BoxError> {
        match self.wait()? {
            Some(0) => Ok(()),
            status => Err(format!("the job ended with {status:?}: {}", self.log()).into()),
        }
    }

    /// Kills it, as `kill -9` does; returns whether it had ended before.
    pub fn kill(&mut self) -> Result<bool, BoxError> {
        if self.child.try_wait()?.is_some() {
            return Ok(true);
        }
        self.child.kill()?;
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads every file below `dir`, to see whether anything was touched.
pub fn files_below(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, BoxError> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.append(&mut files_below(&path)?);
            files.insert(path, Vec::new());
        } else if path.is_file() {
            let bytes = fs::read(&path)?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
