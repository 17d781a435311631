//! How a new value is made of an old one: a tree that is built once for a schema, and carried out on whole columns.
//!
//! What is taken over as it lies is known as such, so that a rewrite can copy its encoded bytes.

use super::expr::{Expression, fit};
use crate::migrate::{assemble, entries_of, list_of, parts_of, project, repeated, unlike};
use crate::model::{
    ColumnMismatch, Conversion, DataType, Evolution, Field, Part as Rule, Value, Variant, array_of,
    arrow_type, leaf_count, value_at,
};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options, filter, take};
use std::ops::Range;
use std::sync::Arc;

/// A part of a new value, and how it is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// The part of the old value to which these positions in structs and tuples lead, as it lies.
    Old { path: Vec<usize>, data_type: DataType },
    /// The key of the row.
    Key { data_type: DataType },
    /// The same for all rows.
    Constant { value: Value, data_type: DataType },
    /// A struct put together.
    Struct(Vec<(Label, Part)>),
    /// A tuple put together.
    Tuple(Vec<Part>),
    /// An option, list, map or enum in which each value of a slot is made anew; `inner` sees that value as the old one.
    Inside { of: Box<Part>, slot: Slot, inner: Box<Part> },
    /// What the rules of evolution make of it.
    Rules { of: Box<Part>, evolution: Arc<Evolution> },
    /// A value of a narrower type, where it is one.
    Narrow { of: Box<Part>, to: DataType, otherwise: Option<Value> },
    /// An enum without one of its variants; values of it become another one.
    Without { of: Box<Part>, to: DataType, variant: String, becomes: Option<String> },
    /// What an expression makes of its inputs.
    Computed { expression: Arc<Expression>, inputs: Vec<Part>, to: DataType },
}

/// What a field is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) was: Option<String>,
    pub(super) default: Option<serde_json::Value>,
}

impl Label {
    pub(super) fn of(field: &Field) -> Self {
        Self { name: field.name.clone(), was: field.was.clone(), default: field.default.clone() }
    }

    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), was: None, default: None }
    }

    pub(super) fn identity(&self) -> &str {
        self.was.as_deref().unwrap_or(&self.name)
    }
}

/// Where values lie inside of others that are no structs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// The value of an option, where there is one.
    Present,
    /// The elements of a list.
    Element,
    /// The values of a map.
    MapValue,
    /// The data of an enum's variant.
    Variant(String),
}

/// Rows whose parts are made.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The old values.
    pub(super) values: &'a ArrayRef,
    /// The keys of keyed state, outside of lists and the like.
    pub(super) keys: Option<&'a ArrayRef>,
}

/// Why values could not be made.
#[derive(Debug)]
pub(super) enum Failure {
    /// This row's value does not go.
    Row { row: usize, reason: String },
    /// The columns are not those of the type.
    Columns(ColumnMismatch),
}

impl From<ColumnMismatch> for Failure {
    fn from(mismatch: ColumnMismatch) -> Self {
        Self::Columns(mismatch)
    }
}

type Made = Result<ArrayRef, Failure>;

impl Part {
    /// The old value itself.
    pub(super) fn whole(data_type: &DataType) -> Self {
        Self::Old { path: Vec::new(), data_type: data_type.clone() }
    }

    /// What the rules make of the old value: struct by struct, so that what they leave alone is known.
    pub(super) fn by_rules(evolution: &Evolution) -> Self {
        from_rules(&evolution.root, &evolution.stored, &evolution.wanted, Vec::new())
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Old { data_type, .. } | Self::Key { data_type } | Self::Constant { data_type, .. } => {
                data_type.clone()
            }
            Self::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(Label { name, was, default }, part)| Field {
                        name: name.clone(),
                        was: was.clone(),
                        default: default.clone(),
                        data_type: part.data_type(),
                        dropped: Vec::new(),
                    })
                    .collect(),
            ),
            Self::Tuple(parts) => DataType::Tuple(parts.iter().map(Self::data_type).collect()),
            Self::Inside { of, slot, inner } => slot.put(&of.data_type(), inner.data_type()),
            Self::Rules { evolution, .. } => evolution.wanted.clone(),
            Self::Narrow { to, .. } | Self::Without { to, .. } | Self::Computed { to, .. } => to.clone(),
        }
    }

    /// Makes the parts of all rows.
    pub(super) fn make(&self, scope: Scope<'_>) -> Made {
        let length = scope.values.len();
        match self {
            Self::Old { path, .. } => {
                let mut array = scope.values;
                for position in path {
                    let parts = array.as_struct_opt().filter(|parts| *position < parts.num_columns());
                    array = parts.ok_or_else(|| unlike(array, "Struct"))?.column(*position);
                }
                Ok(array.clone())
            }
            Self::Key { data_type } => match scope.keys {
                Some(keys) => Ok(keys.clone()),
                None => Err(ColumnMismatch::new("no keys", data_type.to_string()).into()),
            },
            Self::Constant { value, data_type } => {
                if let (Value::Option(None), DataType::Option(_)) = (value, data_type) {
                    return Ok(new_null_array(&arrow_type(data_type), length));
                }
                Ok(repeated(data_type, Some(&value.to_json()), length)?)
            }
            Self::Struct(fields) => {
                let made = fields.iter().map(|(_, part)| part.make(scope)).collect::<Result<_, _>>()?;
                Ok(assemble(&arrow_type(&self.data_type()), made, length, None)?)
            }
            Self::Tuple(parts) => {
                let made = parts.iter().map(|part| part.make(scope)).collect::<Result<_, _>>()?;
                Ok(assemble(&arrow_type(&self.data_type()), made, length, None)?)
            }
            Self::Inside { of, slot, inner } => {
                slot.make(&of.data_type(), &self.data_type(), inner, &of.make(scope)?)
            }
            Self::Rules { of, evolution } => Ok(project(evolution, &of.make(scope)?)?),
            Self::Narrow { of, to, otherwise } => {
                narrow(&of.data_type(), to, otherwise.as_ref(), &of.make(scope)?)
            }
            Self::Without { of, to, variant, becomes } => {
                without(&of.data_type(), to, variant, becomes.as_deref(), &of.make(scope)?)
            }
            Self::Computed { expression, inputs, to } => {
                let inputs = inputs.iter().map(|part| Ok((part.make(scope)?, part.data_type())));
                let inputs = inputs.collect::<Result<Vec<_>, Failure>>()?;
                let mut values = Vec::with_capacity(length);
                for row in 0..length {
                    let input = |number: usize| {
                        let (array, data_type) = &inputs[number];
                        value_at(array, data_type, row).map_err(|mismatch| mismatch.to_string())
                    };
                    let value = expression.run(&input).and_then(|value| fit(value, to));
                    values.push(value.map_err(|reason| Failure::Row { row, reason })?);
                }
                array_of(&values, to)
                    .map_err(|odd| ColumnMismatch::new(odd.to_string(), to.to_string()).into())
            }
        }
    }

    /// The columns of the part, in order.
    pub(super) fn columns(&self, stored: &DataType) -> Vec<Column<'_>> {
        let mut columns = Vec::new();
        self.add_columns(stored, &mut columns);
        columns
    }

    fn add_columns<'p>(&'p self, stored: &DataType, columns: &mut Vec<Column<'p>>) {
        match self {
            Self::Old { path, data_type } => {
                let start = first_leaf(stored, path);
                columns.push(Column::Copied(start..start + leaf_count(data_type)));
            }
            Self::Struct(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(_, part)| part.add_columns(stored, columns));
            }
            Self::Tuple(parts) if !parts.is_empty() => {
                parts.iter().for_each(|part| part.add_columns(stored, columns));
            }
            made => columns.push(Column::Made(made)),
        }
    }

    /// The old parts that must be read to make this one, as columns of the stored type.
    pub(super) fn needs(&self, stored: &DataType, needed: &mut Vec<Range<usize>>) {
        match self {
            Self::Old { path, data_type } => {
                let start = first_leaf(stored, path);
                needed.push(start..start + leaf_count(data_type));
            }
            Self::Key { .. } | Self::Constant { .. } => {}
            Self::Struct(fields) => fields.iter().for_each(|(_, part)| part.needs(stored, needed)),
            Self::Tuple(parts) => parts.iter().for_each(|part| part.needs(stored, needed)),
            Self::Inside { of, .. }
            | Self::Rules { of, .. }
            | Self::Narrow { of, .. }
            | Self::Without { of, .. } => {
                of.needs(stored, needed);
            }
            Self::Computed { inputs, .. } => inputs.iter().for_each(|part| part.needs(stored, needed)),
        }
    }

    /// Whether the key must be read to make it.
    pub(super) fn needs_key(&self) -> bool {
        match self {
            Self::Key { .. } => true,
            Self::Old { .. } | Self::Constant { .. } => false,
            Self::Struct(fields) => fields.iter().any(|(_, part)| part.needs_key()),
            Self::Tuple(parts) => parts.iter().any(Self::needs_key),
            Self::Inside { of, .. }
            | Self::Rules { of, .. }
            | Self::Narrow { of, .. }
            | Self::Without { of, .. } => of.needs_key(),
            Self::Computed { inputs, .. } => inputs.iter().any(Self::needs_key),
        }
    }

    /// The same part of old values of which only some columns are there: `kept` says which.
    pub(super) fn of_kept(&self, stored: &DataType, kept: &[bool]) -> Self {
        let inner = |part: &Self| part.of_kept(stored, kept);
        let boxed = |part: &Self| Box::new(inner(part));
        match self {
            Self::Old { path, data_type } => {
                Self::Old { path: path_of_kept(stored, path, kept), data_type: data_type.clone() }
            }
            Self::Key { .. } | Self::Constant { .. } => self.clone(),
            Self::Struct(fields) => {
                Self::Struct(fields.iter().map(|(label, part)| (label.clone(), inner(part))).collect())
            }
            Self::Tuple(parts) => Self::Tuple(parts.iter().map(inner).collect()),
            // What is inside sees the slot's value, which is there as a whole.
            Self::Inside { of, slot, inner } => {
                Self::Inside { of: boxed(of), slot: slot.clone(), inner: inner.clone() }
            }
            Self::Rules { of, evolution } => Self::Rules { of: boxed(of), evolution: evolution.clone() },
            Self::Narrow { of, to, otherwise } => {
                Self::Narrow { of: boxed(of), to: to.clone(), otherwise: otherwise.clone() }
            }
            Self::Without { of, to, variant, becomes } => Self::Without {
                of: boxed(of),
                to: to.clone(),
                variant: variant.clone(),
                becomes: becomes.clone(),
            },
            Self::Computed { expression, inputs, to } => Self::Computed {
                expression: expression.clone(),
                inputs: inputs.iter().map(inner).collect(),
                to: to.clone(),
            },
        }
    }
}

/// Columns of a new value.
#[derive(Debug)]
pub(super) enum Column<'p> {
    /// Columns of the old value, by their positions among its columns.
    Copied(Range<usize>),
    /// Columns that are made.
    Made(&'p Part),
}

/// The types of the fields of a struct, or of the parts of a tuple.
fn parts_in(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| &field.data_type).collect(),
        DataType::Tuple(parts) => parts.iter().collect(),
        _ => Vec::new(),
    }
}

/// A path in values of which only some columns are there: it leads by fewer neighbours.
fn path_of_kept(whole: &DataType, path: &[usize], kept: &[bool]) -> Vec<usize> {
    let (mut leaf, mut data_type, mut made) = (0, whole, Vec::with_capacity(path.len()));
    for position in path {
        let mut before = 0;
        let parts = parts_in(data_type);
        for part in parts.iter().take(*position) {
            let end = leaf + leaf_count(part);
            before += usize::from(kept[leaf..end].contains(&true));
            leaf = end;
        }
        made.push(before);
        match parts.get(*position) {
            Some(part) => data_type = part,
            None => return made,
        }
    }
    made
}

/// The first column of a part, among the columns of the whole.
fn first_leaf(whole: &DataType, path: &[usize]) -> usize {
    let (mut leaf, mut data_type) = (0, whole);
    for position in path {
        let parts = parts_in(data_type);
        leaf += parts.iter().take(*position).map(|part| leaf_count(part)).sum::<usize>();
        match parts.get(*position) {
            Some(part) => data_type = part,
            None => return leaf,
        }
    }
    leaf
}

fn from_rules(how: &Conversion, stored: &DataType, wanted: &DataType, path: Vec<usize>) -> Part {
    let old = |path: Vec<usize>| Part::Old { path, data_type: stored.clone() };
    let below = |position: usize| [path.as_slice(), &[position]].concat();
    match (how, stored, wanted) {
        // Names and defaults are those of the wanted type; the columns are the same.
        (Conversion::Keep, ..) => Part::Old { path, data_type: wanted.clone() },
        (Conversion::Parts(parts), DataType::Struct(a), DataType::Struct(b)) if !a.is_empty() => {
            let field = |(rule, field): (&Rule, &Field)| {
                let part = match rule {
                    Rule::Stored(index, how) => {
                        from_rules(how, &a[*index].data_type, &field.data_type, below(*index))
                    }
                    Rule::Default => {
                        let default = field.default.clone().unwrap_or_default();
                        let value = Value::from_json(&default, &field.data_type).unwrap_or(Value::Unit);
                        Part::Constant { value, data_type: field.data_type.clone() }
                    }
                    Rule::None => {
                        Part::Constant { value: Value::Option(None), data_type: field.data_type.clone() }
                    }
                };
                (Label::of(field), part)
            };
            Part::Struct(parts.iter().zip(b).map(field).collect())
        }
        (Conversion::Parts(parts), DataType::Tuple(a), DataType::Tuple(b)) if !a.is_empty() => {
            let part = |(rule, wanted): (&Rule, &DataType)| match rule {
                Rule::Stored(index, how) => from_rules(how, &a[*index], wanted, below(*index)),
                _ => Part::Constant { value: Value::Option(None), data_type: wanted.clone() },
            };
            Part::Tuple(parts.iter().zip(b).map(part).collect())
        }
        _ => Part::Rules {
            of: Box::new(old(path)),
            evolution: Arc::new(Evolution {
                stored: stored.clone(),
                wanted: wanted.clone(),
                root: how.clone(),
                changes: Vec::new(),
            }),
        },
    }
}

impl Slot {
    /// The type of what lies in the slot of a value of this type.
    pub(super) fn take(&self, whole: &DataType) -> Option<DataType> {
        Some(match (self, whole) {
            (Self::Present, DataType::Option(inner)) | (Self::Element, DataType::List(inner)) => {
                (**inner).clone()
            }
            (Self::MapValue, DataType::Map(_, value)) => (**value).clone(),
            (Self::Variant(name), DataType::Enum(variants)) => {
                variants.iter().find(|v| v.name == *name)?.payload.clone()?
            }
            _ => return None,
        })
    }

    /// The type with another one in the slot.
    fn put(&self, whole: &DataType, new: DataType) -> DataType {
        let boxed = Box::new(new);
        match (self, whole) {
            (Self::Present, _) => DataType::Option(boxed),
            (Self::Element, _) => DataType::List(boxed),
            (Self::MapValue, DataType::Map(key, _)) => DataType::Map(key.clone(), boxed),
            (Self::Variant(name), DataType::Enum(variants)) => {
                let with = |v: &Variant| {
                    if v.name == *name {
                        Variant { payload: Some((*boxed).clone()), ..v.clone() }
                    } else {
                        v.clone()
                    }
                };
                DataType::Enum(variants.iter().map(with).collect())
            }
            (_, other) => other.clone(),
        }
    }

    fn make(&self, old: &DataType, new: &DataType, inner: &Part, array: &ArrayRef) -> Made {
        match (self, old) {
            (Self::Present, DataType::Option(was)) => {
                let outer = if was.is_nullable() { parts_of(array, 1)?.column(0) } else { array };
                let made = some_rows(inner, outer, array.nulls())?;
                // Values without nulls of their own lie in the column itself, others in a struct around it.
                match new {
                    DataType::Option(now) if now.is_nullable() => {
                        Ok(assemble(&arrow_type(new), vec![made], array.len(), array.nulls().cloned())?)
                    }
                    _ => Ok(made),
                }
            }
            (Self::Element, _) => {
                let list = array.as_list_opt::<i32>().ok_or_else(|| unlike(array, "List"))?;
                let (offsets, range) = rebased(list.offsets());
                let made = all_rows(inner, &list.values().slice(range.start, range.len()), &offsets)?;
                Ok(list_of(new, &offsets, list.nulls(), |_| Ok(made))?)
            }
            (Self::MapValue, _) => {
                let (offsets, entries, nulls) = entries_of(array)?;
                let (offsets, range) = rebased(offsets);
                let [keys, values] = [0, 1].map(|i| entries.column(i).slice(range.start, range.len()));
                let made = all_rows(inner, &values, &offsets)?;
                Ok(list_of(new, &offsets, nulls, |field| {
                    assemble(field.data_type(), vec![keys, made], range.len(), None)
                })?)
            }
            (Self::Variant(name), DataType::Enum(variants)) => {
                let mut with_data = variants.iter().filter(|v| v.payload.is_some());
                let position = with_data.position(|v| v.name == *name).unwrap_or_default() + 1;
                let payloads = variants.iter().filter(|v| v.payload.is_some()).count();
                let parts = parts_of(array, payloads + 1)?;
                let column = parts.column(position);
                let was = self.take(old).unwrap_or(DataType::Unit);
                let data = if was.is_nullable() { parts_of(column, 1)?.column(0) } else { column };
                let mut made = some_rows(inner, data, column.nulls())?;
                let wanted = arrow_type(new);
                if inner.data_type().is_nullable() {
                    let arrow::datatypes::DataType::Struct(fields) = &wanted else {
                        return Err(unlike(array, "Struct").into());
                    };
                    let field = fields[position].data_type();
                    made = assemble(field, vec![made], column.len(), column.nulls().cloned())?;
                }
                let mut columns = parts.columns().to_vec();
                columns[position] = made;
                Ok(assemble(&wanted, columns, array.len(), array.nulls().cloned())?)
            }
            _ => Err(unlike(array, &old.to_string()).into()),
        }
    }
}

/// Offsets that begin at 0, and the range that they had.
fn rebased(offsets: &OffsetBuffer<i32>) -> (OffsetBuffer<i32>, Range<usize>) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let rebased: ScalarBuffer<i32> = offsets.iter().map(|offset| offset - first).collect();
    (OffsetBuffer::new(rebased), first as usize..last as usize)
}

/// Makes the values of elements; a failure is that of the row whose element it is.
fn all_rows(inner: &Part, values: &ArrayRef, offsets: &OffsetBuffer<i32>) -> Made {
    inner.make(Scope { values, keys: None }).map_err(|failure| match failure {
        Failure::Row { row, reason } => {
            let outer = offsets.partition_point(|offset| *offset as usize <= row).saturating_sub(1);
            Failure::Row { row: outer, reason }
        }
        other => other,
    })
}

/// Makes the values of the rows that have one; the others stay absent.
fn some_rows(inner: &Part, values: &ArrayRef, nulls: Option<&NullBuffer>) -> Made {
    let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
        return inner.make(Scope { values, keys: None });
    };
    let broken = |error: arrow::error::ArrowError| ColumnMismatch::new(error.to_string(), "rows");
    let valid = BooleanArray::new(nulls.inner().clone(), None);
    let present = filter(values, &valid).map_err(broken)?;
    let rows: Vec<usize> = nulls.valid_indices().collect();
    let made = inner.make(Scope { values: &present, keys: None }).map_err(|failure| match failure {
        Failure::Row { row, reason } => Failure::Row { row: rows[row], reason },
        other => other,
    })?;
    let mut places = vec![None; values.len()];
    for (place, row) in rows.into_iter().enumerate() {
        places[row] = Some(place as u32);
    }
    Ok(take(&made, &UInt32Array::from(places), None).map_err(broken)?)
}

fn narrow(from: &DataType, to: &DataType, otherwise: Option<&Value>, array: &ArrayRef) -> Made {
    let is_integer = |t: &arrow::datatypes::DataType| t.is_integer();
    let wanted = arrow_type(to);
    // All integers fit, or none is absent: seen at a glance.
    let fast = match (from, to) {
        (DataType::Option(inner), to) if **inner == *to && !to.is_nullable() => Some(array.clone()),
        _ if is_integer(array.data_type()) && is_integer(&wanted) => {
            cast_with_options(array, &wanted, &CastOptions { safe: true, ..CastOptions::default() }).ok()
        }
        _ => None,
    };
    let nulls = if to.is_nullable() { array.null_count() } else { 0 };
    if let Some(fast) = fast.filter(|fast| fast.null_count() == nulls) {
        return Ok(fast);
    }
    let mut values = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let value = value_at(array, from, row)?;
        match (fit(value, to), otherwise) {
            (Ok(value), _) => values.push(value),
            (Err(_), Some(otherwise)) => values.push(otherwise.clone()),
            (Err(reason), None) => return Err(Failure::Row { row, reason }),
        }
    }
    array_of(&values, to).map_err(|odd| ColumnMismatch::new(odd.to_string(), to.to_string()).into())
}

fn without(from: &DataType, to: &DataType, variant: &str, becomes: Option<&str>, array: &ArrayRef) -> Made {
    let DataType::Enum(variants) = from else { return Err(unlike(array, "an enum").into()) };
    let (tags, columns) = if from.is_plain_enum() {
        (array, &[] as &[ArrayRef])
    } else {
        let columns = array.as_struct_opt().ok_or_else(|| unlike(array, "Struct"))?.columns();
        (&columns[0], &columns[1..])
    };
    let tags = tags.as_string_opt::<i32>().ok_or_else(|| unlike(tags, "Utf8"))?;
    let mut made = Vec::with_capacity(tags.len());
    for (row, tag) in tags.iter().enumerate() {
        match tag {
            Some(tag) if tag == variant && !array.is_null(row) => match becomes {
                Some(other) => made.push(Some(other)),
                None => {
                    let reason = format!("it is of the variant {variant}, which is dropped");
                    return Err(Failure::Row { row, reason });
                }
            },
            other => made.push(other),
        }
    }
    let tags: ArrayRef = Arc::new(StringArray::from(made));
    if to.is_plain_enum() {
        return Ok(tags);
    }
    let with_data = variants.iter().filter(|v| v.payload.is_some()).zip(columns);
    let kept = with_data.filter(|(v, _)| v.name != variant).map(|(_, column)| column.clone());
    let children = [tags].into_iter().chain(kept).collect();
    Ok(assemble(&arrow_type(to), children, array.len(), array.nulls().cloned())?)
}
