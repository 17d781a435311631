//! The steps that a migration file can take, each applied to the tree of how a value is made.

use super::expr::{Expression, Kind, Names, Problem as ExpressionProblem, Syntax, check_fits};
use super::part::{Failure, Label, Part, Scope as PartScope, Slot};
use super::path::{Path, Way, shown};
use crate::migrate::{MapFailure, MapValues, Mapped};
use crate::model::{DataType, Value, Variant, column_id, evolve};
use arrow::array::ArrayRef;
use serde_json::Value as Json;
use std::sync::Arc;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A field or variant gets another name.
    Rename { path: Path, to: String, is_new: bool },
    /// A field or variant goes.
    Drop { path: Path, becomes: Option<String> },
    /// A field or variant comes.
    Add { path: Path, data_type: Option<DataType>, how: How },
    /// A value gets a type that holds each of its values.
    Widen { path: Path, to: DataType },
    /// A value gets a type that holds some of its values.
    Narrow { path: Path, to: DataType, otherwise: Option<Json> },
    /// A field goes to another struct.
    Move { path: Path, to: Path },
    /// A value is computed anew.
    Set { path: Path, data_type: Option<DataType>, from: Syntax },
}

/// How a field that is added gets its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum How {
    /// It is none.
    Absent,
    /// It is the same everywhere.
    Value(Json),
    /// It is computed.
    From(Syntax),
}

/// Why a step cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) text: String,
    /// Where in the expression of the step, in bytes.
    pub(super) at: Option<usize>,
    pub(super) hint: Option<String>,
}

impl Problem {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), at: None, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ExpressionProblem> for Problem {
    fn from(problem: ExpressionProblem) -> Self {
        Self { text: problem.text, at: Some(problem.at), hint: None }
    }
}

type Done<T = ()> = Result<T, Problem>;

/// How values of one schema are made anew, as far as steps have been taken.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) part: Part,
    key: Option<DataType>,
    /// What the steps change, for people.
    pub(super) changes: Vec<String>,
}

impl Recipe {
    pub(super) fn new(part: Part, key: Option<&DataType>) -> Self {
        Self { part, key: key.cloned(), changes: Vec::new() }
    }

    /// Whether values stay as they are, and only get another schema version.
    pub(super) fn changes_nothing(&self) -> bool {
        matches!(&self.part, Part::Old { path, .. } if path.is_empty())
    }

    /// Takes a step.
    ///
    /// # Errors
    ///
    /// Why it cannot be taken; the recipe is of no use then.
    pub(super) fn take(&mut self, step: &Step) -> Done {
        let change = match step {
            Step::Rename { path, to, is_new } => self.rename(path, to, *is_new)?,
            Step::Drop { path, becomes } => self.drop(path, becomes.as_deref())?,
            Step::Add { path, data_type, how } => self.add(path, data_type.as_ref(), how)?,
            Step::Widen { path, to } => self.widen(path, to)?,
            Step::Narrow { path, to, otherwise } => self.narrow(path, to, otherwise.as_ref())?,
            Step::Move { path, to } => self.move_field(path, to)?,
            Step::Set { path, data_type, from } => self.set(path, data_type.as_ref(), from)?,
        };
        self.changes.push(change);
        Ok(())
    }

    fn rename(&mut self, path: &Path, to: &str, is_new: bool) -> Done<String> {
        let (before, name) = self.field_of(path)?;
        if to.is_empty() {
            return Err(Problem::new("found an empty name, wanted one"));
        }
        let text = format!("{path}: renamed to {to}");
        if let Way::Into(Slot::Variant(variant)) = &name {
            let whole = part_at(&mut self.part, &before)?;
            let new = self::variants(whole, |variants| {
                let at = position(variants, variant)?;
                let was = Some(variants[at].identity().to_owned()).filter(|was| was != to);
                variants[at] = Variant { name: to.to_owned(), was, ..variants[at].clone() };
                Ok(())
            })?;
            by_rules(whole, &new)?;
            return Ok(text);
        }
        let fields = fields_at(&mut self.part, &before)?;
        let at = find(fields, &name, path)?;
        let identity = fields[at].0.identity().to_owned();
        let was = Some(identity).filter(|was| was != to && !is_new);
        let label = Label { name: to.to_owned(), was, default: fields[at].0.default.clone() };
        check_label(fields, &label, Some(at))?;
        fields[at].0 = label;
        Ok(text)
    }

    fn drop(&mut self, path: &Path, becomes: Option<&str>) -> Done<String> {
        let (before, name) = self.field_of(path)?;
        if let Way::Into(Slot::Variant(variant)) = &name {
            let whole = part_at(&mut self.part, &before)?;
            let new = self::variants(whole, |variants| {
                variants.remove(position(variants, variant)?);
                if variants.is_empty() {
                    return Err(Problem::new(format!(
                        "found `{variant}` alone, wanted a variant that stays"
                    )));
                }
                if let Some(other) = becomes {
                    let at = position(variants, other)?;
                    if variants[at].payload.is_some() {
                        let text = format!("found `{other}`, which has data, wanted a variant without");
                        return Err(Problem::new(text));
                    }
                }
                Ok(())
            })?;
            let of = Box::new(std::mem::replace(whole, Part::Tuple(Vec::new())));
            let becomes = becomes.map(ToOwned::to_owned);
            let text = match &becomes {
                Some(other) => format!("{path}: dropped, values of it become {other}"),
                None => format!("{path}: dropped, refused if a value is of it"),
            };
            *whole = Part::Without { of, to: new, variant: variant.clone(), becomes };
            return Ok(text);
        }
        if becomes.is_some() {
            return Err(Problem::new("found `becomes` for a field, wanted it for a variant only"));
        }
        let taken = take_out(&mut self.part, path, &before, &name)?;
        Ok(format!("{path}: dropped, {}", taken.data_type()))
    }

    fn add(&mut self, path: &Path, data_type: Option<&DataType>, how: &How) -> Done<String> {
        let (before, name) = self.field_of(path)?;
        if let Way::Into(Slot::Variant(variant)) = &name {
            if *how != How::Absent {
                return Err(Problem::new(
                    "found a value for a variant, which no stored value has, wanted none",
                ));
            }
            let whole = part_at(&mut self.part, &before)?;
            let new = self::variants(whole, |variants| {
                if variants.iter().any(|v| v.name == *variant || v.identity() == variant) {
                    return Err(Problem::new(format!("found `{variant}` there already, wanted a new name")));
                }
                variants.push(Variant { name: variant.clone(), was: None, payload: data_type.cloned() });
                Ok(())
            })?;
            by_rules(whole, &new)?;
            return Ok(format!("{path}: variant added"));
        }
        let (part, default, text) = match how {
            How::Absent => match data_type {
                Some(data_type @ DataType::Option(_)) => {
                    let part = Part::Constant { value: Value::Option(None), data_type: data_type.clone() };
                    (part, None, "none for stored values".to_owned())
                }
                Some(other) => {
                    let hint = format!("say `value = ...` or `as = ...`, or make it `Option<{other}>`");
                    return Err(Problem::new(format!(
                        "found no value for stored rows, wanted one of {other}"
                    ))
                    .hint(hint));
                }
                None => return Err(Problem::new("found no `type`, wanted the type of the field")),
            },
            How::Value(json) => {
                let Some(data_type) = data_type else {
                    return Err(Problem::new("found no `type`, wanted the type of the field"));
                };
                let value = value_of(json, data_type)?;
                let text = format!("{value} for stored values");
                let default = Some(value.to_json());
                (Part::Constant { value, data_type: data_type.clone() }, default, text)
            }
            How::From(syntax) => {
                let part = self.computed(&before, syntax, data_type)?;
                (part, None, "computed".to_owned())
            }
        };
        let shown = part.data_type();
        let label = Label { default, ..Label::new(name_of(&name)) };
        put(&mut self.part, &before, label, part)?;
        Ok(format!("{path}: added, {shown}, {text}"))
    }

    fn widen(&mut self, path: &Path, to: &DataType) -> Done<String> {
        let ways = self.ways(path);
        let part = part_at(&mut self.part, &ways)?;
        let text = format!("{path}: {} -> {to}", part.data_type());
        if part.data_type() == *to {
            return Err(Problem::new(format!("found {to} already, wanted another type")));
        }
        by_rules(part, to)?;
        Ok(text)
    }

    fn narrow(&mut self, path: &Path, to: &DataType, otherwise: Option<&Json>) -> Done<String> {
        let ways = self.ways(path);
        let part = part_at(&mut self.part, &ways)?;
        let from = part.data_type();
        if evolve(&from, to).is_ok() {
            return Err(Problem::new(format!("found {from}, each of which is a {to}")).hint("say `widen`"));
        }
        narrows(&from, to)?;
        let otherwise = otherwise.map(|json| value_of(json, to)).transpose()?;
        let rest = otherwise.as_ref().map_or("refused if a value does not fit".to_owned(), |value| {
            format!("{value} for values that do not fit")
        });
        let of = Box::new(std::mem::replace(part, Part::Tuple(Vec::new())));
        *part = Part::Narrow { of, to: to.clone(), otherwise };
        Ok(format!("{path}: {from} -> {to}, {rest}"))
    }

    fn move_field(&mut self, path: &Path, to: &Path) -> Done<String> {
        let (before, name) = self.field_of(path)?;
        let (target, new_name) = self.field_of(to)?;
        if [&name, &new_name].iter().any(|way| matches!(way, Way::Into(_))) {
            return Err(Problem::new("found the name of a variant, wanted fields"));
        }
        if let Some(Way::Into(_)) = target.iter().find(|way| matches!(way, Way::Into(_))) {
            let text = format!("found `{to}`, wanted a place in a struct that is always there");
            return Err(
                Problem::new(text).hint("what may be absent, or there several times, cannot take a field in")
            );
        }
        let is_inside = to.steps.len() > path.steps.len() && to.steps.starts_with(&path.steps);
        if is_inside {
            return Err(Problem::new(format!(
                "found `{to}` inside of `{path}` itself, wanted another place"
            )));
        }
        let moved = match before.iter().position(|way| matches!(way, Way::Into(_))) {
            None => take_out(&mut self.part, path, &before, &name)?,
            // Out of an option: what was there only where the option was is an option now.
            Some(slot) if before[slot] == Way::Into(Slot::Present) => {
                let outer = part_at(&mut self.part, &before[..slot])?;
                let of = Box::new(outer.clone());
                let inner_type =
                    Slot::Present.take(&of.data_type()).ok_or_else(|| not_in(outer, &before[slot]))?;
                let mut inner = Part::whole(&inner_type);
                let taken = take_out(&mut inner, path, &before[slot + 1..], &name)?;
                if taken.data_type().is_nullable() {
                    let text = format!(
                        "found {} in an option, wanted a value that is always there",
                        taken.data_type()
                    );
                    return Err(Problem::new(text));
                }
                take_out(&mut self.part, path, &before, &name)?;
                Part::Inside { of, slot: Slot::Present, inner: Box::new(taken) }
            }
            Some(slot) => {
                let text = format!(
                    "found `{}`, wanted a field outside of lists, maps and enums",
                    shown(&before[..=slot])
                );
                return Err(Problem::new(text));
            }
        };
        for depth in 0..target.len() {
            // Structs on the way come into being.
            let Way::Field(missing) = &target[depth] else { continue };
            let fields = fields_at(&mut self.part, &target[..depth])?;
            if fields.iter().all(|(label, _)| label.name != *missing) {
                let label = Label::new(missing);
                check_label(fields, &label, None)?;
                fields.push((label, Part::Struct(Vec::new())));
            }
        }
        put(&mut self.part, &target, Label::new(name_of(&new_name)), moved)?;
        Ok(format!("{path}: moved to {to}"))
    }

    fn set(&mut self, path: &Path, data_type: Option<&DataType>, from: &Syntax) -> Done<String> {
        let ways = self.ways(path);
        let was = part_at(&mut self.part, &ways)?.data_type();
        let scope = ways.iter().rposition(|way| matches!(way, Way::Into(_))).map_or(0, |slot| slot + 1);
        let part = self.computed(&ways[..scope], from, Some(data_type.unwrap_or(&was)))?;
        let now = part.data_type();
        *part_at(&mut self.part, &ways)? = part;
        Ok(if was == now { format!("{path}: computed") } else { format!("{path}: {was} -> {now}, computed") })
    }

    /// Makes the part that an expression stands for, whose names are those of the value at `scope`.
    fn computed(&mut self, scope: &[Way], syntax: &Syntax, wanted: Option<&DataType>) -> Done<Part> {
        let is_inside = scope.iter().any(|way| matches!(way, Way::Into(_)));
        let slot = scope.iter().rposition(|way| matches!(way, Way::Into(_))).map_or(0, |slot| slot + 1);
        let root = part_at(&mut self.part, &scope[..slot])?.clone();
        let key = if is_inside { None } else { self.key.clone() };
        of_expression(syntax, &root, key.as_ref(), wanted)
    }

    /// The steps of a path; the word `value` in front is only a word, unless a field is called that.
    fn ways(&self, path: &Path) -> Vec<Way> {
        let is_value = |way: &Way| *way == Way::Field("value".to_owned());
        let has_field = |part: &Part| match part.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| field.name == "value"),
            _ => false,
        };
        match path.steps.split_first() {
            Some((first, rest)) if is_value(first) && !has_field(&self.part) => rest.to_vec(),
            _ => path.steps.clone(),
        }
    }

    fn field_of(&self, path: &Path) -> Done<(Vec<Way>, Way)> {
        let ways = self.ways(path);
        match (Path { steps: ways }).split() {
            Some((before, last @ (Way::Field(_) | Way::Into(Slot::Variant(_))))) => {
                Ok((before.to_vec(), last.clone()))
            }
            _ => Err(Problem::new(format!("found `{path}`, wanted a field or a variant"))),
        }
    }
}

impl MapValues for Recipe {
    fn map(&self, keys: Option<&ArrayRef>, values: &ArrayRef) -> Result<Mapped, MapFailure> {
        Ok(Mapped { values: self.part.make(PartScope { values, keys })?, kept: None })
    }
}

impl From<Failure> for MapFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Row { row, reason } => Self::Row { row, versions: None, source: reason.into() },
            Failure::Columns(mismatch) => Self::Columns(mismatch),
        }
    }
}

fn name_of(way: &Way) -> &str {
    match way {
        Way::Field(name) | Way::Into(Slot::Variant(name)) => name,
        Way::Into(_) => "",
    }
}

fn value_of(json: &Json, data_type: &DataType) -> Done<Value> {
    let mut json = json.clone();
    complete(&mut json, data_type);
    Value::from_json(&json, data_type).map_err(|error| Problem::new(error.to_string()))
}

/// Adds the fields of structs that are left out because they are none: TOML has no word for that.
fn complete(json: &mut Json, data_type: &DataType) {
    match (json, data_type) {
        (Json::Object(members), DataType::Struct(fields)) => {
            for field in fields {
                match members.get_mut(&field.name) {
                    Some(member) => complete(member, &field.data_type),
                    None if matches!(field.data_type, DataType::Option(_)) => {
                        members.insert(field.name.clone(), Json::Null);
                    }
                    None => {}
                }
            }
        }
        (Json::Array(items), DataType::List(inner)) => {
            items.iter_mut().for_each(|item| complete(item, inner))
        }
        (json, DataType::Option(inner)) => complete(json, inner),
        _ => {}
    }
}

/// Lets the rules of evolution lead to another type.
fn by_rules(part: &mut Part, to: &DataType) -> Done {
    let evolution = evolve(&part.data_type(), to).map_err(|mut mismatches| {
        let mismatch = mismatches.swap_remove(0);
        Problem::new(mismatch.to_string())
            .hint("say `narrow` for a type with fewer values, `set` to compute a value")
    })?;
    let of = Box::new(std::mem::replace(part, Part::Tuple(Vec::new())));
    *part = Part::Rules { of, evolution: Arc::new(evolution) };
    Ok(())
}

/// Says whether some values of one type are values of the other.
fn narrows(from: &DataType, to: &DataType) -> Done {
    match (from, to) {
        (DataType::Option(from), DataType::Option(to)) => narrows(from, to),
        (DataType::Option(from), to) if **from == *to => Ok(()),
        (DataType::Option(from), to) => narrows(from, to),
        (from, to) => {
            let number = |kind: &Kind| matches!(kind, Kind::Int | Kind::Float);
            let (a, b) = (Kind::of(from), Kind::of(to));
            let is_plain = matches!(a, Kind::Text | Kind::Bytes) && a == b && !to.is_nullable();
            if (number(&a) && number(&b)) || is_plain {
                return Ok(());
            }
            Err(Problem::new(format!("found {from}, wanted a type some values of which are {to}"))
                .hint("say `set` to compute a value of another type"))
        }
    }
}

fn no_field(name: &str, data_type: &DataType) -> Problem {
    let names: Vec<String> = match data_type {
        DataType::Struct(fields) => fields.iter().map(|f| format!("`{}`", f.name)).collect(),
        DataType::Tuple(parts) => (0..parts.len()).map(|i| format!("`{i}`")).collect(),
        _ => Vec::new(),
    };
    let there = if names.is_empty() { "no fields".to_owned() } else { names.join(", ") };
    Problem::new(format!("found no `{name}`; there is {there}"))
}

fn not_in(part: &Part, way: &Way) -> Problem {
    let wanted = match way {
        Way::Field(name) => return no_field(name, &part.data_type()),
        Way::Into(Slot::Present) => "an Option".to_owned(),
        Way::Into(Slot::Element) => "a Vec".to_owned(),
        Way::Into(Slot::MapValue) => "a Map".to_owned(),
        Way::Into(Slot::Variant(name)) => format!("an enum whose variant `{name}` has data"),
    };
    Problem::new(format!("found {}, wanted {wanted}", part.data_type()))
}

/// Takes a struct or tuple apart, so that its parts can be changed one by one.
fn open(part: &mut Part) -> bool {
    let below = |path: &[usize], i: usize| [path, &[i]].concat();
    let opened = match part {
        Part::Struct(_) | Part::Tuple(_) => return true,
        Part::Old { path, data_type: DataType::Struct(fields) } => Part::Struct(
            fields
                .iter()
                .enumerate()
                .map(|(i, field)| {
                    (Label::of(field), Part::Old { path: below(path, i), data_type: field.data_type.clone() })
                })
                .collect(),
        ),
        Part::Old { path, data_type: DataType::Tuple(parts) } => Part::Tuple(
            parts
                .iter()
                .enumerate()
                .map(|(i, t)| Part::Old { path: below(path, i), data_type: t.clone() })
                .collect(),
        ),
        Part::Constant { value: Value::Struct(values), data_type: DataType::Struct(fields) } => Part::Struct(
            fields
                .iter()
                .zip(values)
                .map(|(field, (_, value))| {
                    let part = Part::Constant { value: value.clone(), data_type: field.data_type.clone() };
                    (Label::of(field), part)
                })
                .collect(),
        ),
        _ => return false,
    };
    *part = opened;
    true
}

fn into<'p>(part: &'p mut Part, way: &Way) -> Done<&'p mut Part> {
    match way {
        Way::Field(name) => {
            let data_type = part.data_type();
            if !open(part) {
                let text = match data_type {
                    DataType::Struct(_) | DataType::Tuple(_) => {
                        format!(
                            "found `{name}` in a value that an earlier step has computed, wanted a stored one"
                        )
                    }
                    _ => return Err(no_field(name, &data_type)),
                };
                return Err(Problem::new(text));
            }
            let found = match part {
                Part::Struct(fields) => {
                    fields.iter_mut().find(|(label, _)| label.name == *name).map(|(_, p)| p)
                }
                Part::Tuple(parts) => name.parse::<usize>().ok().and_then(|i| parts.get_mut(i)),
                _ => None,
            };
            found.ok_or_else(|| no_field(name, &data_type))
        }
        Way::Into(slot) => {
            if !matches!(part, Part::Inside { slot: open, .. } if open == slot) {
                let inner = slot.take(&part.data_type()).ok_or_else(|| not_in(part, way))?;
                let of = Box::new(std::mem::replace(part, Part::Tuple(Vec::new())));
                *part = Part::Inside { of, slot: slot.clone(), inner: Box::new(Part::whole(&inner)) };
            }
            match part {
                Part::Inside { inner, .. } => Ok(inner),
                other => Err(not_in(other, way)),
            }
        }
    }
}

fn part_at<'p>(mut part: &'p mut Part, ways: &[Way]) -> Done<&'p mut Part> {
    for way in ways {
        part = into(part, way)?;
    }
    Ok(part)
}

fn fields_at<'p>(part: &'p mut Part, ways: &[Way]) -> Done<&'p mut Vec<(Label, Part)>> {
    let part = part_at(part, ways)?;
    let data_type = part.data_type();
    open(part);
    match part {
        Part::Struct(fields) => Ok(fields),
        _ => Err(Problem::new(format!("found {data_type}, wanted a struct, whose parts have names"))),
    }
}

fn find(fields: &[(Label, Part)], way: &Way, path: &Path) -> Done<usize> {
    let name = name_of(way);
    fields.iter().position(|(label, _)| label.name == name).ok_or_else(|| {
        let names: Vec<_> = fields.iter().map(|(label, _)| format!("`{}`", label.name)).collect();
        let there = if names.is_empty() { "no fields".to_owned() } else { names.join(", ") };
        Problem::new(format!("found no `{path}`; there is {there}"))
    })
}

/// Takes a field or a part of a tuple out; a struct inside of another one that has no field left goes too.
fn take_out(part: &mut Part, path: &Path, before: &[Way], way: &Way) -> Done<Part> {
    let name = name_of(way);
    let whole = part_at(part, before)?;
    let data_type = whole.data_type();
    open(whole);
    let (taken, is_empty) = match whole {
        Part::Struct(fields) => {
            let at = find(fields, way, path)?;
            (fields.remove(at).1, fields.is_empty())
        }
        Part::Tuple(parts) => {
            let at =
                name.parse().ok().filter(|at| *at < parts.len()).ok_or_else(|| no_field(name, &data_type))?;
            (parts.remove(at), false)
        }
        _ => return Err(no_field(name, &data_type)),
    };
    if let (true, Some((outer, last @ Way::Field(_)))) = (is_empty, before.split_last().map(|(l, b)| (b, l)))
    {
        take_out(part, path, outer, last)?;
    }
    Ok(taken)
}

/// Puts a new field or a new part of a tuple in.
fn put(part: &mut Part, before: &[Way], label: Label, new: Part) -> Done {
    let whole = part_at(part, before)?;
    let data_type = whole.data_type();
    open(whole);
    match whole {
        Part::Struct(fields) => {
            check_label(fields, &label, None)?;
            fields.push((label, new));
        }
        Part::Tuple(parts) => {
            let at = label.name.parse().ok().filter(|at| *at <= parts.len());
            let at = at.ok_or_else(|| {
                Problem::new(format!(
                    "found `{}` in a tuple, wanted a place from 0 to {}",
                    label.name,
                    parts.len()
                ))
            })?;
            parts.insert(at, new);
        }
        _ => return Err(Problem::new(format!("found {data_type}, wanted a struct or a tuple"))),
    }
    Ok(())
}

/// Checks that a struct can have a field of this name and identity (clause SC-5); `but` is the field that has it.
fn check_label(fields: &[(Label, Part)], new: &Label, but: Option<usize>) -> Done {
    let is_word = new.name.chars().all(|c| c.is_alphanumeric() || c == '_') && !new.name.is_empty();
    if !is_word || new.name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Problem::new(format!("found `{}`, wanted a name of letters, digits and `_`", new.name)));
    }
    for (_, (label, _)) in fields.iter().enumerate().filter(|(at, _)| Some(*at) != but) {
        if label.name == new.name {
            return Err(Problem::new(format!("found `{}` there already, wanted a new name", new.name)));
        }
        if column_id(label.identity()) == column_id(new.identity()) {
            let text =
                format!("found `{}` as the first name of `{}`, wanted a new one", new.identity(), label.name);
            let hint = format!("rename `{}` with `new_identity = true`, or choose another name", label.name);
            return Err(Problem::new(text).hint(hint));
        }
    }
    Ok(())
}

fn variants(part: &Part, change: impl FnOnce(&mut Vec<Variant>) -> Done) -> Done<DataType> {
    match part.data_type() {
        DataType::Enum(mut variants) => {
            change(&mut variants)?;
            Ok(DataType::Enum(variants))
        }
        other => Err(Problem::new(format!("found {other}, wanted an enum"))),
    }
}

fn position(variants: &[Variant], name: &str) -> Done<usize> {
    variants.iter().position(|v| v.name == name).ok_or_else(|| {
        let names: Vec<_> = variants.iter().map(|v| format!("`{}`", v.name)).collect();
        Problem::new(format!("found no variant `{name}`; there is {}", names.join(", ")))
    })
}

/// The names of an expression: the fields of a value that is being made, the value and the key.
struct Scope<'a> {
    root: &'a Part,
    key: Option<&'a DataType>,
    inputs: Vec<Part>,
}

impl Scope<'_> {
    /// Finds the part that the longest beginning of a path leads to, and how long that is.
    fn part(&self, path: &[String]) -> Result<(Part, usize), String> {
        let first = path[0].as_str();
        let has = |name: &str| match self.root.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| field.name == name),
            _ => false,
        };
        if first == "key" && !has("key") {
            let data_type = self.key.ok_or("found `key`, which is not to be had here")?;
            return Ok((Part::Key { data_type: data_type.clone() }, 1));
        }
        let mut taken = usize::from(first == "value" && !has("value"));
        let mut part = self.root.clone();
        while let Some(name) = path.get(taken) {
            let name = Way::Field(
                name.strip_prefix('f').filter(|n| n.parse::<usize>().is_ok()).unwrap_or(name).to_owned(),
            );
            let exact = Way::Field(path[taken].clone());
            let way = if matches!(part.data_type(), DataType::Tuple(_)) { name } else { exact };
            if !open(&mut part) && taken > 0 {
                // The rest is found in the computed value.
                break;
            }
            part = into(&mut part, &way).map_err(|problem| problem.text)?.clone();
            taken += 1;
        }
        Ok((part, taken))
    }
}

impl Names for Scope<'_> {
    fn find(&mut self, path: &[String]) -> Result<(usize, DataType, usize), String> {
        let (part, taken) = self.part(path)?;
        let data_type = part.data_type();
        let known = self.inputs.iter().position(|input| *input == part);
        let number = known.unwrap_or_else(|| {
            self.inputs.push(part);
            self.inputs.len() - 1
        });
        Ok((number, data_type, taken))
    }
}

/// Makes the part that an expression stands for. A path is the part that it leads to, a struct or tuple that is
/// written down is one put together; all else is computed for each row.
pub(super) fn of_expression(
    syntax: &Syntax,
    root: &Part,
    key: Option<&DataType>,
    wanted: Option<&DataType>,
) -> Done<Part> {
    let mut scope = Scope { root, key, inputs: Vec::new() };
    if let Some(path) = syntax.path()
        && let Ok((part, taken)) = scope.part(path)
        && taken == path.len()
        && wanted.is_none_or(|wanted| *wanted == part.data_type())
    {
        return Ok(part);
    }
    let is_optional = matches!(wanted, Some(DataType::Option(_)));
    if let Some(written) = syntax.fields().filter(|_| !is_optional) {
        let fields = match wanted {
            Some(DataType::Struct(fields)) => Some(Some(fields)),
            Some(_) => None,
            None => Some(None),
        };
        let Some(wanted) = fields else { return Err(odd_literal(wanted, "a struct")) };
        let names: Vec<&str> = match wanted {
            Some(fields) => fields.iter().map(|field| field.name.as_str()).collect(),
            None => written.iter().map(|(name, _)| name.as_str()).collect(),
        };
        if names.len() == written.len() && written.iter().all(|(name, _)| names.contains(&name.as_str())) {
            let mut made: Vec<(Label, Part)> = Vec::new();
            for (i, name) in names.iter().enumerate() {
                let field = wanted.map(|fields| &fields[i]);
                let inner = written.iter().find(|(n, _)| n == name).map(|(_, inner)| inner);
                let Some(inner) = inner else { continue };
                let part = of_expression(inner, root, key, field.map(|f| &f.data_type))?;
                let label = field.map_or_else(|| Label::new(name), Label::of);
                check_label(&made, &label, None)?;
                made.push((label, part));
            }
            return Ok(Part::Struct(made));
        }
    }
    if let Some(written) = syntax.parts().filter(|_| !is_optional) {
        let parts = match wanted {
            Some(DataType::Tuple(parts)) => Some(Some(parts)),
            Some(_) => None,
            None => Some(None),
        };
        let Some(wanted) = parts else { return Err(odd_literal(wanted, "a tuple")) };
        if wanted.is_none_or(|parts| parts.len() == written.len()) {
            let part =
                |(i, inner): (usize, &Syntax)| of_expression(inner, root, key, wanted.map(|parts| &parts[i]));
            return Ok(Part::Tuple(written.iter().enumerate().map(part).collect::<Done<_>>()?));
        }
    }
    let expression = Expression::new(syntax, &mut scope)?;
    let Some(wanted) = wanted else {
        return Err(Problem::new("found no `type`, wanted the type of what is computed"));
    };
    check_fits(&expression.kind, wanted).map_err(Problem::new)?;
    Ok(Part::Computed { expression: Arc::new(expression), inputs: scope.inputs, to: wanted.clone() })
}

fn odd_literal(wanted: Option<&DataType>, found: &str) -> Problem {
    let wanted = wanted.map_or("another type".to_owned(), ToString::to_string);
    Problem::new(format!("found {found}, wanted {wanted}"))
}
