//! `uuid::Uuid`: 16 bytes that readers of Parquet show as a UUID (clause TY-11).

use crate::model::{DataType, hash_key};
use crate::state::{Key, Read as _, State, Wide, WideBuilder, WideReader};
use std::cmp::Ordering;
use uuid::Uuid;

impl Wide for Uuid {
    #[inline]
    fn to_bytes(self) -> [u8; 16] {
        self.into_bytes()
    }

    #[inline]
    fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_bytes(bytes)
    }
}

impl State for Uuid {
    type Builder = WideBuilder<Self>;
    type Reader = WideReader<Self>;

    fn data_type() -> DataType {
        DataType::Uuid
    }
}

impl Key for Uuid {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn hash64(&self) -> u64 {
        hash_key(self.as_bytes())
    }

    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    #[inline]
    fn compare_row(&self, keys: &Self::Reader, row: usize) -> Ordering {
        self.cmp(&keys.read(row))
    }
}
