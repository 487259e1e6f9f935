//! Weir: image streams for any team.
//!
//! One package, two halves: with feature `ssr` the server, with `hydrate` the console's islands for the browser.
//! `docs/ARCHITECTURE.md` is the map.

#![cfg_attr(feature = "ssr", forbid(unsafe_code))]

#[cfg(feature = "ssr")]
pub mod model;
#[cfg(feature = "ssr")]
pub mod server;
pub mod ui;

/// Wakes the islands: the loader calls it once, before it hands over the page's islands one by one.
#[cfg(feature = "hydrate")]
#[leptos::wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = leptos::wasm_bindgen)]
pub fn hydrate() {
    leptos::mount::hydrate_islands();
}
