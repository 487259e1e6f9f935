//! `weir serve`: bind, open, run until told to stop.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::server::assembly::{Weir, make_first_user};
use crate::server::config::{Config, OptionalAddress};
use crate::server::{listen, telemetry};

/// Where metrics are when nobody says; they are not worth failing for then.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

pub(super) async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let stop = stop_signal()?;
    let Started { weir, listener, .. } = start(&config, &stop).await?;
    weir.serve(listener, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// A server that is about to answer.
pub(super) struct Started {
    pub weir: Weir,
    pub listener: TcpListener,
    pub url: String,
}

/// Binds, opens everything, makes the first user, and starts the controllers.
pub(super) async fn start(config: &Config, stop: &CancellationToken) -> anyhow::Result<Started> {
    let listener = bind(config.listen, "--listen").await?;
    let url = match &config.public_url {
        Some(url) => url.clone(),
        None => format!("http://{}", reachable(listener.local_addr()?)),
    };
    let weir = Weir::open(config, url.clone(), None).await?;
    serve_metrics(config, stop.clone()).await?;
    if let Some(password) = make_first_user(config, &weir.state.store).await? {
        println!("Sign in as admin with the password {} (it is shown only this once)", password.expose_secret());
    }
    weir.spawn_controllers();
    println!("Weir is ready at {url}");
    Ok(Started { weir, listener, url })
}

/// Cancelled by SIGTERM and SIGINT.
pub(super) fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("cannot listen on {address}: the port is taken. Stop what uses it, or choose another with {flag}")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("cannot listen on {address}: this user may not. Choose a port from 1024 on with {flag}")
        }
        _ => anyhow!("cannot listen on {address}: {cause}. Choose an address of this machine with {flag}"),
    })
}

async fn serve_metrics(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    let metrics = telemetry::start_metrics().context("starting metrics")?;
    tokio::spawn(telemetry::sum_up_metrics(metrics.clone(), stop.clone()));
    let listener = match config.metrics_listen {
        Some(OptionalAddress(None)) => return Ok(()),
        Some(OptionalAddress(Some(address))) => bind(address, "--metrics-listen").await?,
        None => match TcpListener::bind(METRICS).await {
            Ok(listener) => listener,
            Err(cause) => {
                tracing::warn!("No metrics: cannot listen on {METRICS}: {cause}. Choose another with --metrics-listen");
                return Ok(());
            }
        },
    };
    tracing::info!("Metrics are at http://{}/metrics", listener.local_addr()?);
    let router = telemetry::metrics_router(metrics);
    tokio::spawn(listen::serve(listener, router, stop.clone(), tokio_util::task::TaskTracker::new(), stop));
    Ok(())
}

/// An address that can be typed: one that stands for all of them is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
