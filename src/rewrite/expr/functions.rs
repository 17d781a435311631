//! The functions that expressions can call.

use super::typed::{Kind, LONGEST};
use crate::model::Value;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    After,
    Before,
    Ceil,
    Contains,
    EndsWith,
    Float,
    Floor,
    Int,
    IsNone,
    Len,
    Lower,
    Max,
    Millis,
    Min,
    Otherwise,
    Replace,
    Round,
    Slice,
    Some,
    Span,
    StartsWith,
    Text,
    Time,
    Trim,
    Upper,
    Variant,
}

/// Each function: its name, what it takes, in words.
const ALL: [(&str, Function, &str); 27] = [
    ("abs", Function::Abs, "a number"),
    ("after", Function::After, "two texts"),
    ("before", Function::Before, "two texts"),
    ("ceil", Function::Ceil, "a float"),
    ("contains", Function::Contains, "two texts"),
    ("ends_with", Function::EndsWith, "two texts"),
    ("float", Function::Float, "a number or text"),
    ("floor", Function::Floor, "a float"),
    ("int", Function::Int, "a number, text or a bool"),
    ("is_none", Function::IsNone, "an Option"),
    ("len", Function::Len, "text, bytes, a list, set or map"),
    ("lower", Function::Lower, "text"),
    ("max", Function::Max, "values of one kind that compare"),
    ("millis", Function::Millis, "a timestamp or a Duration"),
    ("min", Function::Min, "values of one kind that compare"),
    ("otherwise", Function::Otherwise, "an Option, and a value of its kind"),
    ("replace", Function::Replace, "three texts"),
    ("round", Function::Round, "a float"),
    ("slice", Function::Slice, "text and two integers: the first character, and how many"),
    ("some", Function::Some, "a value"),
    ("span", Function::Span, "milliseconds, an integer"),
    ("starts_with", Function::StartsWith, "two texts"),
    ("text", Function::Text, "a number, a bool, text or a time"),
    ("time", Function::Time, "milliseconds since 1970, an integer"),
    ("trim", Function::Trim, "text"),
    ("upper", Function::Upper, "text"),
    ("variant", Function::Variant, "an enum"),
];

impl Function {
    /// Finds the function that takes arguments of these kinds, and the kind of what it makes.
    pub(super) fn find(name: &str, kinds: &[Kind]) -> Result<(Self, Kind), String> {
        let Some((_, function, wanted)) = ALL.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<_> = ALL.iter().map(|(name, ..)| *name).collect();
            return Err(format!("found `{name}(...)`, wanted one of {}", names.join(", ")));
        };
        function.made(kinds).map(|kind| (*function, kind)).ok_or_else(|| {
            let found: Vec<_> = kinds.iter().map(ToString::to_string).collect();
            let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
            format!("found `{name}` of {found}, wanted {wanted}")
        })
    }

    fn made(self, kinds: &[Kind]) -> Option<Kind> {
        use crate::model::DataType;
        let texts = kinds.iter().all(|kind| *kind == Kind::Text);
        Some(match (self, kinds) {
            (Self::Abs, [kind @ (Kind::Int | Kind::Float)]) => kind.clone(),
            (Self::Before | Self::After, [_, _]) if texts => Kind::Text,
            (Self::Contains | Self::StartsWith | Self::EndsWith, [_, _]) if texts => Kind::Bool,
            (Self::Lower | Self::Upper | Self::Trim, [Kind::Text]) => Kind::Text,
            (Self::Replace, [_, _, _]) if texts => Kind::Text,
            (Self::Slice, [Kind::Text, Kind::Int, Kind::Int]) => Kind::Text,
            (Self::Ceil | Self::Floor | Self::Round, [Kind::Float]) => Kind::Float,
            (Self::Float, [Kind::Int | Kind::Float | Kind::Text]) => Kind::Float,
            (Self::Int, [Kind::Int | Kind::Float | Kind::Text | Kind::Bool]) => Kind::Int,
            (Self::IsNone, [Kind::Option(_)]) => Kind::Bool,
            (Self::Len, [Kind::Text | Kind::Bytes]) => Kind::Int,
            (Self::Len, [Kind::Other(DataType::List(_) | DataType::Set(_) | DataType::Map(..))]) => Kind::Int,
            (Self::Millis, [Kind::Timestamp | Kind::Duration]) => Kind::Int,
            (
                Self::Min | Self::Max,
                [
                    first @ (Kind::Int | Kind::Float | Kind::Text | Kind::Duration | Kind::Timestamp),
                    rest @ ..,
                ],
            ) if !rest.is_empty() && rest.iter().all(|kind| kind == first) => first.clone(),
            (Self::Otherwise, [Kind::Option(inner), other]) if **inner == *other => other.clone(),
            (Self::Some, [kind]) => Kind::Option(Box::new(kind.clone())),
            (Self::Span, [Kind::Int]) => Kind::Duration,
            (Self::Time, [Kind::Int]) => Kind::Timestamp,
            (
                Self::Text,
                [Kind::Int | Kind::Float | Kind::Text | Kind::Bool | Kind::Duration | Kind::Timestamp],
            ) => Kind::Text,
            (Self::Variant, [Kind::Other(DataType::Enum(_))]) => Kind::Text,
            _ => return None,
        })
    }

    /// Computes the function; `args` have the kinds that it takes.
    pub(super) fn call(self, args: Vec<Value>) -> Result<Value, String> {
        let odd = || Err("a value of another kind".to_owned());
        let text = |text: &str| Ok(Value::String(text.to_owned()));
        let mut args = args.into_iter();
        let Some(first) = args.next() else { return odd() };
        match (self, first, args.next()) {
            (Self::Abs, Value::Int(value), _) => {
                value.checked_abs().map(Value::Int).ok_or_else(|| format!("abs({value}) is too large"))
            }
            (Self::Abs, Value::F64(value), _) => Ok(Value::F64(value.abs())),
            (Self::Ceil, Value::F64(value), _) => Ok(Value::F64(value.ceil())),
            (Self::Floor, Value::F64(value), _) => Ok(Value::F64(value.floor())),
            (Self::Round, Value::F64(value), _) => Ok(Value::F64(value.round())),
            (Self::Before, Value::String(all), Some(Value::String(mark))) => {
                text(all.split_once(&mark).map_or(&*all, |(before, _)| before))
            }
            (Self::After, Value::String(all), Some(Value::String(mark))) => {
                text(all.split_once(&mark).map_or("", |(_, after)| after))
            }
            (Self::Contains, Value::String(all), Some(Value::String(part))) => {
                Ok(Value::Bool(all.contains(&part)))
            }
            (Self::StartsWith, Value::String(all), Some(Value::String(part))) => {
                Ok(Value::Bool(all.starts_with(&part)))
            }
            (Self::EndsWith, Value::String(all), Some(Value::String(part))) => {
                Ok(Value::Bool(all.ends_with(&part)))
            }
            (Self::Lower, Value::String(all), _) => Ok(Value::String(all.to_lowercase())),
            (Self::Upper, Value::String(all), _) => Ok(Value::String(all.to_uppercase())),
            (Self::Trim, Value::String(all), _) => text(all.trim()),
            (Self::Replace, Value::String(all), Some(Value::String(from))) => match args.next() {
                Some(Value::String(to)) => Ok(Value::String(all.replace(&from, &to))),
                _ => odd(),
            },
            (Self::Slice, Value::String(all), Some(Value::Int(from))) => match args.next() {
                Some(Value::Int(count)) => {
                    let [from, count] =
                        [from, count].map(|n| usize::try_from(n.max(0)).unwrap_or(usize::MAX));
                    Ok(Value::String(all.chars().skip(from).take(count).collect()))
                }
                _ => odd(),
            },
            (Self::Len, Value::String(all), _) => Ok(Value::Int(all.chars().count() as i128)),
            (Self::Len, Value::Bytes(all), _) => Ok(Value::Int(all.len() as i128)),
            (Self::Len, Value::List(all), _) => Ok(Value::Int(all.len() as i128)),
            (Self::Len, Value::Map(all), _) => Ok(Value::Int(all.len() as i128)),
            (Self::Float, Value::Int(value), _) => Ok(Value::F64(value as f64)),
            (Self::Float, value @ Value::F64(_), _) => Ok(value),
            (Self::Float, Value::String(all), _) => {
                all.trim().parse().map(Value::F64).map_err(|_| format!("{all:?} is not a float"))
            }
            (Self::Int, value @ Value::Int(_), _) => Ok(value),
            (Self::Int, Value::Bool(value), _) => Ok(Value::Int(value.into())),
            (Self::Int, value @ Value::F64(_), _) => super::fit(value, &crate::model::DataType::I128),
            (Self::Int, Value::String(all), _) => {
                all.trim().parse().map(Value::Int).map_err(|_| format!("{all:?} is not an integer"))
            }
            (Self::IsNone, Value::Option(inner), _) => Ok(Value::Bool(inner.is_none())),
            (Self::Some, value, _) => Ok(Value::Option(Some(Box::new(value)))),
            (Self::Millis, Value::Timestamp(micros), _) => Ok(Value::Int(micros.div_euclid(1000).into())),
            (Self::Millis, Value::Duration(span), _) => Ok(Value::Int(span.as_millis() as i128)),
            (Self::Span, Value::Int(millis), _) => {
                let span = u64::try_from(millis).ok().map(Duration::from_millis);
                let span = span.filter(|span| *span <= LONGEST);
                span.map(Value::Duration).ok_or_else(|| format!("{millis} ms are no Duration"))
            }
            (Self::Time, Value::Int(millis), _) => {
                let micros = millis.checked_mul(1000).and_then(|micros| i64::try_from(micros).ok());
                micros.map(Value::Timestamp).ok_or_else(|| format!("{millis} ms are beyond all timestamps"))
            }
            (Self::Text, Value::String(all), _) => Ok(Value::String(all)),
            (Self::Text, value, _) => Ok(Value::String(value.to_string())),
            (Self::Variant, Value::Enum(name, _), _) => Ok(Value::String(name)),
            // `otherwise`, `min` and `max` are computed where their arguments are.
            _ => odd(),
        }
    }
}
