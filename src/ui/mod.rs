//! The console. Pages and their pieces are compiled for the server only; `islands` is all that also runs in the browser.

#[cfg(feature = "ssr")]
pub mod graph;
pub mod islands;
pub mod log_line;
pub mod relative;

#[cfg(feature = "ssr")]
pub mod app;
#[cfg(feature = "ssr")]
pub mod components;
#[cfg(feature = "ssr")]
pub mod context;
#[cfg(feature = "ssr")]
pub mod error;
#[cfg(feature = "ssr")]
pub mod form;
#[cfg(feature = "ssr")]
mod live;
#[cfg(feature = "ssr")]
pub mod pages;
#[cfg(feature = "ssr")]
mod router;
#[cfg(feature = "ssr")]
pub mod shell;

#[cfg(feature = "ssr")]
pub use router::router;

#[cfg(test)]
mod tokens;
