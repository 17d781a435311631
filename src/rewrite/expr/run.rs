//! Computing an expression for one row.

use super::functions::Function;
use super::syntax::Binary;
use super::typed::{Expression, LONGEST, Node};
use crate::model::Value;
use std::cmp::Ordering;
use std::time::Duration;

impl Expression {
    /// Computes the value; `input` returns the inputs by their numbers.
    ///
    /// # Errors
    ///
    /// Why there is none: a division by zero, a number that is too large, text that is no number.
    pub(in crate::rewrite) fn run(
        &self,
        input: &dyn Fn(usize) -> Result<Value, String>,
    ) -> Result<Value, String> {
        run(&self.node, input)
    }
}

fn run(node: &Node, input: &dyn Fn(usize) -> Result<Value, String>) -> Result<Value, String> {
    let run = |node: &Node| run(node, input);
    let is = |node: &Node| match run(node)? {
        Value::Bool(value) => Ok(value),
        other => Err(format!("{other} is no bool")),
    };
    Ok(match node {
        Node::Input(number) => plain(input(*number)?),
        Node::Part(whole, position) => match run(whole)? {
            Value::Struct(mut fields) if *position < fields.len() => plain(fields.swap_remove(*position).1),
            Value::Tuple(mut parts) if *position < parts.len() => plain(parts.swap_remove(*position)),
            other => return Err(format!("{other} has no part {position}")),
        },
        Node::Literal(value) => value.clone(),
        Node::Tuple(parts) => Value::Tuple(parts.iter().map(run).collect::<Result<_, _>>()?),
        Node::Struct(fields) => {
            let field = |(name, node): &(String, Node)| Ok((name.clone(), run(node)?));
            Value::Struct(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        Node::Present(inner) => Value::Option(Some(Box::new(run(inner)?))),
        Node::Not(inner) => Value::Bool(!is(inner)?),
        Node::Minus(inner) => match run(inner)? {
            Value::Int(value) => {
                Value::Int(value.checked_neg().ok_or_else(|| too_large("-", &Value::Int(value)))?)
            }
            Value::F64(value) => Value::F64(-value),
            other => return Err(format!("{other} is no number")),
        },
        Node::If(parts) => {
            let [condition, then, other] = &**parts;
            if is(condition)? { run(then)? } else { run(other)? }
        }
        Node::Binary(Binary::And, a, b) => Value::Bool(is(a)? && is(b)?),
        Node::Binary(Binary::Or, a, b) => Value::Bool(is(a)? || is(b)?),
        Node::Binary(operator, a, b) => binary(*operator, run(a)?, run(b)?)?,
        Node::Call(Function::Otherwise, args) => match run(&args[0])? {
            Value::Option(Some(value)) => plain(*value),
            _ => run(&args[1])?,
        },
        Node::Call(function @ (Function::Min | Function::Max), args) => {
            let wanted = if *function == Function::Min { Ordering::Less } else { Ordering::Greater };
            let mut best = run(&args[0])?;
            for arg in &args[1..] {
                let other = run(arg)?;
                if compare(&other, &best) == Some(wanted) {
                    best = other;
                }
            }
            best
        }
        Node::Call(function, args) => function.call(args.iter().map(run).collect::<Result<_, _>>()?)?,
    })
}

/// Brings a value to the few kinds that are computed with; structs and tuples stay as they are until a part of them is
/// asked for.
fn plain(value: Value) -> Value {
    match value {
        // Beyond all `Int` it can be handed on and compared, and that is all.
        Value::Uint(value) => i128::try_from(value).map_or(Value::Uint(value), Value::Int),
        Value::F32(value) => Value::F64(value.into()),
        Value::Char(value) => Value::String(value.to_string()),
        Value::Option(Some(inner)) => Value::Option(Some(Box::new(plain(*inner)))),
        other => other,
    }
}

/// The same for all parts, so that a struct that was written down equals one that was stored.
fn plain_inside(value: Value) -> Value {
    match plain(value) {
        Value::Tuple(parts) => Value::Tuple(parts.into_iter().map(plain_inside).collect()),
        Value::Struct(fields) => {
            Value::Struct(fields.into_iter().map(|(name, value)| (name, plain_inside(value))).collect())
        }
        Value::Option(Some(inner)) => Value::Option(Some(Box::new(plain_inside(*inner)))),
        other => other,
    }
}

fn too_large(sign: &str, value: &Value) -> String {
    format!("{sign}{value} is too large")
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Uint(a), Value::Uint(b)) => a.cmp(b),
        (Value::Uint(_), Value::Int(_)) => Ordering::Greater,
        (Value::Int(_), Value::Uint(_)) => Ordering::Less,
        // Every float compares: a NaN is greater than all numbers.
        (Value::F64(a), Value::F64(b)) => match (a.is_nan(), b.is_nan()) {
            (false, false) => a.partial_cmp(b)?,
            (a, b) => a.cmp(&b),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        _ => return None,
    })
}

fn binary(operator: Binary, a: Value, b: Value) -> Result<Value, String> {
    let odd = |a: &Value, b: &Value| format!("{a} {} {b} is too large, or not defined", operator.sign());
    let order = || compare(&a, &b).ok_or_else(|| odd(&a, &b));
    Ok(match operator {
        Binary::Equal | Binary::Unequal => {
            let is_equal = match compare(&a, &b) {
                Some(order) => order == Ordering::Equal,
                None => plain_inside(a) == plain_inside(b),
            };
            Value::Bool(is_equal == (operator == Binary::Equal))
        }
        Binary::Less => Value::Bool(order()? == Ordering::Less),
        Binary::LessOrEqual => Value::Bool(order()? != Ordering::Greater),
        Binary::Greater => Value::Bool(order()? == Ordering::Greater),
        Binary::GreaterOrEqual => Value::Bool(order()? != Ordering::Less),
        _ => match (&a, &b) {
            (Value::Int(a), Value::Int(b)) => integers(operator, *a, *b)?,
            (Value::F64(a), Value::F64(b)) => floats(operator, *a, *b),
            (Value::String(a), Value::String(b)) if operator == Binary::Plus => {
                Value::String(format!("{a}{b}"))
            }
            (Value::Duration(a), Value::Duration(b)) => {
                let made = if operator == Binary::Plus { a.checked_add(*b) } else { a.checked_sub(*b) };
                let made = made.filter(|span| *span <= LONGEST);
                Value::Duration(made.ok_or_else(|| "a Duration below 0 or too long".to_owned())?)
            }
            (Value::Timestamp(time), Value::Duration(span)) => {
                Value::Timestamp(moved(operator, *time, *span)?)
            }
            _ => return Err(odd(&a, &b)),
        },
    })
}

fn integers(operator: Binary, a: i128, b: i128) -> Result<Value, String> {
    if b == 0 && matches!(operator, Binary::Divide | Binary::Remainder) {
        return Err(format!("{a} {} 0", operator.sign()));
    }
    let made = match operator {
        Binary::Plus => a.checked_add(b),
        Binary::Minus => a.checked_sub(b),
        Binary::Times => a.checked_mul(b),
        Binary::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    made.map(Value::Int).ok_or_else(|| format!("{a} {} {b} is too large", operator.sign()))
}

fn floats(operator: Binary, a: f64, b: f64) -> Value {
    Value::F64(match operator {
        Binary::Plus => a + b,
        Binary::Minus => a - b,
        Binary::Times => a * b,
        Binary::Divide => a / b,
        _ => a % b,
    })
}

fn moved(operator: Binary, micros: i64, span: Duration) -> Result<i64, String> {
    let span = i128::try_from(span.as_micros()).unwrap_or(i128::MAX);
    let made = if operator == Binary::Plus {
        i128::from(micros).checked_add(span)
    } else {
        i128::from(micros).checked_sub(span)
    };
    made.and_then(|made| i64::try_from(made).ok()).ok_or_else(|| "a time beyond all timestamps".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Names, Syntax};
    use super::*;
    use crate::model::{DataType, Field};

    /// A record with a few fields.
    struct Record;

    const FIELDS: [(&str, DataType); 8] = [
        ("n", DataType::I32),
        ("u", DataType::U64),
        ("x", DataType::F32),
        ("name", DataType::String),
        ("on", DataType::Bool),
        ("letter", DataType::Char),
        ("at", DataType::Timestamp),
        ("span", DataType::Duration),
    ];

    fn data_type() -> DataType {
        let mut fields: Vec<_> = FIELDS.iter().map(|(name, t)| Field::new(*name, t.clone())).collect();
        fields.push(Field::new("maybe", DataType::Option(Box::new(DataType::I64))));
        fields.push(Field::new("pair", DataType::Tuple(vec![DataType::U8, DataType::String])));
        DataType::Struct(fields)
    }

    fn value() -> Value {
        let values = [
            Value::Int(7),
            Value::Uint(u64::MAX.into()),
            Value::F32(0.5),
            Value::String("Ada Lovelace".to_owned()),
            Value::Bool(true),
            Value::Char('ä'),
            Value::Timestamp(1_500_000),
            Value::Duration(Duration::from_millis(250)),
        ];
        let mut fields: Vec<_> = FIELDS.iter().map(|(name, _)| (*name).to_owned()).zip(values).collect();
        fields.push(("maybe".to_owned(), Value::Option(None)));
        let pair = Value::Tuple(vec![Value::Uint(3), Value::String("three".to_owned())]);
        fields.push(("pair".to_owned(), pair));
        Value::Struct(fields)
    }

    impl Names for Record {
        fn find(&mut self, path: &[String]) -> Result<(usize, DataType, usize), String> {
            let DataType::Struct(fields) = data_type() else { unreachable!() };
            if path[0] == "value" {
                return Ok((0, data_type(), 1));
            }
            let known = fields.iter().any(|field| field.name == path[0]);
            if known { Ok((0, data_type(), 0)) } else { Err(format!("found `{}`", path[0])) }
        }
    }

    fn typed(text: &str) -> Result<Expression, String> {
        let syntax = Syntax::parse(text).map_err(|p| p.text)?;
        Expression::new(&syntax, &mut Record).map_err(|p| p.text)
    }

    fn made(text: &str) -> String {
        let expression = typed(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        expression.run(&|_| Ok(value())).map_or_else(|error| format!("error: {error}"), |v| v.to_string())
    }

    #[test]
    fn kinds_that_do_not_go_together_are_refused_before_any_row_is_read() {
        for (text, wanted) in [
            (
                "n + name",
                "found an integer `+` text, wanted two numbers of one kind, two texts, or a time and a Duration",
            ),
            ("n * x", "found an integer `*` a float, wanted two numbers of one kind"),
            ("not n", "found `not` before an integer, wanted a bool"),
            ("-name", "found `-` before text, wanted a number"),
            ("if n then 1 else 2", "found an integer, wanted a bool behind `if`"),
            (
                "if on then 1 else 'a'",
                "found an integer behind `then` and text behind `else`, wanted the same kind",
            ),
            ("maybe < 1", "found an Option of an integer `<` an integer, wanted numbers, texts or times"),
            ("upper(n)", "found `upper` of an integer, wanted text"),
            ("upper()", "found `upper` of nothing, wanted text"),
            ("min(n)", "found `min` of an integer, wanted values of one kind that compare"),
            ("name.first", "found `first`, which String does not have"),
            ("pair.2", "found `2`, which (u8, String) does not have"),
            ("nobody", "found `nobody`"),
        ] {
            assert_eq!(typed(text).unwrap_err(), wanted, "{text}");
        }
        assert!(typed("launch()").unwrap_err().starts_with("found `launch(...)`, wanted one of abs, after,"));
    }

    #[test]
    fn what_has_no_result_is_an_error_and_never_wraps() {
        for (text, wanted) in [
            ("n / (n - 7)", "error: 7 / 0"),
            ("n % 0", "error: 7 % 0"),
            ("u * u", "error: 18446744073709551615 * 18446744073709551615 is too large"),
            (
                "170141183460469231731687303715884105727 + 1",
                "error: 170141183460469231731687303715884105727 + 1 is too large",
            ),
            ("int(name)", "error: \"Ada Lovelace\" is not an integer"),
            ("int(x)", "error: 0.5 does not fit i128"),
            ("float(name)", "error: \"Ada Lovelace\" is not a float"),
            ("span - span - span", "error: a Duration below 0 or too long"),
            ("time(9223372036854775807)", "error: 9223372036854775807 ms are beyond all timestamps"),
            ("span(-1)", "error: -1 ms are no Duration"),
        ] {
            assert_eq!(made(text), wanted, "{text}");
        }
    }

    #[test]
    fn expressions_have_the_values_that_one_expects() {
        for (text, wanted) in [
            ("n * 2 + 1", "15"),
            ("-7 / 2", "-3"),
            ("-7 % 2", "-1"),
            ("u", "18446744073709551615"),
            ("x * 3", "1.5"),
            ("x + 1 > 1.25", "true"),
            ("before(name, ' ') + '-' + after(name, ' ')", "\"Ada-Lovelace\""),
            ("before(name, '?') + after(name, '?')", "\"Ada Lovelace\""),
            ("upper(slice(name, 0, 3)) + letter", "\"ADAä\""),
            ("len(name) + len(letter)", "13"),
            ("replace(trim(' a a '), 'a', 'b')", "\"b b\""),
            ("contains(name, 'a L') and starts_with(name, 'Ada') and not ends_with(name, 'x')", "true"),
            ("if on then n else 0", "7"),
            ("if on then maybe else 3", "none"),
            ("if not on then maybe else 3", "3"),
            ("otherwise(maybe, n)", "7"),
            ("is_none(maybe) and maybe == none", "true"),
            ("some(n) == 7", "true"),
            ("max(n, 3, 9) - min(n, 3)", "6"),
            ("abs(-2.5)", "2.5"),
            ("round(2.5) + floor(-0.5) + ceil(0.2)", "3.0"),
            ("int('42') + int(true) + int(3.0)", "46"),
            ("text(n) + text(on) + text(x)", "\"7true0.5\""),
            ("at + span", "1970-01-01T00:00:01.75Z"),
            ("at - span < at", "true"),
            ("millis(at) + millis(span)", "1750"),
            ("time(1000) + span(500)", "1970-01-01T00:00:01.5Z"),
            ("pair.1 + text(pair.f0)", "\"three3\""),
            ("{b: n, a: (on, x)}", "{b: 7, a: (true, 0.5)}"),
            ("value.n", "7"),
            ("pair == (3, 'three')", "true"),
            ("name == 'x' or n >= 7", "true"),
            // What is not chosen is not computed.
            ("if n == 0 then 1 / n else 0", "0"),
            ("n != 0 and 7 / n == 1 or 1 / 0 == 1", "true"),
        ] {
            assert_eq!(made(text), wanted, "{text}");
        }
    }
}
