//! TOML with places: what is wrong with a file is told with line and column.

use crate::error::{Error, Result};
use serde_json::{Map, Number, Value as Json};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A migration file, as text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// Where it lies, for messages.
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

/// A place in a file, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rewrite) struct At {
    /// File, line and column.
    pub(super) shown: String,
    /// Where the text of an expression begins, if the place is that of one whose text stands there as it is.
    line: usize,
    column: usize,
    path: String,
    is_verbatim: bool,
}

impl At {
    /// The place so many bytes further in the text of a string, if that stands there as it is.
    pub(super) fn inside(&self, text: &str, offset: Option<usize>) -> String {
        match offset {
            Some(offset) if self.is_verbatim => {
                let characters = text.get(..offset).map_or(0, |before| before.chars().count());
                format!("{}:{}:{}", self.path, self.line, self.column + 1 + characters)
            }
            _ => self.shown.clone(),
        }
    }

    pub(super) fn refuse(&self, problem: impl Into<String>, hint: Option<String>) -> Error {
        Error::MigrationFile { place: self.shown.clone(), problem: problem.into(), hint }
    }
}

impl<'a> Source<'a> {
    pub(super) fn parse(self) -> Result<Table<'a>> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = self.at(error.span().unwrap_or(0..0));
            at.refuse(error.message().trim().replace('\n', ", "), None)
        })?;
        let span = table.span();
        Ok(Table { source: self, span, members: table.into_inner(), asked: Vec::new() })
    }

    pub(super) fn at(self, span: Range<usize>) -> At {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let raw = self.text.get(span).unwrap_or_default();
        // In a string on one line without escapes each character stands for itself.
        let is_verbatim =
            !raw.contains(['\\', '\n']) && !raw.starts_with("\"\"\"") && !raw.starts_with("'''");
        At {
            shown: format!("{}:{line}:{column}", self.path),
            line,
            column,
            path: self.path.to_owned(),
            is_verbatim,
        }
    }
}

/// A table whose members are taken one by one; what is not asked for is refused.
pub(super) struct Table<'a> {
    source: Source<'a>,
    span: Range<usize>,
    members: DeTable<'a>,
    asked: Vec<&'static str>,
}

/// A value and its place.
pub(super) struct Member<'a> {
    source: Source<'a>,
    span: Range<usize>,
    pub(super) at: At,
    value: DeValue<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn at(&self) -> At {
        self.source.at(self.span.clone())
    }

    /// Takes a member, if it is there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Member<'a>> {
        self.asked.push(name);
        let (source, value) = (self.source, self.members.remove(name)?);
        let span = value.span();
        Some(Member { source, at: source.at(span.clone()), span, value: value.into_inner() })
    }

    /// Takes a member that must be there.
    pub(super) fn need(&mut self, name: &'static str) -> Result<Member<'a>> {
        let at = self.at();
        self.take(name).ok_or_else(|| at.refuse(format!("found no `{name}`, wanted it"), None))
    }

    /// Leaves names out of what the table is said to want.
    pub(super) fn forget(&mut self, names: &[&str]) {
        self.asked.retain(|asked| !names.contains(asked));
    }

    /// Refuses what nobody asked for.
    pub(super) fn end(self) -> Result<()> {
        let Some((name, _)) = self.members.iter().min_by_key(|(name, _)| name.span().start) else {
            return Ok(());
        };
        let known: Vec<_> = self.asked.iter().map(|name| format!("`{name}`")).collect();
        let at = self.source.at(name.span());
        Err(at.refuse(format!("found `{}`, wanted {}", name.get_ref(), known.join(", ")), None))
    }
}

impl<'a> Member<'a> {
    fn odd(&self, wanted: &str) -> Error {
        self.at.refuse(format!("found {}, wanted {wanted}", shown(&self.value)), None)
    }

    pub(super) fn text(&self) -> Result<String> {
        self.value.as_str().map(ToOwned::to_owned).ok_or_else(|| self.odd("text in quotes"))
    }

    pub(super) fn flag(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.odd("true or false"))
    }

    pub(super) fn number(&self) -> Result<u32> {
        let number = self.value.as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        number.ok_or_else(|| self.odd("a whole number from 0 to 4294967295"))
    }

    pub(super) fn json(&self) -> Json {
        json(&self.value)
    }

    pub(super) fn tables(self) -> Result<Vec<Table<'a>>> {
        let source = self.source;
        match self.value {
            DeValue::Array(items) => items
                .into_iter()
                .map(|item| {
                    let span = item.span();
                    match item.into_inner() {
                        DeValue::Table(members) => Ok(Table { source, span, members, asked: Vec::new() }),
                        other => {
                            let problem = format!("found {}, wanted a table in braces", shown(&other));
                            Err(source.at(span).refuse(problem, None))
                        }
                    }
                })
                .collect(),
            _ => Err(self.odd("a list of tables")),
        }
    }

    pub(super) fn table(self) -> Result<Table<'a>> {
        match self.value {
            DeValue::Table(members) => {
                Ok(Table { source: self.source, span: self.span, members, asked: Vec::new() })
            }
            _ => Err(self.odd("a table in braces")),
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The value as JSON, as defaults have it: what JSON has no number for is text.
fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Boolean(value) => Json::Bool(*value),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(small) if i64::try_from(small).is_ok() => Json::from(small as i64),
            Ok(large) => Json::String(large.to_string()),
            Err(_) => Json::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => {
            let plain = number.as_str().replace('_', "");
            let parsed = plain.parse::<f64>().ok();
            match parsed.and_then(Number::from_f64) {
                Some(number) => Json::Number(number),
                None => Json::String(plain.replace("nan", "NaN")),
            }
        }
        DeValue::Datetime(time) => Json::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref())))
                .collect::<Map<_, _>>(),
        ),
    }
}

/// The content of a file as JSON: the same whatever its spelling and its comments are.
pub(super) fn content(text: &str) -> Option<Json> {
    let table: Spanned<DeTable<'_>> = DeTable::parse(text).ok()?;
    Some(json(&DeValue::Table(table.into_inner())))
}
