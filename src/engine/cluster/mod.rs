//! A job in several processes.

pub(crate) mod codec;
