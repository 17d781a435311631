//! The columns of an enum: its variant's name, and beside it one nullable column for each variant with data.

use super::{Parts, append_part, data_type, finish_part, ok_self, option, record_type};
use crate::code::{binding, build, builder, of, pattern, read, reader, support, variant_slot};
use crate::input::{Record, TAG, Variant, column_id};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

/// What one variant with data adds to builder and reader.
#[derive(Default)]
struct Column {
    builder_slots: Vec<(Ident, TokenStream)>,
    reader_slots: Vec<(Ident, TokenStream)>,
    append: TokenStream,
    append_absent: TokenStream,
    size_hint: TokenStream,
    finish: TokenStream,
    /// Statements, and the expressions for the reader's slots that follow them.
    open: TokenStream,
    opened: Vec<TokenStream>,
}

pub(super) fn parts(name: &Ident, own: &TokenStream, variants: &[Variant]) -> Parts {
    let support = support();
    let names: Vec<_> = variants.iter().map(|variant| &variant.name).collect();
    let idents: Vec<_> = variants.iter().map(|variant| &variant.ident).collect();
    let columns: Vec<_> = variants
        .iter()
        .enumerate()
        .filter(|(_, variant)| variant.has_data())
        .enumerate()
        .map(|(position, (index, variant))| column(name, own, variant, index, position + 1))
        .collect();
    let plain = columns.is_empty();
    let each = |piece: fn(&Column) -> &TokenStream| columns.iter().map(piece).cloned().collect::<Vec<_>>();
    let slots = |own: (Ident, TokenStream), of_column: fn(&Column) -> &Vec<(Ident, TokenStream)>| {
        [own].into_iter().chain(columns.iter().flat_map(of_column).cloned()).collect::<Vec<_>>()
    };
    let builder_slots =
        slots((format_ident!("tags"), quote!(#support::TagBuilder)), |column| &column.builder_slots);
    let reader_slots =
        slots((format_ident!("tags"), quote!(::std::vec::Vec<u16>)), |column| &column.reader_slots);

    let (append, append_absent) = (each(|column| &column.append), each(|column| &column.append_absent));
    let (size_hint, finish) = (each(|column| &column.size_hint), each(|column| &column.finish));
    let tag_id = column_id(TAG);
    let open_columns = each(|column| &column.open);
    let opened = columns.iter().flat_map(|column| &column.opened).cloned();
    let all_opened: Vec<_> = [quote!(tags)].into_iter().chain(opened).collect();
    let reader_names: Vec<_> = reader_slots.iter().map(|(slot, _)| slot.clone()).collect();
    let ok = ok_self(&reader_names, &all_opened);
    let struct_names: Vec<_> =
        [TAG].into_iter().chain(variants.iter().filter(|v| v.has_data()).map(|v| v.name.as_str())).collect();
    let make = variants.iter().enumerate().map(|(index, variant)| {
        let (ident, tag) = (&variant.ident, index as u16);
        let fields = variant.data.fields().iter().enumerate().map(|(i, field)| {
            let (member, value) = (&field.member, read(field, &variant_slot(index, i)));
            quote!(#member: #value)
        });
        quote!(#tag => #name::#ident { #(#fields),* },)
    });
    let variant_types = variants.iter().map(|variant| {
        let (tag, was) = (&variant.name, option(variant.was.as_ref().map(|was| &was.text)));
        let payload = option(match &variant.data {
            data if data.fields().is_empty() => None,
            Record::Single(field) => Some(data_type(&field.ty)),
            record => Some(record_type(record)),
        });
        quote!(#support::variant(#tag, #was, #payload))
    });
    Parts {
        builder_slots,
        reader_slots,
        append: quote! {
            self.tags.append(match value { #(#name::#idents { .. } => #names,)* })?;
            #(#append)*
            ::core::result::Result::Ok(())
        },
        append_absent: quote!(self.tags.append_absent(); #(#append_absent)*),
        len: quote!(self.tags.len()),
        size_hint: quote!(self.tags.size_hint_bytes() #(+ #size_hint)*),
        finish: match plain {
            true => quote!(self.tags.finish(validity)),
            false => quote! {
                let tags = self.tags.finish(::core::option::Option::None);
                let tags = #support::part::<::std::string::String>(#TAG, #tag_id, tags);
                #support::struct_array(validity, [tags, #(#finish),*])
            },
        },
        open: match plain {
            true => quote! {
                let tags = #support::open_tags::<#own>(array, &[#(#names),*], present)?;
                #ok
            },
            false => quote! {
                let columns = #support::open_struct::<#own>(array, &[#(#struct_names),*], present)?;
                let tags = #support::open_tags::<#own>(&columns[0], &[#(#names),*], present)
                    .map_err(|mismatch| mismatch.inside(#TAG))?;
                #(#open_columns)*
                #ok
            },
        },
        read: quote! {
            match self.tags[row] {
                #(#make)*
                _ => ::core::unreachable!("tags are resolved when a column is opened"),
            }
        },
        nullable: quote!(false),
        data_type: quote!(#support::DataType::Enum(::std::vec![#(#variant_types),*])),
    }
}

/// The column of `variant`, the one at `index`; it is the struct's column at `position`.
fn column(owner: &Ident, own: &TokenStream, variant: &Variant, index: usize, position: usize) -> Column {
    let support = support();
    let (ident, name, id) = (&variant.ident, &variant.name, variant.column_id());
    let fields = variant.data.fields();
    let slots: Vec<_> = (0..fields.len()).map(|i| variant_slot(index, i)).collect();
    let (present, chosen) = (format_ident!("v{index}_present"), format_ident!("v{index}_chosen"));
    let pattern = pattern(&variant.data, "v");
    let append = fields.iter().zip(&slots).enumerate().map(|(i, (field, slot))| {
        let value = binding("v", i);
        let arguments = quote!(&mut self.#slot, #value);
        match &variant.data {
            Record::Single(_) => build(field, "append", &arguments),
            _ => append_part(field, &arguments),
        }
    });
    let append_absent: Vec<_> = fields
        .iter()
        .zip(&slots)
        .map(|(field, slot)| build(field, "append_absent", &quote!(&mut self.#slot)))
        .collect();
    let size_hint =
        fields.iter().zip(&slots).map(|(field, slot)| build(field, "size_hint_bytes", &quote!(&self.#slot)));
    let absent = quote! {
        self.#present.append_null();
        #(#append_absent;)*
    };
    let tag = index as u16;
    let payload = match &variant.data {
        Record::Single(field) => data_type(&field.ty),
        record => record_type(record),
    };
    let (finish, open, opened) = match &variant.data {
        Record::Single(field) => {
            let (ty, slot) = (&field.ty, &slots[0]);
            let nullable = of(ty, "NULLABLE");
            let wrapped = build(field, "finish", &quote!(&mut self.#slot, ::core::option::Option::None));
            let bare = build(field, "finish", &quote!(&mut self.#slot, validity));
            (
                quote!(if #nullable { #support::wrap_payload::<#ty>(#wrapped, validity) } else { #bare }),
                quote!(),
                vec![
                    quote_spanned!(ty.span()=> #support::open_single::<#ty>(&columns[#position], #name, &#chosen)?),
                ],
            )
        }
        _ => {
            let parts = fields.iter().zip(&slots).map(|(field, slot)| finish_part(field, slot));
            let columns = format_ident!("v{index}_columns");
            let names = fields.iter().map(|field| &field.name);
            let open = quote! {
                let #columns = #support::open_struct::<#own>(
                    &columns[#position],
                    &[#(#names),*],
                    ::core::option::Option::Some(&#chosen),
                )
                .map_err(|mismatch| mismatch.inside(#name))?;
            };
            let opened = fields.iter().enumerate().map(|(i, field)| {
                let (ty, part) = (&field.ty, &field.name);
                quote_spanned! {ty.span()=>
                    #support::open_part::<#ty>(#columns, #i, #part, ::core::option::Option::Some(&#chosen))
                        .map_err(|mismatch| mismatch.inside(#name))?
                }
            });
            (quote!(#support::struct_array(validity, [#(#parts),*])), open, opened.collect())
        }
    };
    Column {
        builder_slots: [(present.clone(), quote!(#support::Presence))]
            .into_iter()
            .chain(slots.iter().cloned().zip(fields.iter().map(builder)))
            .collect(),
        reader_slots: slots.iter().cloned().zip(fields.iter().map(reader)).collect(),
        append: quote! {
            if let #owner::#ident { #pattern } = value {
                self.#present.append_non_null();
                #(#append.map_err(|error| error.inside(#name))?;)*
            } else {
                #absent
            }
        },
        append_absent: absent,
        size_hint: quote!(0 #(+ #size_hint)*),
        finish: quote! {
            #support::payload_part(#name, #id, &#payload, {
                let validity = self.#present.finish();
                #finish
            })
        },
        open: quote! {
            let #chosen = #support::open_payload(&columns[#position], &tags, #tag, #name, present)?;
            #open
        },
        opened,
    }
}
