//! Weir from the outside: one binary, real listeners, real programs.

// Clippy's own exception for tests reaches only functions that are marked as such, not what they call.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests are told of their machine through the environment")]

mod faults;
mod imports;
mod notices;
mod oci;
mod openshift;
mod pains;
mod pull_through;
mod registry;
mod serving;
mod stories;
#[allow(dead_code, reason = "no test uses all of it")]
mod support;
mod ui;
mod upstreams;
