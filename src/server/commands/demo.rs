//! `weir demo`: makes the demo on the server that runs already, or on one of its own, and tells what to click.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use super::serve::{Started, start, stop_signal};
use crate::server::assembly::open_store;
use crate::server::config::Config;
use crate::server::demo::Demo;
use crate::server::store::Store;

pub(super) async fn demo(config: Config) -> anyhow::Result<ExitCode> {
    let url = config.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
    if answers(&url).await {
        if !config.storage.key_file().exists() {
            bail!("{url} answers, but its data is not in {}: name its --data-dir", config.storage.data_dir.display());
        }
        let store = open_store(&config.storage).await?;
        make(&store, &config, &url).await?;
        store.close().await;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = stop_signal()?;
    let Started { weir, listener, url } = start(&config, &stop).await?;
    let store = weir.state.store.clone();
    // The server runs until it is told to stop; a demo that cannot be made tells why and stops it.
    let making = async {
        let result = tokio::select! {
            result = make(&store, &config, &url) => result,
            () = stop.cancelled() => Ok(()),
        };
        if result.is_err() {
            stop.cancel();
        }
        result
    };
    let (served, made) = tokio::join!(weir.serve(listener, stop.clone()), making);
    made.and(served)?;
    Ok(ExitCode::SUCCESS)
}

async fn make(store: &Store, config: &Config, url: &str) -> anyhow::Result<()> {
    println!("Making the demo: a base image, three build configs, two apps …");
    let demo = Demo { store, data_dir: &config.storage.data_dir, url };
    let made = demo.make().await?;
    demo.wait(&made, |state| println!("  {state}")).await?;
    println!("{}", made.text(url));
    Ok(())
}

/// Whether a Weir answers there already.
async fn answers(url: &str) -> bool {
    // The provider may be set already; either way there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(client) = reqwest::Client::builder().timeout(Duration::from_secs(2)).build() else { return false };
    client.get(format!("{url}/healthz")).send().await.is_ok_and(|response| response.status().is_success())
}
