//! Columns of values that may be missing.

use super::generated::{open_part, struct_array};
use super::{Build, ColumnMismatch, Read, State, Unstorable, generated};
use crate::model::{DataType, SOME, column_id, struct_columns};
use arrow::array::{Array, ArrayRef, NullBufferBuilder};
use arrow::buffer::NullBuffer;
use std::fmt;

/// Builds a column of options.
pub struct OptionBuilder<T: State> {
    present: NullBufferBuilder,
    values: T::Builder,
}

/// Reads a column of options.
pub struct OptionReader<T: State> {
    pub(super) nulls: Option<NullBuffer>,
    pub(super) values: T::Reader,
}

impl<T: State> Default for OptionBuilder<T> {
    fn default() -> Self {
        Self { present: NullBufferBuilder::new(0), values: T::Builder::default() }
    }
}

impl<T: State> fmt::Debug for OptionBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptionBuilder").field("len", &self.present.len()).finish_non_exhaustive()
    }
}

impl<T: State> Build<Option<T>> for OptionBuilder<T> {
    #[inline]
    fn append(&mut self, value: &Option<T>) -> Result<(), Unstorable> {
        match value {
            Some(value) => {
                self.present.append_non_null();
                self.values.append(value)
            }
            None => {
                self.append_absent();
                Ok(())
            }
        }
    }

    #[inline]
    fn append_absent(&mut self) {
        self.present.append_null();
        self.values.append_absent();
    }

    #[inline]
    fn len(&self) -> usize {
        self.present.len()
    }

    fn size_hint_bytes(&self) -> usize {
        self.values.size_hint_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let validity = NullBuffer::union(validity.as_ref(), self.present.finish().as_ref());
        if T::NULLABLE {
            let column = self.values.finish(None);
            struct_array(validity, [generated::part::<T>(SOME, column_id(SOME), column)])
        } else {
            self.values.finish(validity)
        }
    }
}

impl<T: State> Read<Option<T>> for OptionReader<T> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let inner = NullBuffer::union(nulls.as_ref(), present);
        let values = if T::NULLABLE {
            open_part::<T>(struct_columns(array, &[SOME])?, 0, SOME, inner.as_ref())?
        } else {
            T::Reader::open(array, inner.as_ref())?
        };
        Ok(Self { nulls, values })
    }

    #[inline]
    fn read(&self, row: usize) -> Option<T> {
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(self.values.read(row)),
        }
    }
}

impl<T: State> State for Option<T> {
    type Builder = OptionBuilder<T>;
    type Reader = OptionReader<T>;
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        DataType::Option(Box::new(T::data_type()))
    }
}
