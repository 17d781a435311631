//! Types as text: reading what `Display` shows (`{at_ms: i64, by: Option<String>}`).
//!
//! The text has no `was` and no defaults, so that a type with them reads back without. An enum of one variant without
//! data is shown as its name alone, and read as `| Name`.

use super::{DataType, Field, Variant};
use std::fmt;
use std::str::FromStr;

/// Text is not a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAType {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What there is.
    pub found: String,
    /// What is wanted there.
    pub wanted: String,
}

impl fmt::Display for NotAType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, wanted {}", self.found, self.wanted)
    }
}

impl std::error::Error for NotAType {}

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// Reads the type as it is shown.
///
/// # Examples
///
/// ```
/// use pitlane::model::DataType;
///
/// let shown = "{armed: bool, by: Nobody | Person(String), seen: Map<String, Vec<u8>>}";
/// assert_eq!(shown.parse::<DataType>()?.to_string(), shown);
/// # Ok::<(), pitlane::model::NotAType>(())
/// ```
impl FromStr for DataType {
    type Err = NotAType;

    fn from_str(text: &str) -> Result<Self, NotAType> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let data_type = reader.any()?;
        if !reader.rest().is_empty() {
            return Err(reader.odd("the end"));
        }
        Ok(data_type)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// What is left, behind white space.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn odd(&mut self, wanted: &str) -> NotAType {
        let rest = self.rest();
        let word = word_of(rest);
        let found = match (word, rest.chars().next()) {
            ("", None) => "the end".to_owned(),
            ("", Some(other)) => format!("`{other}`"),
            (word, _) => format!("`{word}`"),
        };
        NotAType { at: self.at, found, wanted: wanted.to_owned() }
    }

    fn eat(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    fn expect(&mut self, text: &str) -> Result<(), NotAType> {
        if self.eat(text) { Ok(()) } else { Err(self.odd(&format!("`{text}`"))) }
    }

    fn word(&mut self, wanted: &str) -> Result<&'a str, NotAType> {
        let word = word_of(self.rest());
        if word.is_empty() {
            return Err(self.odd(wanted));
        }
        self.at += word.len();
        Ok(word)
    }

    fn digits(&mut self, wanted: &str) -> Result<u8, NotAType> {
        let start = self.at;
        let number = self.word(wanted)?;
        number.parse().map_err(|_| {
            self.at = start;
            self.odd(wanted)
        })
    }

    /// Reads a type, or the variants of an enum.
    fn any(&mut self) -> Result<DataType, NotAType> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.odd("a type that is not as deep as that"));
        }
        let rest = self.rest();
        let word = word_of(rest);
        let next = rest[word.len()..].trim_start().chars().next();
        // A lone word is never taken for an enum of one variant: it is more likely a type with a typing error.
        let is_enum = match (word, next) {
            ("", next) => next == Some('|'),
            ("decimal", Some('(')) => false,
            (_, next) => matches!(next, Some('|' | '(' | '{')),
        };
        let made = if is_enum { self.enumeration() } else { self.single() };
        self.depth -= 1;
        made
    }

    fn enumeration(&mut self) -> Result<DataType, NotAType> {
        self.eat("|");
        let mut variants = vec![self.variant()?];
        while self.eat("|") {
            variants.push(self.variant()?);
        }
        Ok(DataType::Enum(variants))
    }

    fn variant(&mut self) -> Result<Variant, NotAType> {
        let name = self.word("the name of a variant")?.to_owned();
        let rest = self.rest();
        let payload = if rest.starts_with('{') {
            Some(self.single()?)
        } else if self.eat("(") {
            let (mut parts, has_comma) = self.list(")")?;
            Some(match parts.len() {
                1 if !has_comma => parts.remove(0),
                _ => DataType::Tuple(parts),
            })
        } else {
            None
        };
        Ok(Variant { name, was: None, payload })
    }

    /// Reads types up to `end`; says whether there was a comma behind the last.
    fn list(&mut self, end: &str) -> Result<(Vec<DataType>, bool), NotAType> {
        let mut parts = Vec::new();
        let mut has_comma = false;
        while !self.eat(end) {
            if !parts.is_empty() && !has_comma {
                return Err(self.odd(&format!("`,` or `{end}`")));
            }
            parts.push(self.any()?);
            has_comma = self.eat(",");
        }
        Ok((parts, has_comma))
    }

    /// Reads one type that is no enum.
    fn single(&mut self) -> Result<DataType, NotAType> {
        if self.eat("{") {
            return self.structure();
        }
        if self.eat("(") {
            let (mut parts, has_comma) = self.list(")")?;
            return Ok(match parts.len() {
                0 => DataType::Unit,
                1 if !has_comma => parts.remove(0),
                _ => DataType::Tuple(parts),
            });
        }
        if self.eat("[") {
            let is_u8 = self.word("`u8`")? == "u8";
            if !is_u8 {
                return Err(self.odd("`[u8; LENGTH]`"));
            }
            self.expect(";")?;
            let length = self.word("a length")?;
            let length = length.parse().ok().filter(|length| (1..=1 << 20).contains(length));
            let length = length.ok_or_else(|| self.odd("a length from 1 to 1048576 before this"))?;
            self.expect("]")?;
            return Ok(DataType::FixedBytes(length));
        }
        let start = self.at;
        let word = self.word("a type")?;
        let of = |reader: &mut Self| -> Result<Box<DataType>, NotAType> {
            reader.expect("<")?;
            let inner = reader.any()?;
            reader.expect(">")?;
            Ok(Box::new(inner))
        };
        Ok(match word {
            "bool" => DataType::Bool,
            "i8" => DataType::I8,
            "i16" => DataType::I16,
            "i32" => DataType::I32,
            "i64" => DataType::I64,
            "i128" => DataType::I128,
            "u8" => DataType::U8,
            "u16" => DataType::U16,
            "u32" => DataType::U32,
            "u64" => DataType::U64,
            "u128" => DataType::U128,
            "f32" => DataType::F32,
            "f64" => DataType::F64,
            "char" => DataType::Char,
            "String" => DataType::String,
            "bytes" => DataType::Bytes,
            "Duration" => DataType::Duration,
            "timestamp" => DataType::Timestamp,
            "timestamp_ns" => DataType::TimestampNs,
            "local_date_time" => DataType::LocalDateTime,
            "local_date_time_ns" => DataType::LocalDateTimeNs,
            "date" => DataType::Date,
            "time" => DataType::Time,
            "uuid" => DataType::Uuid,
            "decimal" => {
                self.expect("(")?;
                let precision = self.digits("how many digits")?;
                self.expect(",")?;
                let scale = self.digits("how many digits behind the point")?;
                self.expect(")")?;
                DataType::Decimal(precision, scale)
            }
            "msgpack" => DataType::Msgpack,
            "Option" => DataType::Option(of(self)?),
            "Vec" => DataType::List(of(self)?),
            "Set" => DataType::Set(of(self)?),
            "Map" => {
                self.expect("<")?;
                let key = Box::new(self.any()?);
                self.expect(",")?;
                let value = Box::new(self.any()?);
                self.expect(">")?;
                DataType::Map(key, value)
            }
            _ => {
                self.at = start;
                return Err(self.odd("a type such as `i64`, `String`, `Option<f64>` or `{name: type}`"));
            }
        })
    }

    fn structure(&mut self) -> Result<DataType, NotAType> {
        let mut fields: Vec<Field> = Vec::new();
        let mut has_comma = true;
        while !self.eat("}") {
            if !has_comma {
                return Err(self.odd("`,` or `}`"));
            }
            let start = self.at;
            let name = self.word("the name of a field")?;
            if fields.iter().any(|field| field.name == name) {
                self.at = start;
                return Err(self.odd("each name once"));
            }
            self.expect(":")?;
            fields.push(Field::new(name, self.any()?));
            has_comma = self.eat(",");
        }
        Ok(DataType::Struct(fields))
    }
}

/// The name that a text begins with.
fn word_of(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let error = text.parse::<DataType>().unwrap_err();
        (error.at, error.to_string())
    }

    #[test]
    fn text_that_is_no_type_is_refused_with_the_place() {
        assert_eq!(refused(""), (0, "found the end, wanted a type".to_owned()));
        assert_eq!(refused("{a: i64, b}"), (10, "found `}`, wanted `:`".to_owned()));
        assert_eq!(refused("{a: i64 b: u8}"), (8, "found `b`, wanted `,` or `}`".to_owned()));
        assert_eq!(refused("{a: i64, a: u8}"), (9, "found `a`, wanted each name once".to_owned()));
        assert_eq!(refused("Option<i64"), (10, "found the end, wanted `>`".to_owned()));
        assert_eq!(refused("i64 i64"), (4, "found `i64`, wanted the end".to_owned()));
        assert_eq!(refused("Map<String>"), (10, "found `>`, wanted `,`".to_owned()));
        assert_eq!(refused("[u8; 0]").0, 6);
        assert_eq!(refused("Sting").0, 0);
        assert_eq!(refused("A | ").1, "found the end, wanted the name of a variant");
        assert_eq!(refused("decimal(x, 2)"), (8, "found `x`, wanted how many digits".to_owned()));
        assert_eq!(refused("?"), (0, "found `?`, wanted a type".to_owned()));
        assert!(refused(&"Option<".repeat(100)).1.contains("not as deep"));
        assert!(refused(&"(".repeat(100_000)).1.contains("not as deep"));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for shown in [
            "()",
            "(bool, i64)",
            "(u8,)",
            "{}",
            "[u8; 16]",
            "Option<Option<Duration>>",
            "{a: {b: Vec<Set<char>>}, c: Map<(i8, u128), msgpack>}",
            "On | Off",
            "Idle | Run{speed: u8} | Wait(Option<u8>) | Pair(u8, f32) | One(u8,) | Unit(()) | None()",
            "{mode: String | Other, at: timestamp}",
            "(timestamp_ns, local_date_time, local_date_time_ns, date, time, uuid, decimal(18, 4))",
            "Option<A | B(X | Y(bytes))>",
        ] {
            assert_eq!(shown.parse::<DataType>().map(|t| t.to_string()), Ok(shown.to_owned()));
        }
        assert_eq!("| Alone".parse::<DataType>().map(|t| t.to_string()), Ok("Alone".to_owned()));
    }
}
