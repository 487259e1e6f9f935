//! Weir from the outside: one binary, real listeners, real programs.

mod oci;
mod registry;
mod upstreams;
