//! What may stand in `#[state(...)]`, and where.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, GenericArgument, Lit, LitInt, LitStr, PathArguments, Result, Type};

/// A name in an attribute.
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What a field without stored data reads as.
pub(crate) enum DefaultValue {
    /// `Default::default()`.
    Trait,
    /// The text itself, for a field that is text.
    Text(LitStr),
    /// What the expression returns.
    Expression(Box<Expr>),
}

/// Where an attribute stands, which decides what it may say.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Struct,
    TupleStruct,
    Enum,
    NamedField,
    TupleField,
    Variant,
    /// A variant with named fields.
    StructVariant,
}

impl Place {
    fn allowed(self) -> &'static [&'static str] {
        match self {
            Self::Struct => &["version", "dropped"],
            Self::TupleStruct | Self::Enum => &["version"],
            Self::NamedField => &["was", "default"],
            Self::TupleField => &[],
            Self::Variant => &["was"],
            Self::StructVariant => &["was", "dropped"],
        }
    }

    /// Says what there is instead of `name`.
    fn refusal(self, name: &str) -> String {
        let known = ["version", "dropped", "was", "default"].contains(&name);
        match self {
            Self::TupleField if known => format!(
                "`{name}` needs a field with a name: a field of a tuple is found by its position; \
                 give the fields names, or write a migration"
            ),
            Self::TupleStruct if name == "dropped" => {
                "`dropped` needs fields with names: write a migration that leaves the field out".to_owned()
            }
            Self::Enum if name == "dropped" => "a variant cannot be dropped, since a value may have it: \
                write a migration that says what becomes of such a value"
                .to_owned(),
            _ => {
                let allowed: Vec<_> = self.allowed().iter().map(|a| format!("`{a}`")).collect();
                let place = match self {
                    Self::Struct | Self::TupleStruct => "a struct",
                    Self::Enum => "an enum",
                    Self::NamedField | Self::TupleField => "a field",
                    Self::Variant | Self::StructVariant => "a variant",
                };
                match allowed.is_empty() {
                    true => format!("unknown attribute `{name}`: a field without a name has none"),
                    false => format!("unknown attribute `{name}`: {place} has {}", allowed.join(" and ")),
                }
            }
        }
    }
}

/// Everything that `#[state(...)]` says in one place.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) version: Option<u32>,
    pub(crate) dropped: Vec<Name>,
    pub(crate) was: Option<Name>,
    pub(crate) default: Option<DefaultValue>,
}

impl Attributes {
    /// Reads the attributes of one place; `ty` is the type of a field.
    pub(crate) fn read(attributes: &[Attribute], place: Place, ty: Option<&Type>) -> Result<Self> {
        let mut read = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("state")) {
            attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(|ident| ident.unraw().to_string()).unwrap_or_default();
                if !place.allowed().contains(&name.as_str()) {
                    return Err(meta.error(place.refusal(&name)));
                }
                match name.as_str() {
                    "version" => set(&mut read.version, version(&meta)?, &meta, &name),
                    "was" => set(&mut read.was, text(&meta)?, &meta, &name),
                    "default" => set(&mut read.default, default_value(&meta, ty)?, &meta, &name),
                    _ => dropped(&meta, &mut read.dropped),
                }
            })?;
        }
        Ok(read)
    }
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>, name: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error(format!("`{name}` is given twice"))),
    }
}

fn version(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let literal: LitInt = meta.value()?.parse()?;
    match literal.base10_parse() {
        Ok(0) => Err(Error::new(literal.span(), "schema versions count from 1")),
        version => version,
    }
}

fn name_of(literal: &LitStr) -> Result<Name> {
    match literal.value() {
        text if text.is_empty() => Err(Error::new(literal.span(), "a name has at least one character")),
        text => Ok(Name { text, span: literal.span() }),
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<Name> {
    name_of(&meta.value()?.parse()?)
}

/// `dropped = "a"` or `dropped("a", "b")`, both as often as needed.
fn dropped(meta: &ParseNestedMeta<'_>, names: &mut Vec<Name>) -> Result<()> {
    if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        for literal in content.parse_terminated(<LitStr as syn::parse::Parse>::parse, syn::Token![,])? {
            names.push(name_of(&literal)?);
        }
    } else {
        names.push(text(meta)?);
    }
    Ok(())
}

/// `default`, `default = expression` or `default = "expression"`; on a field that is text, the text itself.
fn default_value(meta: &ParseNestedMeta<'_>, ty: Option<&Type>) -> Result<DefaultValue> {
    if !meta.input.peek(syn::Token![=]) {
        return Ok(DefaultValue::Trait);
    }
    let expression: Expr = meta.value()?.parse()?;
    Ok(match &expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) if ty.is_some_and(is_text) => DefaultValue::Text(text.clone()),
            Lit::Str(code) => DefaultValue::Expression(Box::new(code.parse().map_err(|error| {
                Error::new(
                    code.span(),
                    format!("the text is not an expression ({error}): write it without quotes"),
                )
            })?)),
            _ => DefaultValue::Expression(Box::new(expression)),
        },
        _ => DefaultValue::Expression(Box::new(expression)),
    })
}

/// Returns whether the type is written as `String`, or as a pointer to `str`.
fn is_text(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    match &last.arguments {
        PathArguments::AngleBracketed(inner) => {
            let is_str = |t: &GenericArgument| matches!(t, GenericArgument::Type(Type::Path(p)) if p.path.is_ident("str"));
            ["Box", "Rc", "Arc"].iter().any(|pointer| last.ident == pointer) && inner.args.iter().all(is_str)
        }
        _ => last.ident == "String",
    }
}
