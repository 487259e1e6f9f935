//! The registry door on a real listener: by plain HTTP calls, and with the clients people use.

mod access;
mod bucket;
mod catalog;
mod clients;
mod conformance;
mod deletes;
mod door;
mod errors;
mod history;
mod past;
mod pushes;
mod quotas;
mod remembering;
mod serving;
mod tag_rules;
mod uploads;
