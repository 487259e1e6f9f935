//! Other registries, seen from here: a client that asks them politely, and the manifests they and we speak in.

mod auth;
mod authorities;
mod client;
mod error;
#[cfg(test)]
mod fuzz;
mod image;
mod limits;
pub mod manifest;
mod pace;
mod protocols;
mod refused;
mod transport;

pub use auth::Credentials;
pub use authorities::Authorities;
pub use client::{Access, BlobDownload, Changed, Client, HeadManifest, Options, RemoteManifest, TagPage, VIA};
pub use error::Error;
pub use limits::{RateLimit, minutes, retry_after};
pub use manifest::{Descriptor, Kind, Manifest, ManifestError, Platform};
pub use pace::Pace;
pub use transport::{read_up_to, root_cause};
