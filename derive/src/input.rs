//! The type that a macro was put on, read and checked: what the format refuses is refused here.

use crate::attributes::{Attributes, DefaultValue, Name, Place};
use proc_macro2::Span;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Fields, GenericArgument, Generics, Ident, Member, PathArguments, Result, Type,
};

/// The name of the column that holds the variant of an enum with data.
pub(crate) const TAG: &str = "tag";

/// A type that can have columns.
pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) version: Option<u32>,
    pub(crate) shape: Shape,
}

/// What the type is made of.
#[expect(clippy::large_enum_variant, reason = "one of them lives for the time of a macro")]
pub(crate) enum Shape {
    Struct(Record),
    Enum(Vec<Variant>),
}

/// The fields of a struct or of a variant.
#[expect(clippy::large_enum_variant, reason = "one of them lives for the time of a macro")]
pub(crate) enum Record {
    /// No field and no braces.
    Unit,
    /// One field without a name: stored as the field is.
    Single(Field),
    /// Fields by position.
    Tuple(Vec<Field>),
    /// Fields by name, and the names of earlier ones that may vanish.
    Named(Vec<Field>, Vec<Name>),
}

/// A field.
pub(crate) struct Field {
    pub(crate) member: Member,
    /// The name of its column.
    pub(crate) name: String,
    pub(crate) was: Option<Name>,
    pub(crate) default: Option<DefaultValue>,
    pub(crate) ty: Type,
    span: Span,
}

/// A variant.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) was: Option<Name>,
    pub(crate) data: Record,
}

impl Field {
    fn identity(&self) -> &str {
        self.was.as_ref().map_or(&self.name, |was| &was.text)
    }

    /// Returns the Parquet field id of the field's column.
    pub(crate) fn column_id(&self) -> i32 {
        column_id(self.identity())
    }
}

impl Variant {
    fn identity(&self) -> &str {
        self.was.as_ref().map_or(&self.name, |was| &was.text)
    }

    /// Returns the Parquet field id of the variant's column.
    pub(crate) fn column_id(&self) -> i32 {
        column_id(self.identity())
    }

    /// Returns whether the variant has a column.
    pub(crate) fn has_data(&self) -> bool {
        !self.data.fields().is_empty()
    }
}

impl Record {
    /// Returns the fields in order.
    pub(crate) fn fields(&self) -> &[Field] {
        match self {
            Self::Unit => &[],
            Self::Single(field) => std::slice::from_ref(field),
            Self::Tuple(fields) | Self::Named(fields, _) => fields,
        }
    }

    fn read(fields: &Fields, dropped: Vec<Name>, owner: &Ident) -> Result<Self> {
        let place = if matches!(fields, Fields::Named(_)) { Place::NamedField } else { Place::TupleField };
        let read = |(index, field): (usize, &syn::Field)| {
            let attributes = Attributes::read(&field.attrs, place, Some(&field.ty))?;
            let name =
                field.ident.as_ref().map_or_else(|| format!("f{index}"), |ident| ident.unraw().to_string());
            refuse_recursion(&field.ty, owner, &name)?;
            Ok(Field {
                member: field.ident.clone().map_or_else(|| Member::Unnamed(index.into()), Member::Named),
                name,
                was: attributes.was,
                default: attributes.default,
                ty: field.ty.clone(),
                span: field.ident.as_ref().map_or_else(|| field.ty.span(), Ident::span),
            })
        };
        let mut parts = fields.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
        refuse_collisions("field", parts.iter().map(|f| (f.name.as_str(), f.was.as_ref(), f.span)))?;
        let record = match (fields, parts.len()) {
            (Fields::Named(_), _) => Self::Named(parts, dropped),
            (_, 0) => Self::Unit,
            (_, 1) => Self::Single(parts.remove(0)),
            _ => Self::Tuple(parts),
        };
        record.refuse_bad_dropped()?;
        Ok(record)
    }

    fn refuse_bad_dropped(&self) -> Result<()> {
        let Self::Named(fields, dropped) = self else { return Ok(()) };
        for (i, Name { text, span }) in dropped.iter().enumerate() {
            let present = fields.iter().find(|f| f.name == *text || f.identity() == text);
            let problem = match present {
                Some(field) if field.name == *text => {
                    format!(
                        "field `{text}` is still there: remove the field, or take its name out of `dropped`"
                    )
                }
                Some(field) => format!(
                    "`{text}` lives on as field `{}`: remove the field, or take `{text}` out of `dropped`",
                    field.name
                ),
                None if fields.is_empty() => format!(
                    "a struct without fields cannot say that `{text}` was dropped: keep a field, or write a migration"
                ),
                None if dropped[..i].iter().any(|earlier| earlier.text == *text) => {
                    format!("`{text}` is dropped twice")
                }
                None => continue,
            };
            return Err(Error::new(*span, problem));
        }
        Ok(())
    }
}

impl Input {
    /// Returns all fields, of the struct or of all variants.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        let records: Vec<_> = match &self.shape {
            Shape::Struct(record) => vec![record],
            Shape::Enum(variants) => variants.iter().map(|variant| &variant.data).collect(),
        };
        records.into_iter().flat_map(Record::fields)
    }

    /// Reads the type, refusing what has no columns.
    pub(crate) fn read(item: DeriveInput) -> Result<Self> {
        let DeriveInput { ident, generics, attrs, data, .. } = item;
        if let Some(lifetime) = generics.lifetimes().next() {
            return Err(Error::new(
                lifetime.span(),
                format!(
                    "a state type owns what it holds: replace what `{ident}` borrows by a `String` or a `Vec`"
                ),
            ));
        }
        let (version, shape) = match &data {
            Data::Union(union) => {
                return Err(Error::new(
                    union.union_token.span(),
                    format!(
                        "`{ident}` is a union, and nothing says which of its fields is stored: make it an enum"
                    ),
                ));
            }
            Data::Struct(data) => {
                let named = matches!(data.fields, Fields::Named(_));
                let place = if named { Place::Struct } else { Place::TupleStruct };
                let attributes = Attributes::read(&attrs, place, None)?;
                let record = Record::read(&data.fields, attributes.dropped, &ident)?;
                (attributes.version, Shape::Struct(record))
            }
            Data::Enum(data) if data.variants.is_empty() => {
                return Err(Error::new(
                    ident.span(),
                    format!("`{ident}` has no variant, so there is nothing to store"),
                ));
            }
            Data::Enum(data) => {
                let attributes = Attributes::read(&attrs, Place::Enum, None)?;
                let read = |variant| Variant::read(variant, &ident);
                let variants = data.variants.iter().map(read).collect::<Result<Vec<_>>>()?;
                refuse_bad_variants(&variants)?;
                (attributes.version, Shape::Enum(variants))
            }
        };
        Ok(Self { ident, generics, version, shape })
    }
}

impl Variant {
    fn read(variant: &syn::Variant, owner: &Ident) -> Result<Self> {
        let named = matches!(variant.fields, Fields::Named(_));
        let place = if named { Place::StructVariant } else { Place::Variant };
        let attributes = Attributes::read(&variant.attrs, place, None)?;
        let data = match Record::read(&variant.fields, attributes.dropped, owner)? {
            Record::Named(fields, _) if fields.is_empty() => Record::Unit,
            data => data,
        };
        Ok(Self {
            ident: variant.ident.clone(),
            name: variant.ident.unraw().to_string(),
            was: attributes.was,
            data,
        })
    }
}

fn refuse_bad_variants(variants: &[Variant]) -> Result<()> {
    let identity = |v: &'_ Variant| v.ident.span();
    refuse_duplicates("variant", variants.iter().map(|v| (v.name.as_str(), v.was.as_ref(), identity(v))))?;
    let with_data = || variants.iter().filter(|v| v.has_data());
    if let Some(variant) = with_data().find(|v| v.name == TAG || v.identity() == TAG) {
        let problem =
            "`tag` is the column that says which variant a value has: give the variant another name";
        return Err(Error::new(variant.ident.span(), problem));
    }
    let tag = with_data().take(1).map(|v| (TAG, None, v.ident.span()));
    refuse_collisions(
        "variant",
        tag.chain(with_data().map(|v| (v.name.as_str(), v.was.as_ref(), v.ident.span()))),
    )
}

/// Refuses two parts with one identity, and a former name that is none.
fn refuse_duplicates<'a>(
    what: &str,
    parts: impl Iterator<Item = (&'a str, Option<&'a Name>, Span)>,
) -> Result<()> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for (name, was, span) in parts {
        let (identity, span) = was.map_or((name, span), |was| (was.text.as_str(), was.span));
        if was.is_some() && identity == name {
            return Err(Error::new(span, format!("{what} `{name}` has this name today: leave `was` out")));
        }
        if let Some(other) = seen.insert(identity, name) {
            let problem = format!(
                "{what}s `{other}` and `{name}` would both be found by the name `{identity}`: \
                 a new {what} needs a name that none has had"
            );
            return Err(Error::new(span, problem));
        }
    }
    Ok(())
}

/// Refuses two columns with one Parquet field id, and what [`refuse_duplicates`] refuses.
fn refuse_collisions<'a>(
    what: &str,
    parts: impl Iterator<Item = (&'a str, Option<&'a Name>, Span)> + Clone,
) -> Result<()> {
    refuse_duplicates(what, parts.clone())?;
    let mut seen: HashMap<i32, &str> = HashMap::new();
    for (name, was, span) in parts {
        let identity = was.map_or(name, |was| was.text.as_str());
        if let Some(other) = seen.insert(column_id(identity), identity) {
            let problem = format!(
                "{what} `{name}`: the names `{other}` and `{identity}` lead to the same Parquet field id {}; \
                 give one of them another name",
                column_id(identity)
            );
            return Err(Error::new(span, problem));
        }
    }
    Ok(())
}

/// Refuses a field that holds its own type, which would need columns without end.
fn refuse_recursion(ty: &Type, owner: &Ident, field: &str) -> Result<()> {
    match ty {
        Type::Array(array) => refuse_recursion(&array.elem, owner, field),
        Type::Paren(paren) => refuse_recursion(&paren.elem, owner, field),
        Type::Group(group) => refuse_recursion(&group.elem, owner, field),
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(|part| refuse_recursion(part, owner, field)),
        Type::Path(path) if path.path.is_ident(owner) || path.path.is_ident("Self") => Err(Error::new(
            ty.span(),
            format!(
                "field `{field}` holds a `{owner}` itself, which has no end of columns: \
                 wrap it in `pitlane::state::Msgpack`"
            ),
        )),
        Type::Path(path) => path.path.segments.iter().try_for_each(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(inner) if segment.ident != "Msgpack" => {
                inner.args.iter().try_for_each(|argument| match argument {
                    GenericArgument::Type(ty) => refuse_recursion(ty, owner, field),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// Returns the Parquet field id of an identity, as `pitlane::model::column_id` does.
pub(crate) fn column_id(identity: &str) -> i32 {
    let hash = identity.bytes().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    (hash & 0x3FFF_FFFF) as i32 + 100
}
