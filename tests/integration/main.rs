//! Weir from the outside: one binary, real listeners, real programs.

mod oci;
mod openshift;
mod registry;
mod serving;
mod stories;
#[allow(dead_code, reason = "no test uses all of it")]
mod support;
mod ui;
mod upstreams;
