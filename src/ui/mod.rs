//! The console. Pages and their pieces are compiled for the server only; `islands` is all that also runs in the browser.

pub mod islands;
pub mod log_line;
pub mod relative;

#[cfg(test)]
mod tokens;
