//! The console as browsers without script see it.

mod form;
mod packages;
mod pages;
mod rollback;
mod sample;
mod sign_in;
mod tag_rules;
mod usage;
mod work;
