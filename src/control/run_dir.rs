//! Where running jobs are found: a private directory with one socket for each of them.
//!
//! A socket without a listener is what a killed job leaves behind. Whoever finds one removes it, under the
//! directory's lock, so that a job that is just binding the same name is not mistaken for a dead one.

use crate::error::{Error, Result, shown};
use crate::model::JobName;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The longest path of a socket, in bytes: what the smallest of the systems we run on takes.
const MAX_SOCKET_PATH_BYTES: usize = 103;
/// The longest part of a job's name in the name of its socket, in bytes.
const MAX_STEM_BYTES: usize = 40;
const LOCK: &str = "lock";

/// The directory that holds the sockets of the running jobs.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether the path is one that anybody could have created before us.
    guessable: bool,
}

/// The socket of one running job; removed when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    id: String,
    path: PathBuf,
    listener: UnixListener,
}

impl RunDir {
    /// Finds the directory: `$PITLANE_RUN_DIR`, else `$XDG_RUNTIME_DIR/pitlane`, else `/tmp/pitlane-<uid>`.
    pub fn locate() -> Self {
        Self::choose(|name| std::env::var_os(name), user_id())
    }

    /// Takes the directory at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), guessable: false }
    }

    fn choose(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> Self {
        if let Some(path) = variable("PITLANE_RUN_DIR").filter(|p| !p.is_empty()) {
            return Self::at(path);
        }
        // A relative path is to be ignored, says the specification of the variable.
        match variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute()) {
            Some(path) => Self::at(path.join("pitlane")),
            None => Self { path: format!("/tmp/pitlane-{uid}").into(), guessable: true },
        }
    }

    /// Returns where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the socket of an attempt of `job`, creating the directory as needed.
    ///
    /// The id is `<job>-<attempt>`, such as `flights-3`; a letter follows when a job of that name with another
    /// data directory has the id already.
    ///
    /// # Errors
    ///
    /// [`Error::SocketPath`] if the path is too long for a socket, [`Error::RunDir`] if the directory belongs
    /// to somebody else, [`Error::Io`].
    pub fn bind(&self, job: &JobName, attempt: u64) -> Result<Endpoint> {
        let io = |action, path: &Path| Error::io(action, shown(path));
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(io("create", &self.path))?;
        self.check()?;
        let _lock = self.lock()?;
        let stem = format!("{}-{attempt}", stem(job));
        for id in std::iter::once(stem.clone()).chain(('b'..='z').map(|letter| format!("{stem}{letter}"))) {
            let path = self.socket(&id)?;
            match UnixListener::bind(&path) {
                Ok(listener) => return Ok(Endpoint { id, path, listener }),
                Err(e) if e.kind() != ErrorKind::AddrInUse => return Err(io("bind", &path)(e)),
                Err(_) if is_live(&path) => {}
                Err(_) => {
                    fs::remove_file(&path).map_err(io("remove", &path))?;
                    let listener = UnixListener::bind(&path).map_err(io("bind", &path))?;
                    return Ok(Endpoint { id, path, listener });
                }
            }
        }
        Err(io("bind", &self.socket(&stem)?)(ErrorKind::AddrInUse.into()))
    }

    /// Returns the ids and sockets of all jobs, sorted by id; none if there is no directory.
    pub(super) fn sockets(&self) -> Result<Vec<(String, PathBuf)>> {
        let entries = match fs::read_dir(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("read", shown(&self.path)))?,
        };
        self.check()?;
        let mut sockets = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("read", shown(&self.path)))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if let (Some(stem), true) = (stem, path.extension().is_some_and(|e| e == "sock")) {
                sockets.push((stem.to_owned(), path.clone()));
            }
        }
        sockets.sort();
        Ok(sockets)
    }

    /// Removes a socket whose process is gone.
    pub(super) fn sweep(&self, socket: &Path) -> Result<()> {
        let _lock = self.lock()?;
        if !is_live(socket) {
            match fs::remove_file(socket) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", shown(socket))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn socket(&self, id: &str) -> Result<PathBuf> {
        let path = self.path.join(format!("{id}.sock"));
        match path.as_os_str().as_bytes().len() {
            found if found > MAX_SOCKET_PATH_BYTES => {
                Err(Error::SocketPath { path: shown(&path), found, limit: MAX_SOCKET_PATH_BYTES })
            }
            _ => Ok(path),
        }
    }

    /// Refuses a directory in a public place that somebody else has made, or may write to.
    fn check(&self) -> Result<()> {
        if !self.guessable {
            return Ok(());
        }
        let found = fs::symlink_metadata(&self.path).map_err(Error::io("read", shown(&self.path)))?;
        let mode = found.permissions().mode() & 0o777;
        if found.is_dir() && found.uid() == user_id() && mode & 0o077 == 0 {
            return Ok(());
        }
        let found = format!("mode {mode:o} of user {}", found.uid());
        Err(Error::RunDir {
            path: shown(&self.path),
            found,
            wanted: format!("mode 700 of user {}", user_id()),
        })
    }

    fn lock(&self) -> Result<File> {
        let path = self.path.join(LOCK);
        let file = File::options().create(true).append(true).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(Error::io("lock", shown(&path)))
    }
}

impl Endpoint {
    /// Returns the id by which users name the running job, such as `flights-3`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the socket, to accept connections from.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // If it cannot be removed, the next `list` will do it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a process listens; one that cannot be asked counts as live.
fn is_live(socket: &Path) -> bool {
    match UnixStream::connect(socket) {
        Ok(_) => true,
        Err(e) => !is_gone(&e),
    }
}

/// Whether connecting failed because no process listens any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

/// The part of a socket's name that stands for the job: its name, as far as every file system takes it.
fn stem(job: &JobName) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let stem: String = job.as_str().chars().map(plain).take(MAX_STEM_BYTES).collect();
    // Names that start with a dot are hidden.
    if stem.starts_with('.') { stem.replacen('.', "_", 1) } else { stem }
}

#[expect(unsafe_code, reason = "the standard library does not say who we are")]
fn user_id() -> u32 {
    // SAFETY: the call takes nothing, touches nothing and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobName {
        JobName::new(name).unwrap()
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_with_both_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let error = RunDir::at(dir.path().join("x".repeat(100))).bind(&job("flights"), 1).unwrap_err();
        assert!(matches!(error, Error::SocketPath { limit: MAX_SOCKET_PATH_BYTES, .. }), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_public_directory_in_a_guessable_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir { path: dir.path().to_owned(), guessable: true };
        let set_mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o700);
        assert!(run_dir.sockets().is_ok());
        set_mode(0o777);
        for refused in [run_dir.sockets().err(), run_dir.bind(&job("flights"), 1).err()] {
            assert!(matches!(refused, Some(Error::RunDir { .. })), "{refused:?}");
        }
    }

    #[test]
    fn the_directory_is_the_first_one_that_is_set() {
        let choose = |set: &[(&str, &str)]| {
            let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
            RunDir::choose(get, 1000).path().display().to_string()
        };
        assert_eq!(choose(&[("PITLANE_RUN_DIR", ""), ("XDG_RUNTIME_DIR", "here")]), "/tmp/pitlane-1000");
        assert_eq!(choose(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), "/run/user/1000/pitlane");
        assert_eq!(choose(&[("PITLANE_RUN_DIR", "here"), ("XDG_RUNTIME_DIR", "/run")]), "here");
    }

    #[test]
    fn a_directory_that_does_not_exist_holds_no_jobs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RunDir::at(dir.path().join("none")).sockets().unwrap(), []);
    }

    #[test]
    fn jobs_of_one_name_get_ids_of_their_own_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path().join("run"));
        let endpoints =
            [run_dir.bind(&job("flüge/x"), 3).unwrap(), run_dir.bind(&job("flüge/x"), 3).unwrap()];
        assert_eq!(endpoints.each_ref().map(Endpoint::id), ["fl_ge_x-3", "fl_ge_x-3b"]);
        assert_eq!(run_dir.sockets().unwrap().len(), 2);
        drop(endpoints);
        assert_eq!(run_dir.sockets().unwrap(), []);
        assert_eq!(fs::metadata(run_dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_socket_of_a_killed_job_gives_way_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::at(dir.path());
        // A listener that is dropped without an `Endpoint` leaves its file, as a killed process does.
        drop(UnixListener::bind(dir.path().join("flights-1.sock")).unwrap());
        let endpoint = run_dir.bind(&job("flights"), 1).unwrap();
        assert_eq!(endpoint.id(), "flights-1");
        run_dir.sweep(endpoint.path()).unwrap();
        assert!(endpoint.path().exists(), "a live socket stays");
    }
}
