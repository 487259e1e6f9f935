//! The client for other registries, against real and contrary ones.

mod auth;
mod contrary;
mod distribution;

use weir::server::oci::{Access, Credentials};

fn insecure() -> Access {
    Access { credentials: None, insecure: true }
}

fn as_user(username: &str, password: &str) -> Access {
    Access { credentials: Some(Credentials { username: username.into(), password: password.into() }), insecure: true }
}
