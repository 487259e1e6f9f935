//! The console as browsers without script see it.

mod across;
pub mod form;
mod freezes;
mod import_rules;
mod packages;
mod pages;
mod past;
mod rollback;
pub mod sample;
mod sign_in;
mod tag_rejected;
mod tag_rules;
mod tag_sources;
mod usage;
pub mod work;
