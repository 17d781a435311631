//! `#[derive(Key)]`: the canonical encoding, and comparisons that do without it.

use crate::code::{binding, bounded, pattern, slot, support};
use crate::input::{Field, Input, Record, Shape, Variant};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

pub(crate) fn expand(input: &Input) -> TokenStream {
    let body = match &input.shape {
        Shape::Struct(record) => structure(record),
        Shape::Enum(variants) => enumeration(&input.ident, variants),
    };
    let name = &input.ident;
    let generics = bounded(input, "Key");
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(trivial_bounds, clippy::all)]
        impl #impl_generics ::pitlane::Key for #name #type_generics #where_clause {
            #body
        }
    }
}

/// A call of a function of `Key`, such that an error points at the type of the field.
fn call(field: &Field, function: &str, arguments: &TokenStream) -> TokenStream {
    let (ty, function) = (&field.ty, format_ident!("{function}"));
    quote_spanned!(ty.span()=> <#ty as ::pitlane::Key>::#function(#arguments))
}

/// The first of several orderings that is not equal.
fn first_difference(orderings: impl Iterator<Item = TokenStream>) -> TokenStream {
    quote!(::core::cmp::Ordering::Equal #(.then_with(|| #orderings))*)
}

fn structure(record: &Record) -> TokenStream {
    let support = support();
    let fields = record.fields();
    let encode = fields.iter().map(|field| {
        let member = &field.member;
        call(field, "encode", &quote!(&self.#member, out))
    });
    let compare = first_difference(fields.iter().map(|field| {
        let member = &field.member;
        call(field, "compare", &quote!(&self.#member, &other.#member))
    }));
    let compare_row = first_difference(fields.iter().enumerate().map(|(index, field)| {
        let (member, slot) = (&field.member, slot(index));
        call(field, "compare_row", &quote!(&self.#member, &keys.#slot, row))
    }));
    // A type around another one is hashed as that one is, which may know a faster way.
    let hash = match record {
        Record::Single(field) => {
            let (member, hash) = (&field.member, "hash64");
            let hash = call(field, hash, &quote!(&self.#member));
            Some(quote! {
                #[inline]
                fn hash64(&self) -> u64 { #hash }
            })
        }
        _ => None,
    };
    quote! {
        #[inline]
        #[allow(unused_variables)]
        fn encode(&self, out: &mut ::std::vec::Vec<u8>) { #(#encode;)* }

        #hash

        #[inline]
        #[allow(unused_variables)]
        fn compare(&self, other: &Self) -> #support::Ordering { #compare }

        #[inline]
        #[allow(unused_variables)]
        fn compare_row(&self, keys: &Self::Reader, row: usize) -> #support::Ordering { #compare_row }
    }
}

fn enumeration(owner: &Ident, variants: &[Variant]) -> TokenStream {
    let support = support();
    let encode = variants.iter().map(|variant| {
        let (ident, name, pattern) = (&variant.ident, &variant.name, pattern(&variant.data, "v"));
        let fields = variant.data.fields().iter().enumerate().map(|(i, field)| {
            let value = binding("v", i);
            call(field, "encode", &quote!(#value, out))
        });
        quote! {
            #owner::#ident { #pattern } => {
                #support::encode_tag(#name, out);
                #(#fields;)*
            }
        }
    });
    let compare = variants.iter().filter(|variant| variant.has_data()).map(|variant| {
        let ident = &variant.ident;
        let (left, right) = (pattern(&variant.data, "l"), pattern(&variant.data, "r"));
        let orderings = first_difference(variant.data.fields().iter().enumerate().map(|(i, field)| {
            let (left, right) = (binding("l", i), binding("r", i));
            call(field, "compare", &quote!(#left, #right))
        }));
        quote!((#owner::#ident { #left }, #owner::#ident { #right }) => #orderings,)
    });
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let names: Vec<_> = variants.iter().map(|variant| &variant.name).collect();
    quote! {
        fn encode(&self, out: &mut ::std::vec::Vec<u8>) {
            match self { #(#encode)* }
        }

        #[allow(unreachable_patterns)]
        fn compare(&self, other: &Self) -> #support::Ordering {
            let name = |key: &Self| match key { #(#owner::#idents { .. } => #names,)* };
            match (self, other) {
                #(#compare)*
                _ => ::core::cmp::Ord::cmp(name(self), name(other)),
            }
        }
    }
}
