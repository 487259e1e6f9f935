//! The server's parts and their assembly.

pub mod api;
pub mod assembly;
pub mod assets;
pub mod auth;
pub mod blobs;
pub mod builder;
pub mod collector;
pub mod commands;
pub mod config;
pub mod controllers;
pub mod demo;
#[cfg(test)]
mod fuzzing;
pub mod hash;
mod health;
pub mod importer;
mod listen;
pub mod notices;
pub mod oci;
pub mod openshift;
pub mod packages;
pub mod pulls;
pub mod registry;
pub mod rollout;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod wake;
