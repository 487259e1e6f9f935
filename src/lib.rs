//! Weir: image streams for any team.
//!
//! One package, two halves: with feature `ssr` the server, with `hydrate` the console's islands for the browser.
//! `docs/ARCHITECTURE.md` is the map.

#![cfg_attr(feature = "ssr", forbid(unsafe_code))]

#[cfg(feature = "ssr")]
pub mod model;
#[cfg(feature = "ssr")]
pub mod server;
