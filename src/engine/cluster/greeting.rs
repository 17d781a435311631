//! What processes must agree on before anything is touched.
//!
//! Everybody is compared with process 0. The greeting itself is JSON, which other builds can read too: two releases
//! that meet by mistake are told what is different, not that they cannot talk.

use super::hosts::Cluster;
use super::wire::PROTOCOL;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::io;

/// What a process says of itself when it meets another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    protocol: u32,
    pub(crate) process: usize,
    pub(crate) job: String,
    hosts: Vec<String>,
    workers: usize,
    peer_timeout_ms: u64,
    release: String,
    build: String,
    /// The graph, a line an operator: what it is, what it reads, what it keeps and what it sends.
    operators: Vec<String>,
    pub(crate) pid: u32,
    /// A number of its own, by which a second connection is known to come from the same process.
    pub(crate) token: u64,
    /// Of process 0: the data directory of the job, and a file in it that all must see.
    pub(crate) data: Option<SharedData>,
}

/// The data directory, as process 0 sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedData {
    pub(crate) root: String,
    pub(crate) probe: String,
}

/// What the greeting says of the job.
#[derive(Clone, Debug)]
pub(crate) struct JobTraits {
    pub(crate) job: String,
    pub(crate) release: String,
    /// Workers of this process.
    pub(crate) workers: usize,
    pub(crate) operators: Vec<String>,
}

/// Something that two processes must have in common and have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) what: String,
    pub(crate) found: String,
    pub(crate) wanted: String,
}

impl Difference {
    pub(crate) fn new(what: impl Into<String>, found: impl ToString, wanted: impl ToString) -> Self {
        Self { what: what.into(), found: found.to_string(), wanted: wanted.to_string() }
    }
}

impl Greeting {
    pub(crate) fn new(cluster: &Cluster, job: JobTraits, build: String, data: Option<SharedData>) -> Self {
        Self {
            protocol: PROTOCOL,
            process: cluster.process(),
            job: job.job,
            hosts: cluster.hosts().to_vec(),
            workers: job.workers,
            peer_timeout_ms: cluster.peer_timeout.as_millis() as u64,
            release: job.release,
            build,
            operators: job.operators,
            pid: std::process::id(),
            token: RandomState::new().hash_one(std::process::id()),
            data,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a greeting: the outer error is that it is none, the inner one that it is in another protocol.
    pub(crate) fn read(bytes: &[u8]) -> io::Result<Result<Self, Difference>> {
        #[derive(Deserialize)]
        struct Protocol {
            protocol: u32,
        }
        let Protocol { protocol } = serde_json::from_slice(bytes)?;
        if protocol != PROTOCOL {
            return Ok(Err(Difference::new("another protocol", protocol, PROTOCOL)));
        }
        Ok(Ok(serde_json::from_slice(bytes)?))
    }

    /// Compares another process's greeting with this one's; what a process that differs has is `found`.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        let differ = |what: &str, found: &dyn ToString, wanted: &dyn ToString| {
            let (found, wanted) = (found.to_string(), wanted.to_string());
            (found != wanted).then(|| Difference::new(what, found, wanted))
        };
        let hosts = |hosts: &[String]| hosts.join(", ");
        let early = differ("another job", &other.job, &self.job)
            .or_else(|| differ("another list of hosts", &hosts(&other.hosts), &hosts(&self.hosts)));
        // Whoever is neither of the two is compared with process 0 by itself.
        if early.is_some() || (self.process != 0 && other.process != 0) {
            return early;
        }
        let ms = |ms: u64| format!("{ms} ms");
        differ("another number of workers", &other.workers, &self.workers)
            .or_else(|| {
                differ("another time-out for peers", &ms(other.peer_timeout_ms), &ms(self.peer_timeout_ms))
            })
            .or_else(|| differ("another release", &other.release, &self.release))
            .or_else(|| differ("another build", &other.build, &self.build))
            .or_else(|| graph_difference(&other.operators, &self.operators))
    }
}

/// Finds the first operator that is not the same in two graphs.
fn graph_difference(found: &[String], wanted: &[String]) -> Option<Difference> {
    let nothing = "no such operator";
    let line = |graph: &[String], at: usize| graph.get(at).map_or(nothing, String::as_str).to_owned();
    let at = (0..found.len().max(wanted.len())).find(|at| found.get(*at) != wanted.get(*at))?;
    let what = format!("another graph, though the build is the same; operator {at}");
    Some(Difference { what, found: line(found, at), wanted: line(wanted, at) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(process: usize) -> Greeting {
        let cluster = Cluster::new(["a:1", "b:1", "c:1"], process).unwrap();
        let job = JobTraits {
            job: "j".to_owned(),
            release: "1".to_owned(),
            workers: 2,
            operators: vec!["source in".to_owned(), "sink out".to_owned()],
        };
        Greeting::new(&cluster, job, "b1".to_owned(), None)
    }

    fn difference(change: impl FnOnce(&mut Greeting)) -> Option<(String, String, String)> {
        let mut other = greeting(1);
        change(&mut other);
        let zero = greeting(0).difference(&other);
        let one = other.difference(&greeting(0));
        let mirrored = one.map(|d| Difference { what: d.what, found: d.wanted, wanted: d.found });
        assert_eq!(zero, mirrored, "both see it");
        zero.map(|d| (d.what, d.found, d.wanted))
    }

    #[test]
    fn whatever_differs_from_process_0_is_named_and_the_cause_before_what_follows_from_it() {
        assert_eq!(difference(|_| {}), None);
        let found = |what: &str, found: &str, wanted: &str| {
            Some((what.to_owned(), found.to_owned(), wanted.to_owned()))
        };
        assert_eq!(difference(|g| g.job = "k".to_owned()), found("another job", "k", "j"));
        assert_eq!(difference(|g| g.workers = 3), found("another number of workers", "3", "2"));
        assert_eq!(
            difference(|g| g.hosts[2] = "d:1".to_owned()),
            found("another list of hosts", "a:1, b:1, d:1", "a:1, b:1, c:1")
        );
        assert_eq!(
            difference(|g| g.peer_timeout_ms = 1),
            found("another time-out for peers", "1 ms", "10000 ms")
        );
        let other_build = |g: &mut Greeting| (g.build, g.operators) = ("b2".to_owned(), Vec::new());
        assert_eq!(difference(other_build), found("another build", "b2", "b1"));
        let what = "another graph, though the build is the same; operator 1";
        assert_eq!(difference(|g| g.operators[1] = "map".to_owned()), found(what, "map", "sink out"));
        assert_eq!(difference(|g| drop(g.operators.pop())), found(what, "no such operator", "sink out"));
    }

    #[test]
    fn two_that_are_not_process_0_leave_the_comparison_to_it() {
        let mut other = greeting(2);
        other.build = "b2".to_owned();
        assert_eq!(greeting(1).difference(&other), None);
    }

    #[test]
    fn a_greeting_in_another_protocol_is_told_from_one_that_is_none() {
        assert!(Greeting::read(b"GET / HTTP/1.1").is_err());
        let text = |protocol: u32| format!("{{\"protocol\": {protocol}, \"unknown\": true}}");
        assert!(Greeting::read(text(PROTOCOL).as_bytes()).is_err(), "it says nothing of itself");
        let later = Greeting::read(text(PROTOCOL + 1).as_bytes()).unwrap().unwrap_err();
        assert_eq!((later.found, later.wanted), ((PROTOCOL + 1).to_string(), PROTOCOL.to_string()));
        let greeting = greeting(1);
        assert_eq!(Greeting::read(&greeting.to_bytes()).unwrap(), Ok(greeting));
    }
}
