//! The columns of a state file (clauses PQ-1 to PQ-3).

use super::settings::parquet_schema;
use crate::error::{Error, Result};
use crate::model::{DataType, KeyGroup, MaxParallelism, StateKind, arrow_field};
use arrow::datatypes::{DataType as ArrowType, Field, Fields, Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;

/// The member of a field's metadata that holds its Parquet field id.
pub(crate) const FIELD_ID: &str = "PARQUET:field_id";

/// The field id of the column `kg`.
const KG_ID: i32 = 1;
/// The field id of the column `key`.
const KEY_ID: i32 = 2;
/// The field id of the column `value`.
const VALUE_ID: i32 = 4;
/// The field id of the column `idx`.
const IDX_ID: i32 = 5;
/// The field id of the column `touched_ms`.
const TOUCHED_ID: i32 = 6;

/// The field id of the column `reason`.
const REASON_ID: i32 = 7;

/// What the rows of a state file are: the types of its columns, and how keys spread over key groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateColumns {
    /// Keyed state and timers have the columns `kg`, `key` and `value`; a list has `idx` and `value`.
    pub kind: StateKind,
    /// The type of the keys, for keyed state.
    pub key: Option<DataType>,
    /// The type of the values under the schema of the file.
    pub value: DataType,
    /// The number of key groups.
    pub max_parallelism: MaxParallelism,
    /// Whether each row says when it was last touched (clause EX-1).
    pub touched: bool,
    /// Whether each row says why it is in quarantine (clause QU-1).
    pub quarantined: bool,
}

impl StateColumns {
    /// Returns the Arrow schema of the batches that such a file takes and gives.
    ///
    /// Keyed state: `kg` (UInt16, field id 1), `key` (2), `value` (4), `touched_ms` (Int64, 6) and
    /// `reason` (Utf8, 7) if there are any.
    /// List: `idx` (UInt32, 5), `value` (4).
    pub fn arrow_schema(&self) -> SchemaRef {
        let plain = |name: &str, data_type, id: i32| {
            Field::new(name, data_type, false)
                .with_metadata(HashMap::from([(FIELD_ID.to_owned(), id.to_string())]))
        };
        let value = arrow_field("value", &self.value, VALUE_ID);
        let mut fields = match (self.kind, &self.key) {
            (StateKind::Value | StateKind::Timers, Some(key)) => {
                vec![plain("kg", ArrowType::UInt16, KG_ID), arrow_field("key", key, KEY_ID), value]
            }
            (StateKind::Value | StateKind::Timers, None) => {
                vec![plain("kg", ArrowType::UInt16, KG_ID), value]
            }
            (StateKind::List, _) => vec![plain("idx", ArrowType::UInt32, IDX_ID), value],
        };
        if self.touched {
            fields.push(plain("touched_ms", ArrowType::Int64, TOUCHED_ID));
        }
        if self.quarantined {
            fields.push(plain("reason", ArrowType::Utf8, REASON_ID));
        }
        Arc::new(Schema::new(fields))
    }

    /// Returns the columns of the tombstones of such a state: its keys, with values of type `unit`.
    #[must_use]
    pub fn of_tombstones(&self) -> Self {
        Self { value: DataType::Unit, touched: false, quarantined: false, ..self.clone() }
    }

    /// Returns the position of the column with the values.
    pub fn value_index(&self) -> usize {
        if self.kind.is_keyed() && self.key.is_some() { 2 } else { 1 }
    }

    /// Returns how many columns lie behind the values.
    pub fn behind_values(&self) -> usize {
        usize::from(self.touched) + usize::from(self.quarantined)
    }

    /// Returns the columns from that of the values on, which go with a key wherever it goes.
    pub(crate) fn packed_fields(&self) -> Fields {
        self.arrow_schema().fields().iter().skip(self.value_index()).cloned().collect()
    }

    /// Returns the key group of a row, by the canonical encoding of its key.
    pub fn key_group(&self, encoded_key: &[u8]) -> KeyGroup {
        self.kind.key_group(encoded_key, self.max_parallelism)
    }

    /// Returns the paths of the leaf columns in Parquet, with dots in between.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] if Parquet cannot have such columns.
    pub(crate) fn leaf_paths(&self) -> Result<Vec<String>> {
        let schema = parquet_schema(self).map_err(|source| Error::Parquet {
            action: "describe",
            path: format!("values of {}", self.value),
            source,
        })?;
        Ok(schema.columns().iter().map(|leaf| leaf.path().string()).collect())
    }
}
