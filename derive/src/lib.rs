//! The derive macros of pitlane, `State` and `Key`; use them by way of the crate `pitlane`.
//!
//! A macro reads the type once into an `input::Input`, which cannot be wrong: what the format refuses is a compile
//! error there, with the field's name and what to do. The generated code calls `pitlane::state::generated` only.

mod attributes;
mod code;
mod input;
mod key;
mod state;

use proc_macro::TokenStream;

/// Implements `pitlane::State`: the schema, the columns and the way there and back.
///
/// On the type: `#[state(version = 2)]`, `#[state(dropped = "name")]`. On a field with a name:
/// `#[state(was = "old_name")]`, `#[state(default)]`, `#[state(default = expression)]`. On a variant:
/// `#[state(was = "OldName")]`.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(item: TokenStream) -> TokenStream {
    expand(item, state::expand)
}

/// Implements `pitlane::Key` for a type that derives `State`, `Eq` and `Clone`: the canonical encoding.
#[proc_macro_derive(Key, attributes(state))]
pub fn derive_key(item: TokenStream) -> TokenStream {
    expand(item, key::expand)
}

fn expand(
    item: TokenStream,
    generate: impl FnOnce(&input::Input) -> proc_macro2::TokenStream,
) -> TokenStream {
    let input = syn::parse(item).and_then(input::Input::read);
    input.map_or_else(|error| error.into_compile_error(), |input| generate(&input)).into()
}
