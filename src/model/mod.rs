//! The nouns both sides share: plain data with serde, no I/O and no other module of ours.

mod app;
mod build;
mod digest;
mod name;

pub use app::{AppPort, AppSpec, EnvVar, PublishMode};
pub use build::{BuildInput, GitSource, InputKind, Source};
pub use digest::{Digest, DigestError};
pub use name::{AppName, NameError, ProjectName, StreamName, TagName};
