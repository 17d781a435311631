//! Pieces of generated code that both macros need.

use crate::input::{Field, Input, Record};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Generics, Type, parse_quote};

/// The path of what generated code may call.
pub(crate) fn support() -> TokenStream {
    quote!(::pitlane::state::generated)
}

/// Returns the generics of the input, with the trait as a bound on each type parameter.
///
/// Without parameters the bound is put on the types of the fields: one that lacks the trait is then reported once, at
/// the field, and not for each use in the generated code.
pub(crate) fn bounded(input: &Input, bound: &str) -> Generics {
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        let bound = format_ident!("{bound}");
        parameter.bounds.push(parse_quote!(::pitlane::#bound));
        parameter.default = None;
    }
    for parameter in generics.const_params_mut() {
        parameter.default = None;
    }
    if generics.type_params().next().is_none() {
        let clause = generics.make_where_clause();
        for field in input.fields() {
            let ty = &field.ty;
            let bound = Ident::new(bound, ty.span());
            let predicate = quote_spanned!(ty.span()=> #ty: ::pitlane::#bound);
            clause.predicates.push(parse_quote!(#predicate));
        }
    }
    generics
}

/// Names the part of a builder or reader that belongs to the field at `index`.
pub(crate) fn slot(index: usize) -> Ident {
    format_ident!("f{index}")
}

/// Names the part of a builder or reader that belongs to a field of a variant.
pub(crate) fn variant_slot(variant: usize, index: usize) -> Ident {
    format_ident!("v{variant}_f{index}")
}

/// Names the variable that a field is bound to.
pub(crate) fn binding(prefix: &str, index: usize) -> Ident {
    format_ident!("__{prefix}{index}")
}

/// `field: binding, ...` for a pattern in which each field is bound.
pub(crate) fn pattern(record: &Record, prefix: &str) -> TokenStream {
    let members = record.fields().iter().map(|f| &f.member);
    let bindings = (0..record.fields().len()).map(|i| binding(prefix, i));
    quote!(#(#members: #bindings),*)
}

/// An item of `State` of a type, such that an error points at the type of the field.
pub(crate) fn of(ty: &Type, item: &str) -> TokenStream {
    let item = Ident::new(item, ty.span());
    quote_spanned!(ty.span()=> <#ty as ::pitlane::State>::#item)
}

/// The builder of a field.
pub(crate) fn builder(field: &Field) -> TokenStream {
    of(&field.ty, "Builder")
}

/// The reader of a field.
pub(crate) fn reader(field: &Field) -> TokenStream {
    of(&field.ty, "Reader")
}

/// A call of a function of `Build` on the builder `slot` of a field.
pub(crate) fn build(field: &Field, function: &str, arguments: &TokenStream) -> TokenStream {
    let (ty, function) = (&field.ty, format_ident!("{function}"));
    let builder = builder(field);
    quote_spanned!(ty.span()=> <#builder as ::pitlane::state::Build<#ty>>::#function(#arguments))
}

/// The value of a field at `row`, by its reader `slot`.
pub(crate) fn read(field: &Field, slot: &Ident) -> TokenStream {
    let ty = &field.ty;
    let reader = reader(field);
    quote_spanned!(ty.span()=> <#reader as ::pitlane::state::Read<#ty>>::read(&self.#slot, row))
}
