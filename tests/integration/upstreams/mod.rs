//! Registries for Weir to import from: Debian's own, and one that does whatever a test tells it.

mod certificates;
pub mod docker_registry;
pub mod images;
mod lists;
pub mod programmable;
pub mod proxy;
pub mod tap;
pub mod token_server;

pub use docker_registry::{DockerRegistry, Wants};
pub use lists::lister;
pub use programmable::{Seen, Upstream};
pub use proxy::Proxy;
pub use tap::{Flow, Tap};
pub use token_server::TokenServer;
