//! The text of an expression as a tree.
//!
//! ```text
//! either  = "if" either "then" either "else" either | or
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | compare
//! compare = sum [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum ]
//! sum     = product { ( "+" | "-" ) product }
//! product = minus { ( "*" | "/" | "%" ) minus }
//! minus   = "-" minus | plain
//! plain   = number | text | "true" | "false" | "none" | path | name "(" [ either { "," either } ] ")"
//!         | "(" either ")" | "(" either "," [ either { "," either } ] ")" | "{" name ":" either { "," ... } "}"
//! path    = name { "." ( name | digits ) }
//! text    = "'" ... "'" | '"' ... '"'             a quote is doubled inside
//! ```

use super::Problem;

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// The longest text: what follows each other is nested in the tree.
const MAX_BYTES: usize = 4096;

/// A part of an expression, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rewrite) struct Syntax {
    pub(super) at: usize,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Int(i128),
    Float(f64),
    Text(String),
    Bool(bool),
    None,
    Path(Vec<String>),
    Call(String, Vec<Syntax>),
    Tuple(Vec<Syntax>),
    Struct(Vec<(String, Syntax)>),
    Not(Box<Syntax>),
    Minus(Box<Syntax>),
    Binary(Binary, Box<Syntax>, Box<Syntax>),
    If(Box<[Syntax; 3]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

/// The signs of the operators, the longer ones first.
const SIGNS: [(&str, Binary); 11] = [
    ("==", Binary::Equal),
    ("!=", Binary::Unequal),
    ("<=", Binary::LessOrEqual),
    (">=", Binary::GreaterOrEqual),
    ("<", Binary::Less),
    (">", Binary::Greater),
    ("+", Binary::Plus),
    ("-", Binary::Minus),
    ("*", Binary::Times),
    ("/", Binary::Divide),
    ("%", Binary::Remainder),
];

impl Binary {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            other => SIGNS.iter().find(|(_, sign)| *sign == other).map_or("", |(text, _)| text),
        }
    }

    /// Binds closer the higher it is.
    fn level(self) -> u8 {
        match self {
            Self::Or => 0,
            Self::And => 1,
            Self::Plus | Self::Minus => 3,
            Self::Times | Self::Divide | Self::Remainder => 4,
            _ => 2,
        }
    }
}

/// The level of comparisons, which do not follow each other, and the one above all.
const COMPARE: u8 = 2;
const MINUS: u8 = 5;

impl Syntax {
    pub(in crate::rewrite) fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            let text = format!("found {} bytes, wanted an expression of at most {MAX_BYTES}", text.len());
            return Err(Problem::new(0, text));
        }
        let mut reader = Reader { text, at: 0, depth: 0 };
        let whole = reader.either()?;
        match reader.rest() {
            "" => Ok(whole),
            _ => Err(reader.odd("an operator, or the end")),
        }
    }

    /// The path, if it is nothing else.
    pub(in crate::rewrite) fn path(&self) -> Option<&[String]> {
        if let What::Path(names) = &self.what { Some(names) } else { None }
    }

    /// The fields, if it is a struct.
    pub(in crate::rewrite) fn fields(&self) -> Option<&[(String, Self)]> {
        if let What::Struct(fields) = &self.what { Some(fields) } else { None }
    }

    /// The parts, if it is a tuple.
    pub(in crate::rewrite) fn parts(&self) -> Option<&[Self]> {
        if let What::Tuple(parts) = &self.what { Some(parts) } else { None }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

fn word_of(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

impl<'a> Reader<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn odd(&mut self, wanted: &str) -> Problem {
        let rest = self.rest();
        let found = match (word_of(rest), rest.chars().next()) {
            ("", None) => "the end".to_owned(),
            ("", Some(other)) => format!("`{other}`"),
            (word, _) => format!("`{word}`"),
        };
        Problem::new(self.at, format!("found {found}, wanted {wanted}"))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len() } else { 0 };
        is_next
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let is_next = word_of(self.rest()) == word;
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), Problem> {
        if self.eat(sign) { Ok(()) } else { Err(self.odd(&format!("`{sign}`"))) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Problem> {
        if self.eat_word(word) { Ok(()) } else { Err(self.odd(&format!("`{word}`"))) }
    }

    fn either(&mut self) -> Result<Syntax, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::new(self.at, "an expression that is nested too deeply"));
        }
        self.rest();
        let at = self.at;
        let made = if self.eat_word("if") {
            let condition = self.either()?;
            self.expect_word("then")?;
            let then = self.either()?;
            self.expect_word("else")?;
            Syntax { at, what: What::If(Box::new([condition, then, self.either()?])) }
        } else {
            self.binary(0)?
        };
        self.depth -= 1;
        Ok(made)
    }

    /// Reads operators of `level` and above.
    fn binary(&mut self, level: u8) -> Result<Syntax, Problem> {
        if level == MINUS {
            return self.minus();
        }
        let mut left = if level == COMPARE { self.not()? } else { self.binary(level + 1)? };
        loop {
            self.rest();
            let at = self.at;
            let Some(operator) = self.operator().filter(|operator| operator.level() == level) else {
                self.at = at;
                return Ok(left);
            };
            let right = self.binary(level + 1)?;
            left = Syntax { at, what: What::Binary(operator, Box::new(left), Box::new(right)) };
            if level == COMPARE {
                return Ok(left);
            }
        }
    }

    fn operator(&mut self) -> Option<Binary> {
        if self.eat_word("or") {
            return Some(Binary::Or);
        }
        if self.eat_word("and") {
            return Some(Binary::And);
        }
        SIGNS.iter().find(|(sign, _)| self.eat(sign)).map(|(_, operator)| *operator)
    }

    fn not(&mut self) -> Result<Syntax, Problem> {
        self.rest();
        let at = self.at;
        if !self.eat_word("not") {
            return self.binary(COMPARE + 1);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::new(at, "an expression that is nested too deeply"));
        }
        // `not a == b` is `not (a == b)`.
        let inner = self.binary(COMPARE)?;
        self.depth -= 1;
        Ok(Syntax { at, what: What::Not(Box::new(inner)) })
    }

    fn minus(&mut self) -> Result<Syntax, Problem> {
        self.rest();
        let at = self.at;
        if !self.eat("-") {
            return self.plain();
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::new(at, "an expression that is nested too deeply"));
        }
        let inner = self.minus()?;
        self.depth -= 1;
        let what = match inner.what {
            What::Int(value) => What::Int(-value),
            What::Float(value) => What::Float(-value),
            _ => What::Minus(Box::new(inner)),
        };
        Ok(Syntax { at, what })
    }

    fn plain(&mut self) -> Result<Syntax, Problem> {
        let rest = self.rest();
        let at = self.at;
        let what = match rest.chars().next() {
            Some('0'..='9') => self.number()?,
            Some(quote @ ('\'' | '"')) => self.text(quote)?,
            Some('(') => {
                self.at += 1;
                let (mut parts, has_comma) = self.list(")")?;
                match parts.len() {
                    0 => return Err(Problem::new(at, "found nothing in parentheses, wanted an expression")),
                    1 if !has_comma => return Ok(parts.remove(0)),
                    _ => What::Tuple(parts),
                }
            }
            Some('{') => {
                self.at += 1;
                self.structure()?
            }
            _ => match word_of(rest) {
                "" | "if" | "then" | "else" | "and" | "or" => {
                    return Err(self.odd("a value, a name or a function"));
                }
                word => {
                    self.at += word.len();
                    match word {
                        "true" => What::Bool(true),
                        "false" => What::Bool(false),
                        "none" => What::None,
                        name if self.text[self.at..].starts_with('(') => {
                            self.at += 1;
                            What::Call(name.to_owned(), self.list(")")?.0)
                        }
                        name => self.path(name)?,
                    }
                }
            },
        };
        Ok(Syntax { at, what })
    }

    fn path(&mut self, first: &str) -> Result<What, Problem> {
        let mut names = vec![first.to_owned()];
        while self.text[self.at..].starts_with('.') {
            self.at += 1;
            let word = word_of(&self.text[self.at..]);
            if word.is_empty() {
                return Err(self.odd("the name of a field"));
            }
            self.at += word.len();
            names.push(word.to_owned());
        }
        Ok(What::Path(names))
    }

    fn list(&mut self, end: &str) -> Result<(Vec<Syntax>, bool), Problem> {
        let mut parts = Vec::new();
        let mut has_comma = false;
        while !self.eat(end) {
            if !parts.is_empty() && !has_comma {
                return Err(self.odd(&format!("`,` or `{end}`")));
            }
            parts.push(self.either()?);
            has_comma = self.eat(",");
        }
        Ok((parts, has_comma))
    }

    fn structure(&mut self) -> Result<What, Problem> {
        let mut fields: Vec<(String, Syntax)> = Vec::new();
        let mut has_comma = true;
        while !self.eat("}") {
            if !has_comma {
                return Err(self.odd("`,` or `}`"));
            }
            let name = word_of(self.rest());
            if name.is_empty() || fields.iter().any(|(known, _)| known == name) {
                return Err(self.odd("the name of a field, each once"));
            }
            self.at += name.len();
            self.expect(":")?;
            fields.push((name.to_owned(), self.either()?));
            has_comma = self.eat(",");
        }
        Ok(What::Struct(fields))
    }

    fn number(&mut self) -> Result<What, Problem> {
        let start = self.at;
        let rest = &self.text[start..];
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let mut end = digits(rest);
        let mut is_float = false;
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            is_float = true;
            end += 1 + digits(&rest[end + 1..]);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let signed = rest[end + 1..].strip_prefix(['+', '-']).map_or(0, |_| 1);
            let exponent = digits(&rest[end + 1 + signed..]);
            if exponent > 0 {
                is_float = true;
                end += 1 + signed + exponent;
            }
        }
        self.at += end;
        let plain = rest[..end].replace('_', "");
        let bad = || Problem::new(start, format!("found `{}`, wanted a number that fits", &rest[..end]));
        if !word_of(&rest[end..]).is_empty() {
            return Err(Problem::new(
                start,
                format!("found `{}`, wanted a number", &rest[..end + word_of(&rest[end..]).len()]),
            ));
        }
        Ok(if is_float {
            What::Float(plain.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(bad)?)
        } else {
            What::Int(plain.parse().map_err(|_| bad())?)
        })
    }

    fn text(&mut self, quote: char) -> Result<What, Problem> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find(quote) else {
                return Err(Problem::new(start, format!("found text without an end, wanted `{quote}`")));
            };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            // A doubled quote is one inside of the text.
            if !self.text[self.at..].starts_with(quote) {
                return Ok(What::Text(text));
            }
            text.push(quote);
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(syntax: &Syntax) -> String {
        let all = |parts: &[Syntax]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
        match &syntax.what {
            What::Int(value) => value.to_string(),
            What::Float(value) => format!("{value:?}"),
            What::Text(text) => format!("{text:?}"),
            What::Bool(value) => value.to_string(),
            What::None => "none".to_owned(),
            What::Path(names) => names.join("."),
            What::Call(name, args) => format!("({name} {})", all(args)),
            What::Tuple(parts) => format!("(tuple {})", all(parts)),
            What::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|(n, f)| format!("{n}={}", shown(f))).collect();
                format!("(struct {})", fields.join(" "))
            }
            What::Not(inner) => format!("(not {})", shown(inner)),
            What::Minus(inner) => format!("(- {})", shown(inner)),
            What::Binary(operator, a, b) => format!("({} {} {})", operator.sign(), shown(a), shown(b)),
            What::If(parts) => format!("(if {})", all(&**parts)),
        }
    }

    fn read(text: &str) -> String {
        shown(&Syntax::parse(text).unwrap_or_else(|p| panic!("{text}: {p:?}")))
    }

    fn refused(text: &str) -> (usize, String) {
        let problem = Syntax::parse(text).unwrap_err();
        (problem.at, problem.text)
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_place() {
        assert_eq!(refused(""), (0, "found the end, wanted a value, a name or a function".to_owned()));
        assert_eq!(refused("a +"), (3, "found the end, wanted a value, a name or a function".to_owned()));
        assert_eq!(refused("a b"), (2, "found `b`, wanted an operator, or the end".to_owned()));
        assert_eq!(refused("if a then b"), (11, "found the end, wanted `else`".to_owned()));
        assert_eq!(refused("f(a b)"), (4, "found `b`, wanted `,` or `)`".to_owned()));
        assert_eq!(refused("'abc"), (0, "found text without an end, wanted `'`".to_owned()));
        assert_eq!(refused("a."), (2, "found the end, wanted the name of a field".to_owned()));
        assert_eq!(refused("a < b < c").0, 6);
        assert_eq!(refused("12ab"), (0, "found `12ab`, wanted a number".to_owned()));
        assert_eq!(refused("{a: 1, a: 2}").0, 7);
        assert_eq!(refused("()").0, 0);
        for deep in ["(", "-", "not ", "if "].map(|text| text.repeat(1000)) {
            assert!(refused(&deep).1.contains("deep"), "{}", &deep[..4]);
        }
        assert!(refused(&"1+".repeat(3000)).1.contains("at most 4096"));
    }

    #[test]
    fn operators_bind_as_one_expects() {
        assert_eq!(read("a + b * c - d"), "(- (+ a (* b c)) d)");
        assert_eq!(read("a or not b == c and d"), "(or a (and (not (== b c)) d))");
        assert_eq!(read("-a * -1 - -2.5"), "(- (* (- a) -1) -2.5)");
        assert_eq!(read("(a + b) % 3 <= 1e3"), "(<= (% (+ a b) 3) 1000.0)");
        assert_eq!(read("if a.b then 'it''s' else none"), r#"(if a.b "it's" none)"#);
        assert_eq!(read(r#"before(value.0, " ") + "x""#), r#"(+ (before value.0 " ") "x")"#);
        assert_eq!(read("{a: 1, b: (x, 1_000,)}"), "(struct a=1 b=(tuple x 1000))");
        assert_eq!(read("(a)"), "a");
        assert_eq!(read("orange - android"), "(- orange android)");
    }
}
