//! What `wit-bindgen` makes of contract track 0.1, and nothing else.
//!
//! In: `wit/v0.1/policy.wit`. Out: the types that the crate root re-exports, and the macro behind
//! [`crate::export!`]. Policy authors have no business here; nothing in this file is stable.

#![allow(
    missing_docs,
    reason = "generated; each item that is re-exported has the documentation of the contract"
)]
#![allow(unsafe_code, reason = "generated glue of the canonical ABI; nobody writes it by hand")]
#![allow(unreachable_pub, unused, clippy::all, clippy::restriction, reason = "generated")]

wit_bindgen::generate!({
    path: "../wit/v0.1",
    world: "failure-policy",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "refloat_policy::bindings",
    additional_derives: [PartialEq],
});
