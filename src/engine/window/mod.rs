//! Windows: runs of event time, of the clock or of records, each with what its key's records came to.
//!
//! ```text
//! Window, Tumbling, Sliding, Session, Global   which windows a record belongs to       assign.rs
//! Trigger and its kinds                        when a window tells what it holds       trigger.rs
//! Panes                                        the windows of a key, as one state      panes.rs
//! Content                                      what a window keeps of its records      content.rs
//! WindowNode                                   puts them together                      node.rs
//! WindowedStream, WindowedPair                 how it is written down                  stream.rs, pair.rs
//! ```
//!
//! All windows of a key are one value, a map from window to pane. So they are read, migrated and removed together,
//! sessions merge without looking elsewhere, and a window is nothing but an entry of a map column to other readers.

mod assign;
mod content;
mod node;
mod pair;
mod panes;
mod stream;
mod trigger;

pub use assign::{Global, Session, Sliding, Tumbling, Window, WindowAssigner};
pub use content::WindowPair;
pub use pair::WindowedPair;
pub use stream::{Evictor, LastRecords, WindowResult, WindowedStream};
pub use trigger::{AfterRecords, AtEnd, Every, Fire, Never, PaneInfo, Trigger};
