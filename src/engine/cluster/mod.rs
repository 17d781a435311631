//! A job in several processes: how they find each other, agree, watch over each other, and end together.
//!
//! ```text
//! Cluster      who they are                        hosts.rs
//! Greeting     what they must have in common       greeting.rs, build_id.rs
//! meet         how they find each other            meeting.rs, shared_data.rs
//! Peers        alive, silent, lost; first causes   peers.rs, link.rs
//! follow       what those do that do not lead      member.rs
//! DataStream   the connection for records          data.rs
//! wire, codec  bytes                               checked where they come in
//! ```
//!
//! Between two processes there are two connections: one that timely moves records and progress on, and a link for what
//! must not wait behind records: signs of life, credit, the reason why an attempt ends.

mod build_id;
pub(crate) mod codec;
mod data;
mod greeting;
mod hosts;
mod link;
mod meeting;
mod member;
mod peers;
mod shared_data;
mod wire;

pub(crate) use greeting::JobTraits;
pub use hosts::Cluster;
pub(crate) use member::{follow, told};
pub(crate) use peers::{Peers, Watch};
pub(crate) use wire::{Begin, Ending};

use crate::error::Result;
use greeting::Greeting;
use shared_data::Probe;
use std::path::Path;

/// Meets the other processes of a job whose data directory is `root`, and agrees with them on what it is.
///
/// # Errors
///
/// Who has not come, or what differs; nothing has begun then.
pub(crate) fn gather(cluster: &Cluster, job: JobTraits, root: &Path) -> Result<Peers> {
    let probe = (cluster.process() == 0).then(|| Probe::new(root)).transpose()?;
    let data = probe.as_ref().map(|probe| probe.shared(root));
    let greeting = Greeting::new(cluster, job, build_id::build_id()?, data);
    meeting::meet(cluster, greeting, &|data| shared_data::difference(data, root))
}
