//! What an expression means: names become inputs, each part gets a kind, and what cannot be is refused before any row
//! is read.

use super::Problem;
use super::functions::Function;
use super::syntax::{Binary, Syntax, What};
use crate::model::{DataType, Value};
use std::fmt;
use std::time::Duration;

/// What a part of an expression is, as far as computing goes: all integers are alike, and so are text and characters.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rewrite) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    Duration,
    Timestamp,
    /// `none`, before it is known of what.
    Nothing,
    Option(Box<Kind>),
    Tuple(Vec<Kind>),
    Struct(Vec<(String, Kind)>),
    /// A type that is handed on as it is.
    Other(DataType),
}

impl Kind {
    pub(in crate::rewrite) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool,
            DataType::I8
            | DataType::I16
            | DataType::I32
            | DataType::I64
            | DataType::I128
            | DataType::U8
            | DataType::U16
            | DataType::U32
            | DataType::U64
            | DataType::U128 => Self::Int,
            DataType::F32 | DataType::F64 => Self::Float,
            DataType::Char | DataType::String => Self::Text,
            DataType::Bytes | DataType::FixedBytes(_) => Self::Bytes,
            DataType::Duration => Self::Duration,
            DataType::Timestamp => Self::Timestamp,
            DataType::Option(inner) => Self::Option(Box::new(Self::of(inner))),
            DataType::Tuple(parts) => Self::Tuple(parts.iter().map(Self::of).collect()),
            DataType::Struct(fields) => {
                Self::Struct(fields.iter().map(|f| (f.name.clone(), Self::of(&f.data_type))).collect())
            }
            other => Self::Other(other.clone()),
        }
    }

    /// Whether values of both are compared with each other.
    fn compares(&self) -> bool {
        matches!(
            self,
            Self::Bool
                | Self::Int
                | Self::Float
                | Self::Text
                | Self::Bytes
                | Self::Duration
                | Self::Timestamp
        )
    }

    /// The kind that values of either have, if there is one.
    fn common(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (a, b) if a == b => a.clone(),
            (Self::Nothing, Self::Option(inner)) | (Self::Option(inner), Self::Nothing) => {
                Self::Option(inner.clone())
            }
            (Self::Option(a), Self::Option(b)) => Self::Option(Box::new(a.common(b)?)),
            (Self::Nothing, some) | (some, Self::Nothing) => Self::Option(Box::new(some.clone())),
            (Self::Option(inner), some) | (some, Self::Option(inner)) => {
                Self::Option(Box::new(inner.common(some)?))
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("an integer"),
            Self::Float => f.write_str("a float"),
            Self::Text => f.write_str("text"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("a Duration"),
            Self::Timestamp => f.write_str("a timestamp"),
            Self::Nothing => f.write_str("none"),
            Self::Option(inner) => write!(f, "an Option of {inner}"),
            Self::Tuple(parts) => write!(f, "a tuple of {}", parts.len()),
            Self::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "a struct of {}", names.join(", "))
            }
            Self::Other(data_type) => write!(f, "{data_type}"),
        }
    }
}

/// What the names of an expression mean.
pub(in crate::rewrite) trait Names {
    /// Finds the input that the longest beginning of a path means: its number, its type, and how many names it took.
    ///
    /// # Errors
    ///
    /// What is wrong with the path.
    fn find(&mut self, path: &[String]) -> Result<(usize, DataType, usize), String>;
}

/// An expression that is ready to be computed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rewrite) struct Expression {
    pub(super) node: Node,
    pub(in crate::rewrite) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Input(usize),
    /// A field of a struct or a part of a tuple, by its position.
    Part(Box<Node>, usize),
    Literal(Value),
    Tuple(Vec<Node>),
    Struct(Vec<(String, Node)>),
    Not(Box<Node>),
    Minus(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    Call(Function, Vec<Node>),
    /// `Some` of a value.
    Present(Box<Node>),
}

impl Expression {
    pub(in crate::rewrite) fn new(syntax: &Syntax, names: &mut dyn Names) -> Result<Self, Problem> {
        let (node, kind) = typed(syntax, names)?;
        Ok(Self { node, kind })
    }
}

type Typed = (Node, Kind);

fn typed(syntax: &Syntax, names: &mut dyn Names) -> Result<Typed, Problem> {
    let wrong = |text: String| Problem::new(syntax.at, text);
    Ok(match &syntax.what {
        What::Int(value) => (Node::Literal(Value::Int(*value)), Kind::Int),
        What::Float(value) => (Node::Literal(Value::F64(*value)), Kind::Float),
        What::Text(text) => (Node::Literal(Value::String(text.clone())), Kind::Text),
        What::Bool(value) => (Node::Literal(Value::Bool(*value)), Kind::Bool),
        What::None => (Node::Literal(Value::Option(None)), Kind::Nothing),
        What::Path(path) => find(syntax, path, names)?,
        What::Tuple(parts) => {
            let parts = parts.iter().map(|part| typed(part, names)).collect::<Result<Vec<_>, _>>()?;
            let (nodes, kinds) = parts.into_iter().unzip();
            (Node::Tuple(nodes), Kind::Tuple(kinds))
        }
        What::Struct(fields) => {
            let (mut nodes, mut kinds) = (Vec::new(), Vec::new());
            for (name, field) in fields {
                let (node, kind) = typed(field, names)?;
                nodes.push((name.clone(), node));
                kinds.push((name.clone(), kind));
            }
            (Node::Struct(nodes), Kind::Struct(kinds))
        }
        What::Not(inner) => match typed(inner, names)? {
            (node, Kind::Bool) => (Node::Not(Box::new(node)), Kind::Bool),
            (_, kind) => return Err(wrong(format!("found `not` before {kind}, wanted a bool"))),
        },
        What::Minus(inner) => match typed(inner, names)? {
            (node, kind @ (Kind::Int | Kind::Float)) => (Node::Minus(Box::new(node)), kind),
            (_, kind) => return Err(wrong(format!("found `-` before {kind}, wanted a number"))),
        },
        What::If(parts) => {
            let [condition, then, other] = &**parts;
            let (test, kind) = typed(condition, names)?;
            if kind != Kind::Bool {
                return Err(Problem::new(condition.at, format!("found {kind}, wanted a bool behind `if`")));
            }
            let (then, other) = (typed(then, names)?, typed(other, names)?);
            let (then, other, kind) = alike(then, other).map_err(|(a, b)| {
                wrong(format!("found {a} behind `then` and {b} behind `else`, wanted the same kind"))
            })?;
            (Node::If(Box::new([test, then, other])), kind)
        }
        What::Binary(operator, a, b) => binary(syntax, *operator, typed(a, names)?, typed(b, names)?)?,
        What::Call(name, args) => {
            let args = args.iter().map(|arg| typed(arg, names)).collect::<Result<Vec<_>, _>>()?;
            let (nodes, kinds): (Vec<_>, Vec<_>) = args.into_iter().unzip();
            let (function, kind) = Function::find(name, &kinds).map_err(wrong)?;
            (Node::Call(function, nodes), kind)
        }
    })
}

/// Brings both to one kind.
fn alike((a, a_kind): Typed, (b, b_kind): Typed) -> Result<(Node, Node, Kind), (Kind, Kind)> {
    let Some(kind) = a_kind.common(&b_kind) else {
        return match (a_kind, b_kind) {
            (Kind::Float, Kind::Int) if is_literal(&b) => Ok((a, to_float(b), Kind::Float)),
            (Kind::Int, Kind::Float) if is_literal(&a) => Ok((to_float(a), b, Kind::Float)),
            kinds => Err(kinds),
        };
    };
    let lift = |node, from: &Kind| match (&kind, from) {
        (Kind::Option(_), Kind::Option(_) | Kind::Nothing) => node,
        (Kind::Option(_), _) => Node::Present(Box::new(node)),
        _ => node,
    };
    let (a, b) = (lift(a, &a_kind), lift(b, &b_kind));
    Ok((a, b, kind))
}

fn is_literal(node: &Node) -> bool {
    matches!(node, Node::Literal(Value::Int(_)))
}

/// A whole number that was written beside floats.
fn to_float(node: Node) -> Node {
    match node {
        Node::Literal(Value::Int(value)) => Node::Literal(Value::F64(value as f64)),
        other => other,
    }
}

fn binary(syntax: &Syntax, operator: Binary, a: Typed, b: Typed) -> Result<Typed, Problem> {
    let kinds = (a.1.clone(), b.1.clone());
    let refuse = |wanted: &str| {
        let (a, b) = &kinds;
        Err(Problem::new(syntax.at, format!("found {a} `{}` {b}, wanted {wanted}", operator.sign())))
    };
    let node = |a, b| Node::Binary(operator, Box::new(a), Box::new(b));
    Ok(match operator {
        Binary::Or | Binary::And => match kinds {
            (Kind::Bool, Kind::Bool) => (node(a.0, b.0), Kind::Bool),
            _ => return refuse("two bools"),
        },
        Binary::Equal | Binary::Unequal => match alike(a, b) {
            Ok((a, b, _)) => (node(a, b), Kind::Bool),
            Err(_) => return refuse("the same kind on both sides"),
        },
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => match alike(a, b) {
            Ok((a, b, kind)) if kind.compares() => (node(a, b), Kind::Bool),
            _ => return refuse("numbers, texts or times"),
        },
        Binary::Plus | Binary::Minus => match &kinds {
            (Kind::Text, Kind::Text) if operator == Binary::Plus => (node(a.0, b.0), Kind::Text),
            (Kind::Timestamp, Kind::Duration) => (node(a.0, b.0), Kind::Timestamp),
            (Kind::Duration, Kind::Duration) => (node(a.0, b.0), Kind::Duration),
            _ => match alike(a, b) {
                Ok((a, b, kind @ (Kind::Int | Kind::Float))) => (node(a, b), kind),
                _ => return refuse("two numbers of one kind, two texts, or a time and a Duration"),
            },
        },
        Binary::Times | Binary::Divide | Binary::Remainder => match alike(a, b) {
            Ok((a, b, kind @ (Kind::Int | Kind::Float))) => (node(a, b), kind),
            _ => return refuse("two numbers of one kind"),
        },
    })
}

/// Finds what a path means, as far as it leads into an input, and from there on.
fn find(syntax: &Syntax, path: &[String], names: &mut dyn Names) -> Result<Typed, Problem> {
    let wrong = |text: String| Problem::new(syntax.at, text);
    let (input, mut data_type, taken) = names.find(path).map_err(wrong)?;
    let mut node = Node::Input(input);
    for name in &path[taken..] {
        let found = match &data_type {
            DataType::Struct(fields) => {
                let position = fields.iter().position(|field| field.name == *name);
                position.map(|position| (position, fields[position].data_type.clone()))
            }
            DataType::Tuple(parts) => {
                let position = name.strip_prefix('f').unwrap_or(name).parse::<usize>().ok();
                position.and_then(|position| Some((position, parts.get(position)?.clone())))
            }
            _ => None,
        };
        let Some((position, part)) = found else {
            return Err(wrong(format!("found `{name}`, which {data_type} does not have")));
        };
        (node, data_type) = (Node::Part(Box::new(node), position), part);
    }
    Ok((node, Kind::of(&data_type)))
}

/// The longest span that is computed with.
pub(super) const LONGEST: Duration = Duration::from_secs(i64::MAX as u64);
