//! Which processes a job runs in.

use crate::error::{Error, Result, shown};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// The processes that a job runs in, and which of them this one is.
///
/// All run the same binary with the same number of workers, and see the same file system: data directory, input and
/// output of the job lie where all of them find them under the same path. Process 0 leads: it takes savepoints and
/// answers requests. They speak TCP, without encryption and without asking for a password: addresses must be such that
/// only they can reach them.
///
/// # Examples
///
/// ```
/// use pitlane::engine::{Cluster, RunOptions};
///
/// let cluster = Cluster::new(["10.0.0.1:4100", "10.0.0.2:4100"], 1)?;
/// let options = RunOptions::in_dir("/shared/pitlane-data").workers(4).cluster(cluster);
/// # assert_eq!(options.workers, 4);
/// # Ok::<(), pitlane::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    hosts: Vec<String>,
    process: usize,
    pub(crate) peer_timeout: Duration,
    pub(crate) join_timeout: Duration,
}

impl Cluster {
    /// Names the address of each process as `host:port`, and says which of them this one is, from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Hosts`] if there is none, one is no address or there twice, or there is no such process.
    pub fn new<H: Into<String>>(hosts: impl IntoIterator<Item = H>, process: usize) -> Result<Self> {
        let place = "the list of hosts";
        let hosts = hosts.into_iter().map(|host| (place.to_owned(), host.into())).collect();
        Self::checked(place, hosts, process)
    }

    /// Reads the addresses from a file, one a line; empty lines and what follows a `#` are passed over.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), with the line; or if the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>, process: usize) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io("read", shown(path)))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines = (1..).zip(lines).filter(|(_, line)| !line.is_empty());
        let hosts = lines.map(|(number, line)| (format!("{}:{number}", shown(path)), line.to_owned()));
        Self::checked(&shown(path), hosts.collect(), process)
    }

    /// Checks hosts, each with the place that it stands at.
    fn checked(list: &str, hosts: Vec<(String, String)>, process: usize) -> Result<Self> {
        let refuse = |place: &str, found: String, wanted: &str| {
            Err(Error::Hosts { place: place.to_owned(), found, wanted: wanted.to_owned() })
        };
        let mut seen = HashSet::new();
        for (place, host) in &hosts {
            let port = host.rsplit_once(':').filter(|(name, _)| !name.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().map_or(true, |port| port == 0)) {
                return refuse(place, format!("`{host}`"), "host:port with a port from 1 to 65535");
            }
            if !seen.insert(host) {
                return refuse(place, format!("{host} twice"), "each process at an address of its own");
            }
        }
        if process >= hosts.len() {
            let addresses = if hosts.len() == 1 { "address" } else { "addresses" };
            let found = format!("{} {addresses} for process {process}", hosts.len());
            return refuse(list, found, "an address for each process, counted from 0");
        }
        let hosts = hosts.into_iter().map(|(_, host)| host).collect();
        let (peer_timeout, join_timeout) = (Duration::from_secs(10), Duration::from_secs(60));
        Ok(Self { hosts, process, peer_timeout, join_timeout })
    }

    /// Ends the attempt if nothing is heard of a process for so long; ten seconds unless said otherwise.
    #[must_use]
    pub fn peer_timeout(mut self, timeout: Duration) -> Self {
        self.peer_timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// Waits for so long until all processes are there; a minute unless said otherwise.
    #[must_use]
    pub fn join_timeout(mut self, timeout: Duration) -> Self {
        self.join_timeout = timeout;
        self
    }

    /// Returns which process this is.
    pub fn process(&self) -> usize {
        self.process
    }

    /// Returns the number of processes.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Returns a process's number and address, for messages.
    pub(crate) fn named(&self, process: usize) -> String {
        format!("process {process} ({})", self.hosts.get(process).map_or("?", String::as_str))
    }

    /// How often a process says that it is alive.
    pub(crate) fn pulse(&self) -> Duration {
        (self.peer_timeout / 8).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(hosts: &[&str], process: usize) -> String {
        Cluster::new(hosts.iter().copied(), process).unwrap_err().to_string()
    }

    #[test]
    fn hosts_that_are_none_come_twice_or_are_too_few_are_refused() {
        for wrong in ["here", ":80", "here:", "here:0", "here:65536", "here:http"] {
            assert!(refused(&[wrong], 0).contains(wrong), "{wrong}");
        }
        assert!(refused(&["a:1", "b:1", "a:1"], 0).contains("a:1 twice"));
        assert!(refused(&["a:1", "b:1"], 2).contains("2 addresses for process 2"));
        assert!(refused(&[], 0).contains("0 addresses"));
    }

    #[test]
    fn a_hosts_file_may_have_comments_and_empty_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "# the two of us\n10.0.0.1:4100  # leads\n\n  [::1]:4100\r\n").unwrap();
        let cluster = Cluster::from_file(&path, 1).unwrap();
        assert_eq!(cluster.hosts(), ["10.0.0.1:4100", "[::1]:4100"]);
        assert_eq!(cluster.named(1), "process 1 ([::1]:4100)");
        assert!(Cluster::from_file(dir.path().join("none"), 0).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_hosts_file_is_said_with_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        for (text, place, found) in [
            ("# two\na:1\n\nhere # not there\n", "hosts:4", "`here`"),
            ("a:1\nb:1\na:1\n", "hosts:3", "a:1 twice"),
            ("a:1\n", "hosts", "1 address for process 1"),
            ("", "hosts", "0 addresses for process 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Cluster::from_file(&path, 1).unwrap_err();
            let Error::Hosts { place: at, found: what, .. } = &error else { panic!("{error}") };
            assert!(at.ends_with(place) && what == found, "{error}");
        }
    }
}
