//! Columns of maps, stored in the order of their keys' encodings, so that equal maps are equal bytes whatever order
//! they were hashed in.

use super::generated::{check_nulls, other_layout};
use super::list::Rows;
use super::row::LEAF_BYTES;
use super::text::{offset, take_offsets};
use super::{Build, ColumnMismatch, Key, Read, State, Unstorable};
use crate::model::{DataType, ELEMENT, ENTRIES, entries_field, entry_fields};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::NullBuffer;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// A collection that is stored as a map.
pub trait Mapping: State {
    /// What finds a value.
    type Key: Key;
    /// What is found.
    type Value: State;

    #[doc(hidden)]
    fn entries(&self) -> impl Iterator<Item = (&Self::Key, &Self::Value)>;
    #[doc(hidden)]
    fn collect(entries: impl Iterator<Item = (Self::Key, Self::Value)>) -> Self;
}

/// Builds a column of maps.
pub struct MapBuilder<M: Mapping> {
    ends: Vec<i32>,
    keys: <M::Key as State>::Builder,
    values: <M::Value as State>::Builder,
}

/// Reads a column of maps.
pub struct MapReader<M: Mapping> {
    rows: Rows,
    keys: <M::Key as State>::Reader,
    values: <M::Value as State>::Reader,
}

impl<M: Mapping> Default for MapBuilder<M> {
    fn default() -> Self {
        Self { ends: Vec::new(), keys: Default::default(), values: Default::default() }
    }
}

impl<M: Mapping> Build<M> for MapBuilder<M> {
    fn append(&mut self, value: &M) -> Result<(), Unstorable> {
        let mut entries: Vec<_> = value.entries().collect();
        let end = offset(self.keys.len(), entries.len(), "entries")?;
        entries.sort_by(|a, b| a.0.compare(b.0));
        for (key, value) in entries {
            self.keys.append(key).map_err(|error| error.inside("key"))?;
            self.values.append(value).map_err(|error| error.inside("value"))?;
        }
        self.ends.push(end);
        Ok(())
    }

    fn append_absent(&mut self) {
        self.ends.push(self.ends.last().copied().unwrap_or_default());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn size_hint_bytes(&self) -> usize {
        LEAF_BYTES * self.ends.len() + self.keys.size_hint_bytes() + self.values.size_hint_bytes()
    }

    fn finish(&mut self, validity: Option<NullBuffer>) -> ArrayRef {
        let (keys, values) = (self.keys.finish(None), self.values.finish(None));
        let fields = entry_fields(&M::Key::data_type(), &M::Value::data_type());
        let entries = StructArray::new(fields, vec![keys, values], None);
        let offsets = take_offsets(&mut self.ends);
        if M::Key::NULLABLE {
            let field = entries_field(ELEMENT, entries.data_type().clone());
            Arc::new(ListArray::new(field, offsets, Arc::new(entries), validity))
        } else {
            let field = entries_field(ENTRIES, entries.data_type().clone());
            Arc::new(MapArray::new(field, offsets, entries, validity, false))
        }
    }
}

impl<M: Mapping> Read<M> for MapReader<M> {
    fn open(array: &ArrayRef, present: Option<&NullBuffer>) -> Result<Self, ColumnMismatch> {
        let other = || other_layout::<M>(array);
        let (offsets, entries) = if M::Key::NULLABLE {
            let list = array.as_list_opt::<i32>().ok_or_else(other)?;
            (list.offsets(), Arc::clone(list.values()))
        } else {
            let map = array.as_map_opt().ok_or_else(other)?;
            (map.offsets(), Arc::new(map.entries().clone()) as ArrayRef)
        };
        check_nulls::<M>(array, present)?;
        let rows = Rows(offsets.clone());
        let (entries, present) = rows.open(&entries, present);
        check_nulls::<M>(&entries, present.as_ref())?;
        let columns = entries.as_struct_opt().map(StructArray::columns).unwrap_or_default();
        let [keys, values] = columns else { return Err(other()) };
        let keys = <M::Key as State>::Reader::open(keys, present.as_ref()).map_err(|m| m.inside("key"))?;
        let values =
            <M::Value as State>::Reader::open(values, present.as_ref()).map_err(|m| m.inside("value"))?;
        Ok(Self { rows, keys, values })
    }

    fn read(&self, row: usize) -> M {
        M::collect(self.rows.range(row).map(|entry| (self.keys.read(entry), self.values.read(entry))))
    }
}

impl<K: Key + Ord, V: State> Mapping for BTreeMap<K, V> {
    type Key = K;
    type Value = V;

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.iter()
    }

    fn collect(entries: impl Iterator<Item = (K, V)>) -> Self {
        entries.collect()
    }
}

impl<K: Key + Hash, V: State, S: BuildHasher + Default + 'static> Mapping for HashMap<K, V, S> {
    type Key = K;
    type Value = V;

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.iter()
    }

    fn collect(entries: impl Iterator<Item = (K, V)>) -> Self {
        entries.collect()
    }
}

impl<K: Key + Ord, V: State> State for BTreeMap<K, V> {
    type Builder = MapBuilder<Self>;
    type Reader = MapReader<Self>;

    fn data_type() -> DataType {
        DataType::Map(Box::new(K::data_type()), Box::new(V::data_type()))
    }
}

impl<K: Key + Hash, V: State, S: BuildHasher + Default + 'static> State for HashMap<K, V, S> {
    type Builder = MapBuilder<Self>;
    type Reader = MapReader<Self>;

    fn data_type() -> DataType {
        DataType::Map(Box::new(K::data_type()), Box::new(V::data_type()))
    }
}
