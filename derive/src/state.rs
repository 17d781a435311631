//! `#[derive(State)]`: the schema, a builder and a reader.
//!
//! The builder and the reader have one slot for each column, whether it lies in the struct or in a variant of an
//! enum; both are private to the generated block, and known outside as `State::Builder` and `State::Reader`.

use crate::attributes::DefaultValue;
use crate::code::{bounded, build, builder, of, read, reader, slot, support};
use crate::input::{Field, Input, Record, Shape};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

mod enumeration;

/// The bodies of what a type implements.
struct Parts {
    /// `slot: Type` for each slot of the builder, and of the reader.
    builder_slots: Vec<(Ident, TokenStream)>,
    reader_slots: Vec<(Ident, TokenStream)>,
    append: TokenStream,
    append_absent: TokenStream,
    len: TokenStream,
    size_hint: TokenStream,
    finish: TokenStream,
    open: TokenStream,
    read: TokenStream,
    nullable: TokenStream,
    data_type: TokenStream,
}

pub(crate) fn expand(input: &Input) -> TokenStream {
    let name = &input.ident;
    let generics = bounded(input, "State");
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let own = quote!(#name #type_generics);
    let parts = match &input.shape {
        Shape::Struct(Record::Single(field)) => single(&input.ident, field),
        Shape::Struct(record) if record.fields().is_empty() => unit(&input.ident, &own, record),
        Shape::Struct(record) => structure(&input.ident, &own, record),
        Shape::Enum(variants) => enumeration::parts(&input.ident, &own, variants),
    };
    let Parts { builder_slots, reader_slots, append, append_absent, len, size_hint, .. } = &parts;
    let Parts { finish, open, read, nullable, data_type, .. } = &parts;
    let (builder, reader) = (format_ident!("__{name}Builder"), format_ident!("__{name}Reader"));
    let parameters = generics.type_params().map(|parameter| &parameter.ident);
    let of = quote!(::core::marker::PhantomData<fn() -> (#(#parameters,)*)>);
    let declare = |slots: &[(Ident, TokenStream)]| {
        let slots = slots.iter().map(|(slot, ty)| quote!(#slot: #ty,));
        quote!(#(#slots)* __of: #of)
    };
    let (builder_fields, reader_fields) = (declare(builder_slots), declare(reader_slots));
    let builder_names = builder_slots.iter().map(|(slot, _)| slot);
    let version = input.version.map(|version| quote!(const VERSION: u32 = #version;));
    let support = support();
    quote! {
        #[doc(hidden)]
        #[allow(
            missing_docs, missing_debug_implementations, unreachable_pub, non_camel_case_types,
            irrefutable_let_patterns, private_bounds, private_interfaces, trivial_bounds, clippy::all
        )]
        const _: () = {
            pub struct #builder #impl_generics #where_clause { #builder_fields }

            #[automatically_derived]
            impl #impl_generics ::core::default::Default for #builder #type_generics #where_clause {
                fn default() -> Self {
                    Self {
                        #(#builder_names: ::core::default::Default::default(),)*
                        __of: ::core::marker::PhantomData,
                    }
                }
            }

            #[automatically_derived]
            impl #impl_generics ::pitlane::state::Build<#own> for #builder #type_generics #where_clause {
                #[inline]
                fn append(&mut self, value: &#own) -> ::core::result::Result<(), #support::Unstorable> { #append }

                #[inline]
                fn append_absent(&mut self) { #append_absent }

                #[inline]
                fn len(&self) -> usize { #len }

                fn size_hint_bytes(&self) -> usize { #size_hint }

                fn finish(&mut self, validity: ::core::option::Option<#support::Nulls>) -> #support::Column { #finish }
            }

            pub struct #reader #impl_generics #where_clause { #reader_fields }

            #[automatically_derived]
            impl #impl_generics ::pitlane::state::Read<#own> for #reader #type_generics #where_clause {
                fn open(
                    array: &#support::Column,
                    present: ::core::option::Option<&#support::Nulls>,
                ) -> ::core::result::Result<Self, ::pitlane::state::ColumnMismatch> { #open }

                #[inline]
                fn read(&self, row: usize) -> #own { #read }
            }

            #[automatically_derived]
            impl #impl_generics ::pitlane::State for #own #where_clause {
                type Builder = #builder #type_generics;
                type Reader = #reader #type_generics;
                #version
                const NULLABLE: bool = #nullable;

                fn data_type() -> #support::DataType { #data_type }
            }
        };
    }
}

/// One field without a name: the column is that of the field.
fn single(name: &Ident, field: &Field) -> Parts {
    let (ty, member) = (&field.ty, &field.member);
    let (reader, value) = (reader(field), read(field, &slot(0)));
    Parts {
        builder_slots: vec![(slot(0), builder(field))],
        reader_slots: vec![(slot(0), reader.clone())],
        append: build(field, "append", &quote!(&mut self.f0, &value.#member)),
        append_absent: build(field, "append_absent", &quote!(&mut self.f0)),
        len: build(field, "len", &quote!(&self.f0)),
        size_hint: build(field, "size_hint_bytes", &quote!(&self.f0)),
        finish: build(field, "finish", &quote!(&mut self.f0, validity)),
        open: {
            let open =
                quote_spanned!(ty.span()=> <#reader as ::pitlane::state::Read<#ty>>::open(array, present)?);
            ok_self(&[slot(0)], &[open])
        },
        read: quote!(#name { #member: #value }),
        nullable: of(ty, "NULLABLE"),
        data_type: data_type(ty),
    }
}

/// No field: one value, stored as `()` is.
fn unit(name: &Ident, own: &TokenStream, record: &Record) -> Parts {
    let support = support();
    let unit = |function: &str, arguments: TokenStream| {
        let function = format_ident!("{function}");
        quote!(::pitlane::state::Build::<()>::#function(#arguments))
    };
    Parts {
        builder_slots: vec![(slot(0), quote!(::pitlane::state::UnitBuilder))],
        reader_slots: vec![(slot(0), quote!(::pitlane::state::UnitReader))],
        append: {
            let append = unit("append", quote!(&mut self.f0, &()));
            quote!(let _ = value; #append)
        },
        append_absent: unit("append_absent", quote!(&mut self.f0)),
        len: unit("len", quote!(&self.f0)),
        size_hint: quote!(0),
        finish: unit("finish", quote!(&mut self.f0, validity)),
        open: {
            let open = quote!(::pitlane::state::UnitReader::open_as::<#own>(array, present)?);
            ok_self(&[slot(0)], &[open])
        },
        read: quote!(let _ = row; #name {}),
        nullable: quote!(false),
        data_type: match record {
            Record::Named(..) => quote!(#support::DataType::Struct(::std::vec::Vec::new())),
            _ => quote!(#support::DataType::Unit),
        },
    }
}

/// Several fields, or one with a name: a struct column.
fn structure(name: &Ident, own: &TokenStream, record: &Record) -> Parts {
    let support = support();
    let fields = record.fields();
    let slots: Vec<_> = (0..fields.len()).map(slot).collect();
    let each = |code: &dyn Fn(&Field, &Ident) -> TokenStream| {
        fields.iter().zip(&slots).map(|(field, slot)| code(field, slot)).collect::<Vec<_>>()
    };
    let append = each(&|field, slot| {
        let member = &field.member;
        append_part(field, &quote!(&mut self.#slot, &value.#member))
    });
    let append_absent = each(&|field, slot| build(field, "append_absent", &quote!(&mut self.#slot)));
    let size_hint = each(&|field, slot| build(field, "size_hint_bytes", &quote!(&self.#slot)));
    let finish = each(&finish_part);
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let indices = 0..fields.len();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let open: Vec<_> = indices
        .zip(&names)
        .zip(&types)
        .map(|((index, name), ty)| {
            quote_spanned!(ty.span()=> #support::open_part::<#ty>(columns, #index, #name, present)?)
        })
        .collect();
    let open = ok_self(&slots, &open);
    let members = fields.iter().map(|field| &field.member);
    let values = each(&read);
    Parts {
        builder_slots: slots.iter().cloned().zip(fields.iter().map(builder)).collect(),
        reader_slots: slots.iter().cloned().zip(fields.iter().map(reader)).collect(),
        append: quote!(#(#append?;)* ::core::result::Result::Ok(())),
        append_absent: quote!(#(#append_absent;)*),
        len: build(&fields[0], "len", &quote!(&self.f0)),
        size_hint: quote!(0 #(+ #size_hint)*),
        finish: quote!(#support::struct_array(validity, [#(#finish),*])),
        open: quote! {
            let columns = #support::open_struct::<#own>(array, &[#(#names),*], present)?;
            #open
        },
        read: quote!(#name { #(#members: #values),* }),
        nullable: quote!(false),
        data_type: record_type(record),
    }
}

/// `Ok(Self { slot: value, ... })`.
fn ok_self(slots: &[Ident], values: &[TokenStream]) -> TokenStream {
    quote!(::core::result::Result::Ok(Self { #(#slots: #values,)* __of: ::core::marker::PhantomData }))
}

/// A call of `append` on the builder of a field, whose error names the field.
fn append_part(field: &Field, arguments: &TokenStream) -> TokenStream {
    let (ty, name) = (&field.ty, &field.name);
    let append = build(field, "append", arguments);
    quote_spanned!(ty.span()=> #append.map_err(|error| error.inside(#name)))
}

/// The finished column of a field, as a part of a struct column.
fn finish_part(field: &Field, slot: &Ident) -> TokenStream {
    let (support, ty) = (support(), &field.ty);
    let (name, id) = (&field.name, field.column_id());
    let column = build(field, "finish", &quote!(&mut self.#slot, ::core::option::Option::None));
    quote_spanned!(ty.span()=> #support::part::<#ty>(#name, #id, #column))
}

fn data_type(ty: &syn::Type) -> TokenStream {
    let function = of(ty, "data_type");
    quote!(#function())
}

/// The logical type of several fields.
fn record_type(record: &Record) -> TokenStream {
    let support = support();
    let Record::Named(fields, dropped) = record else {
        let types = record.fields().iter().map(|field| data_type(&field.ty));
        return quote!(#support::DataType::Tuple(::std::vec![#(#types),*]));
    };
    let fields = fields.iter().enumerate().map(|(index, field)| {
        let (ty, name) = (&field.ty, &field.name);
        let was = option(field.was.as_ref().map(|was| &was.text));
        let default = option(field.default.as_ref().map(|default| default_json(default, ty)));
        let dropped = dropped.iter().filter(|_| index == 0).map(|name| &name.text);
        quote_spanned!(ty.span()=> #support::field::<#ty>(#name, #was, #default, &[#(#dropped),*]))
    });
    quote!(#support::DataType::Struct(::std::vec![#(#fields),*]))
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn default_json(default: &DefaultValue, ty: &syn::Type) -> TokenStream {
    let support = support();
    let value = match default {
        DefaultValue::Trait => quote_spanned!(ty.span()=> <#ty as ::core::default::Default>::default()),
        DefaultValue::Text(text) => quote!(::core::convert::From::from(#text)),
        DefaultValue::Expression(expression) => quote!(#expression),
    };
    quote_spanned!(ty.span()=> {
        let value: #ty = #value;
        #support::default_json::<#ty>(&value)
    })
}
