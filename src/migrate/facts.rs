//! What is known of the stored values of a state: from the statistics of its files where they suffice, else from the
//! values themselves. Only asked where a change is allowed to no type as a whole (clause EV-11).

use crate::error::Result;
use crate::model::{DataType, Fact, Facts, Step, Value, arrow_type, value_at};
use crate::savepoint::StateView;
use arrow::datatypes::DataType as ArrowType;

/// The values of a state that are stored with one of its schemas.
#[derive(Clone, Copy, Debug)]
pub struct StoredFacts<'a> {
    state: StateView<'a>,
    schema: usize,
}

impl<'a> StoredFacts<'a> {
    /// Takes the values of a state that have the schema with this position in its entry.
    pub fn new(state: StateView<'a>, schema: usize) -> Self {
        Self { state, schema }
    }

    fn data_type(&self) -> &'a DataType {
        &self.state.entry().schemas[self.schema].data_type
    }

    /// Asks the statistics of the files; they count values that newer layers cover, too, which only errs on the safe side.
    fn by_statistics(&self, place: &[Step]) -> Option<Fact> {
        let (data_type, leaf) = leaf_at(self.data_type(), place)?;
        let key = self.state.entry().key.as_ref().map_or(0, |key| leaves(&arrow_type(key)));
        // Before the value there are the key group and the key, or the index of a list.
        let leaf = 1 + key + leaf;
        let is_signed = matches!(data_type, DataType::I8 | DataType::I16 | DataType::I32 | DataType::I64);
        let is_number =
            is_signed || matches!(data_type, DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64);
        let mut fact = Fact { range: None, absent: Some(0), present: None };
        for file in self.state.entry().files.iter().filter(|file| file.schema == self.schema && file.rows > 0)
        {
            let file = self.state.savepoint().state_file(self.state.entry(), file).ok()?;
            for group in 0..file.row_groups().len() {
                let (range, nulls) = file.bounds(group, leaf, is_signed)?;
                // Nulls of outer levels are among them: only none at all proves anything.
                fact.absent = fact.absent.filter(|_| nulls == Some(0));
                if is_number {
                    let (min, max) = range?;
                    let (least, greatest) = fact.range.unwrap_or((min, max));
                    fact.range = Some((least.min(min), greatest.max(max)));
                }
            }
        }
        Some(fact)
    }

    /// Reads all values.
    fn by_values(&self, place: &[Step]) -> Result<Fact> {
        let (mut absent, mut present, mut range) = (0, 0, None);
        let data_type = self.data_type();
        for batch in self.state.scan().columns(["value"]) {
            let batch = batch?;
            let values = match batch.batch.column_by_name("value") {
                Some(values) if batch.schema == self.schema => values,
                _ => continue,
            };
            for row in 0..values.len() {
                // What cannot be read is found and named when it is wanted; here it only proves nothing.
                let Ok(value) = value_at(values, data_type, row) else {
                    return Ok(Fact { range: None, absent: None, present: None });
                };
                visit(&value, data_type, place, &mut |value| match value {
                    Value::Option(None) => absent += 1,
                    Value::Int(number) => {
                        present += 1;
                        range = Some(wider(range, *number));
                    }
                    Value::Uint(number) => {
                        present += 1;
                        range = Some(wider(range, i128::try_from(*number).unwrap_or(i128::MAX)));
                    }
                    _ => present += 1,
                });
            }
        }
        Ok(Fact { range, absent: Some(absent), present: Some(present) })
    }
}

fn wider(range: Option<(i128, i128)>, number: i128) -> (i128, i128) {
    range.map_or((number, number), |(least, greatest)| (least.min(number), greatest.max(number)))
}

impl Facts for StoredFacts<'_> {
    fn at(&self, place: &[Step]) -> Option<Fact> {
        let proves = |fact: &Fact| fact.range.is_some() || fact.absent == Some(0);
        self.by_statistics(place).filter(proves).or_else(|| self.by_values(place).ok())
    }
}

/// Calls `found` with everything in a value that is at a place.
fn visit(value: &Value, data_type: &DataType, place: &[Step], found: &mut dyn FnMut(&Value)) {
    let Some((step, rest)) = place.split_first() else { return found(value) };
    match (step, value, data_type) {
        (Step::Inside, Value::Option(Some(value)), DataType::Option(inner)) => {
            visit(value, inner, rest, found)
        }
        (Step::Inside, Value::List(values), DataType::List(inner) | DataType::Set(inner)) => {
            values.iter().for_each(|value| visit(value, inner, rest, found));
        }
        (Step::Key, Value::Map(entries), DataType::Map(key, _)) => {
            entries.iter().for_each(|(value, _)| visit(value, key, rest, found));
        }
        (Step::Value, Value::Map(entries), DataType::Map(_, inner)) => {
            entries.iter().for_each(|(_, value)| visit(value, inner, rest, found));
        }
        (Step::Part(index), Value::Tuple(parts), DataType::Tuple(types)) => {
            if let (Some(value), Some(inner)) = (parts.get(*index), types.get(*index)) {
                visit(value, inner, rest, found);
            }
        }
        (Step::Part(index), Value::Struct(parts), DataType::Struct(fields)) => {
            if let (Some((_, value)), Some(field)) = (parts.get(*index), fields.get(*index)) {
                visit(value, &field.data_type, rest, found);
            }
        }
        (Step::Variant(index), Value::Enum(name, Some(value)), DataType::Enum(variants)) => {
            if let Some(variant) = variants.get(*index).filter(|variant| variant.name == *name)
                && let Some(payload) = &variant.payload
            {
                visit(value, payload, rest, found);
            }
        }
        _ => {}
    }
}

/// Returns the type at a place, and the position of its first leaf among those of the whole.
fn leaf_at<'t>(data_type: &'t DataType, place: &[Step]) -> Option<(&'t DataType, usize)> {
    let Some((step, rest)) = place.split_first() else {
        // Of an optional value, the leaf that shows whether it is there.
        return match data_type {
            DataType::Option(inner) if leaves(&arrow_type(inner)) > 1 || inner.is_nullable() => None,
            other => Some((other, 0)),
        };
    };
    let before = |types: &mut dyn Iterator<Item = &DataType>| -> usize {
        types.map(|data_type| leaves(&arrow_type(data_type))).sum()
    };
    let (inner, first) = match (step, data_type) {
        (Step::Inside, DataType::Option(inner) | DataType::List(inner) | DataType::Set(inner)) => {
            (inner.as_ref(), 0)
        }
        (Step::Key, DataType::Map(key, _)) => (key.as_ref(), 0),
        (Step::Value, DataType::Map(key, value)) => (value.as_ref(), leaves(&arrow_type(key))),
        (Step::Part(index), DataType::Tuple(types)) => {
            (types.get(*index)?, before(&mut types.iter().take(*index)))
        }
        (Step::Part(index), DataType::Struct(fields)) => {
            let types = fields.iter().map(|field| &field.data_type);
            (&fields.get(*index)?.data_type, before(&mut types.take(*index)))
        }
        (Step::Variant(index), DataType::Enum(variants)) => {
            let types = variants.iter().take(*index).filter_map(|variant| variant.payload.as_ref());
            // Before the data of all variants there is the tag.
            (variants.get(*index)?.payload.as_ref()?, 1 + before(&mut types.into_iter()))
        }
        _ => return None,
    };
    let (data_type, leaf) = leaf_at(inner, rest)?;
    Some((data_type, first + leaf))
}

/// Counts the leaf columns of a type.
fn leaves(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        ArrowType::List(field) | ArrowType::Map(field, _) => leaves(field.data_type()),
        _ => 1,
    }
}
