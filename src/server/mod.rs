//! The server's parts and their assembly.

pub mod assets;
pub mod auth;
pub mod blobs;
pub mod builder;
pub mod config;
pub mod controllers;
pub mod demo;
pub mod hash;
pub mod importer;
pub mod oci;
pub mod rollout;
pub mod state;
pub mod store;
pub mod wake;
