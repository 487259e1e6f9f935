//! The real thing, in a storage of its own.

use super::*;
use crate::server::builder::conformance;

#[tokio::test]
async fn conforms() {
    // The provider of TLS that the server installs at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("builder");
    let config = BuildahConfig { git: conformance::git(), ..BuildahConfig::below(below.clone()) };
    let builder = Buildah::new(config);
    conformance::suite(&builder, &below).await;
    let host = builder.host().await.unwrap();
    let mut command = host.command(&builder.config, "test", &below);
    command.args(["containers", "--quiet"]);
    let limits = Limits { timeout: Duration::from_secs(60), cancel: &CancellationToken::new() };
    let left = process::capture(command, limits).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "working containers are left");
}

#[tokio::test]
async fn says_what_is_missing() {
    let message = host::present("weir-no-such-program").unwrap_err();
    assert_eq!(
        message,
        "weir-no-such-program is not installed, so builds cannot run: apt install weir-no-such-program"
    );
}
