//! Registries for Weir to import from: Debian's own, and one that does whatever a test tells it.

pub mod docker_registry;
pub mod images;
mod lists;
pub mod programmable;
pub mod proxy;
pub mod tap;

pub use docker_registry::DockerRegistry;
pub use lists::lister;
pub use programmable::{Seen, Upstream};
pub use proxy::Proxy;
pub use tap::{Flow, Tap};
