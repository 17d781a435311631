//! Bytes to model and back: manifests, state files and the paths of both; one wire form per format version.

mod chunks;
mod columns;
mod footer;
mod json;
mod key_column;
pub mod layout;
mod lookup;
mod manifest;
mod manifest_v1;
mod memory;
mod page_index;
mod parquet_copy;
mod parquet_open;
mod parquet_read;
mod parquet_write;
mod settings;
mod sink;
mod sparse;
mod thrift;
mod type_json;
mod weight;

pub use columns::StateColumns;
pub use manifest::{FORMAT, Sealed, parse, seal};

pub(crate) use key_column::{KeyColumn, RowOrder};
pub(crate) use lookup::SoughtKey;
pub(crate) use manifest::{MAX_MANIFEST_BYTES, parse_trusting};
pub(crate) use memory::array_bytes;
pub(crate) use parquet_copy::ColumnFrom;
pub(crate) use parquet_open::{LeafBounds, ParquetFile};
pub(crate) use parquet_read::{GroupRows, Wanted};
pub(crate) use parquet_write::{Cut, FileLimit, ParquetWriter};
pub(crate) use sparse::ReadAt;
