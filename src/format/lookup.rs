//! Finding one key in a state file by its page index, without reading the rest.
//!
//! The key group leads to a run of pages; inside of it the keys are sorted, so their bounds in the page index
//! leave one page for most types of keys. What remains is decoded and searched.

use super::key_column::KeyColumn;
use super::parquet_open::ParquetFile;
use super::parquet_read::Wanted;
use crate::error::Result;
use crate::model::{DataType, KeyGroup, KeyGroupRange};
use arrow::array::{AsArray, RecordBatch, UInt16Array};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use std::cmp::Ordering;
use std::ops::Range;

/// A key's first column, as it compares with the bounds in a page index.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    Signed(i64),
    Unsigned(u64),
    Bytes(Vec<u8>),
}

/// A key as it is looked for: its key group and its canonical encoding. In the order of the rows.
pub(crate) type SoughtKey = (KeyGroup, Vec<u8>);

impl ParquetFile {
    /// Finds the row group and the row in it that hold a key, given in its canonical encoding.
    pub(crate) fn find(&self, group: KeyGroup, encoded: &[u8]) -> Result<Option<(usize, usize)>> {
        let key = [(group, encoded.to_vec())];
        for index in 0..self.groups.len() {
            if let Some(row) = self.rows_of_keys(index, &key)?.first() {
                return Ok(Some((index, *row)));
            }
        }
        Ok(None)
    }

    /// Returns the rows of a row group that hold keys, which are given in order, each once.
    ///
    /// Of the columns of key groups and keys, only pages that may hold one of the keys are read, each once.
    pub(crate) fn rows_of_keys(&self, index: usize, keys: &[SoughtKey]) -> Result<Vec<usize>> {
        let (Some(key_type), Some(span)) = (&self.columns.key, self.groups[index].key_groups) else {
            return Ok(Vec::new());
        };
        let first = keys.partition_point(|(group, _)| *group < span.first());
        let mut found = Vec::new();
        let mut page: Option<(Range<usize>, RecordBatch)> = None;
        for (group, encoded) in keys[first..].iter().take_while(|(group, _)| *group <= span.last()) {
            let probe = Probe::of(key_type, encoded);
            for rows in self.candidates(index, *group, probe.as_ref())? {
                let batch = match &page {
                    Some((last, batch)) if *last == rows => batch,
                    _ => &page.insert((rows.clone(), self.read_rows(index, rows.clone(), Wanted::Keys)?)).1,
                };
                if let Some(row) = self.search(batch, key_type, *group, encoded)? {
                    found.push(rows.start + row);
                    break;
                }
            }
        }
        // Rows that are not in the order that the format wants must not confuse whoever reads them.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Returns the rows of a row group whose key groups lie in a range.
    pub(crate) fn rows_of_key_groups(&self, index: usize, wanted: KeyGroupRange) -> Result<Range<usize>> {
        let rows = self.groups[index].rows;
        match self.groups[index].key_groups {
            None => return Ok(0..0),
            Some(span) if span.intersection(wanted).is_none() => return Ok(0..0),
            Some(span) if span.intersection(wanted) == Some(span) => return Ok(0..rows),
            Some(_) => {}
        }
        // Before these pages all key groups are lower, behind them all are higher.
        let (pages, _) = self.pages_of_key_groups(index, wanted)?;
        if pages.is_empty() {
            return Ok(0..0);
        }
        let batch = self.read_rows(index, pages.clone(), Wanted::Leaves(&[0]))?;
        let groups: &UInt16Array = batch.column(0).as_primitive();
        let before = |bound: u16| groups.values().partition_point(|group| *group < bound);
        let (start, end) = (before(wanted.first().index()), before(wanted.last().index() + 1));
        Ok(pages.start + start..pages.start + end.max(start))
    }

    /// Returns the rows of the pages of the first column that hold some of the key groups, and of those that hold
    /// no others.
    fn pages_of_key_groups(
        &self,
        index: usize,
        wanted: KeyGroupRange,
    ) -> Result<(Range<usize>, Range<usize>)> {
        let total = self.groups[index].rows;
        let (mut all, mut pure) = (total..0, total..0);
        let page_index = self.metadata.metadata().page_index();
        let bounds = page_index.and_then(|pages| pages.column_index(index, 0));
        for (page, rows) in self.rows_of_pages(index, 0)?.enumerate() {
            let (least, most) = match bounds {
                Some(ColumnIndexMetaData::INT32(bounds)) => {
                    (value(bounds.min_values(), page), value(bounds.max_values(), page))
                }
                _ => (None, None),
            };
            let (first, last) = (i32::from(wanted.first().index()), i32::from(wanted.last().index()));
            if least.is_some_and(|least| least > last) || most.is_some_and(|most| most < first) {
                continue;
            }
            all = all.start.min(rows.start)..all.end.max(rows.end);
            if least.is_some_and(|least| least >= first) && most.is_some_and(|most| most <= last) {
                pure = pure.start.min(rows.start)..pure.end.max(rows.end);
            }
        }
        Ok((all, pure))
    }

    /// Returns the rows of each page of the column of a row group that has the most pages.
    pub(crate) fn page_rows(&self, index: usize) -> Result<Vec<Range<usize>>> {
        let mut most = Vec::new();
        for leaf in 0..self.leaf_count() {
            if self.pages(index, leaf)?.len() > most.len() {
                most = self.rows_of_pages(index, leaf)?.collect();
            }
        }
        Ok(most)
    }

    /// Returns the rows of each page of a column chunk.
    fn rows_of_pages(&self, index: usize, leaf: usize) -> Result<impl Iterator<Item = Range<usize>>> {
        let starts = self.pages(index, leaf)?.iter().map(|page| page.first_row_index as usize);
        Ok(starts.clone().zip(starts.skip(1).chain([self.groups[index].rows])).map(|(start, end)| start..end))
    }

    /// Returns the rows of a row group, by whole pages of its key column, that may hold the key.
    fn candidates(&self, index: usize, group: KeyGroup, probe: Option<&Probe>) -> Result<Vec<Range<usize>>> {
        let page_index = self.metadata.metadata().page_index();
        let (all, pure) = self.pages_of_key_groups(index, KeyGroupRange::one(group))?;
        let key_bounds = probe.zip(page_index.and_then(|pages| pages.column_index(index, 1)));
        let may_hold = |(page, rows): &(usize, Range<usize>)| {
            let is_pure = pure.start <= rows.start && rows.end <= pure.end;
            rows.start < all.end
                && all.start < rows.end
                && !(is_pure && key_bounds.is_some_and(|(probe, bounds)| probe.is_outside(bounds, *page)))
        };
        Ok(self.rows_of_pages(index, 1)?.enumerate().filter(may_hold).map(|(_, rows)| rows).collect())
    }

    /// Searches a batch of key groups and keys, which are sorted.
    fn search(
        &self,
        batch: &RecordBatch,
        key: &DataType,
        group: KeyGroup,
        encoded: &[u8],
    ) -> Result<Option<usize>> {
        let groups: &UInt16Array = batch.column(0).as_primitive();
        let keys = KeyColumn::new(batch.column(1), key);
        let (mut low, mut high) = (0, batch.num_rows());
        let mut found = Vec::new();
        while low < high {
            let middle = low + (high - low) / 2;
            found.clear();
            keys.encode(middle, &mut found).map_err(|error| self.damage(error.found, error.wanted))?;
            match (groups.value(middle), found.as_slice()).cmp(&(group.index(), encoded)) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(middle)),
            }
        }
        Ok(None)
    }
}

fn value<T: Copy>(values: &[T], page: usize) -> Option<T> {
    values.get(page).copied()
}

impl Probe {
    /// Takes the first column out of an encoded key, for the types whose columns sort as their encodings do.
    fn of(key: &DataType, encoded: &[u8]) -> Option<Self> {
        let unsigned = |length: usize| {
            let bytes = encoded.get(..length)?;
            Some(bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
        };
        // The sign bit is flipped in the encoding.
        let signed = |length: usize| {
            let flipped = unsigned(length)?;
            Some(Self::Signed((flipped as i64).wrapping_sub(1_i64.wrapping_shl(8 * length as u32 - 1))))
        };
        match key {
            DataType::U8 => unsigned(1).map(Self::Unsigned),
            DataType::U16 => unsigned(2).map(Self::Unsigned),
            DataType::U32 => unsigned(4).map(Self::Unsigned),
            DataType::U64 => unsigned(8).map(Self::Unsigned),
            DataType::I8 => signed(1),
            DataType::I16 => signed(2),
            DataType::I32 | DataType::Date => signed(4),
            DataType::I64
            | DataType::Timestamp
            | DataType::TimestampNs
            | DataType::LocalDateTime
            | DataType::LocalDateTimeNs
            | DataType::Time => signed(8),
            DataType::U128 | DataType::I128 | DataType::Uuid => {
                Some(Self::Bytes(encoded.get(..16)?.to_vec()))
            }
            DataType::FixedBytes(length) => Some(Self::Bytes(encoded.get(..*length as usize)?.to_vec())),
            DataType::String | DataType::Bytes => text(encoded).map(Self::Bytes),
            DataType::Tuple(parts) => Self::of(parts.first()?, encoded),
            DataType::Struct(fields) => Self::of(&fields.first()?.data_type, encoded),
            _ => None,
        }
    }

    /// Says whether the bounds of a page leave no place for the key. Bounds may be cut, and then lie further out.
    fn is_outside(&self, bounds: &ColumnIndexMetaData, page: usize) -> bool {
        let outside = |least: Ordering, most: Ordering| least == Ordering::Less || most == Ordering::Greater;
        match (self, bounds) {
            (Self::Signed(key), ColumnIndexMetaData::INT32(bounds)) => {
                let bounds = value(bounds.min_values(), page).zip(value(bounds.max_values(), page));
                bounds.is_some_and(|(min, max)| outside(key.cmp(&min.into()), key.cmp(&max.into())))
            }
            (Self::Signed(key), ColumnIndexMetaData::INT64(bounds)) => {
                let bounds = value(bounds.min_values(), page).zip(value(bounds.max_values(), page));
                bounds.is_some_and(|(min, max)| outside(key.cmp(&min), key.cmp(&max)))
            }
            (Self::Unsigned(key), ColumnIndexMetaData::INT32(bounds)) => {
                let bounds = value(bounds.min_values(), page).zip(value(bounds.max_values(), page));
                let of = |bound: i32| u64::from(bound.cast_unsigned());
                bounds.is_some_and(|(min, max)| outside(key.cmp(&of(min)), key.cmp(&of(max))))
            }
            (Self::Unsigned(key), ColumnIndexMetaData::INT64(bounds)) => {
                let bounds = value(bounds.min_values(), page).zip(value(bounds.max_values(), page));
                bounds.is_some_and(|(min, max)| {
                    outside(key.cmp(&min.cast_unsigned()), key.cmp(&max.cast_unsigned()))
                })
            }
            (Self::Bytes(key), ColumnIndexMetaData::BYTE_ARRAY(bounds)) => {
                let is_there = (page as u64) < bounds.num_pages();
                let bounds = is_there.then(|| bounds.min_value(page).zip(bounds.max_value(page))).flatten();
                bounds.is_some_and(|(min, max)| outside(key.as_slice().cmp(min), key.as_slice().cmp(max)))
            }
            (Self::Bytes(key), ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(bounds)) => {
                let is_there = (page as u64) < bounds.num_pages();
                let bounds = is_there.then(|| bounds.min_value(page).zip(bounds.max_value(page))).flatten();
                bounds.is_some_and(|(min, max)| outside(key.as_slice().cmp(min), key.as_slice().cmp(max)))
            }
            _ => false,
        }
    }
}

/// Takes text or bytes out of the front of an encoding: up to two zero bytes, with 0 FF for each zero inside.
fn text(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = encoded.iter().copied();
    loop {
        match bytes.next()? {
            0 => match bytes.next()? {
                0 => return Some(out),
                _ => out.push(0),
            },
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Value, encode_value};

    fn probe(value: &Value, data_type: &DataType) -> Option<Probe> {
        let mut encoded = Vec::new();
        encode_value(value, data_type, &mut encoded).unwrap();
        Probe::of(data_type, &encoded)
    }

    #[test]
    fn a_key_whose_columns_do_not_sort_alone_gives_no_probe() {
        let option = DataType::Option(Box::new(DataType::U8));
        assert_eq!(probe(&Value::Option(None), &option), None);
        assert_eq!(Probe::of(&DataType::U64, &[1, 2]), None);
        assert_eq!(Probe::of(&DataType::String, b"abc"), None);
    }

    #[test]
    fn a_probe_is_the_first_column_of_the_key() {
        assert_eq!(probe(&Value::Int(-2), &DataType::I16), Some(Probe::Signed(-2)));
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(probe(&Value::Int(number.into()), &DataType::I64), Some(Probe::Signed(number)));
        }
        assert_eq!(probe(&Value::Uint(u64::MAX.into()), &DataType::U64), Some(Probe::Unsigned(u64::MAX)));
        let pair = DataType::Tuple(vec![DataType::String, DataType::U8]);
        let key = Value::Tuple(vec![Value::String("a\0b".to_owned()), Value::Uint(7)]);
        assert_eq!(probe(&key, &pair), Some(Probe::Bytes(b"a\0b".to_vec())));
    }
}
