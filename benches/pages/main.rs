//! What a page costs: the time of lists with 1,000 and with 10,000 rows behind them, what a first visit loads, and how long a change
//! takes to become builds. Prints tables beside the targets; `make bench` runs it, `cargo bench --bench pages -- graph` only the lists that
//! have one of these words in their names.

mod clients;
mod lists;
mod seed;
mod visit;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weir::server::assembly::{Backends, Weir, make_first_user};
use weir::server::config::{Cli, Command, Config};

use clients::Clients;
use lists::{LISTS, WHOLE};

const PASSWORD: &str = "correct horse battery staple";
/// What a list may take with everybody at it, 95 times in 100.
const PAGE_TARGET: Duration = Duration::from_millis(80);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let config = config(directory.path())?;
    seed::lay_out(&config.storage.data_dir).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let weir = Weir::open(&config, url.clone(), Some(Backends::default())).await?;
    make_first_user(&config, &weir.state.store).await?;
    let (store, stop) = (weir.state.store.clone(), CancellationToken::new());
    let server = tokio::spawn(weir.serve(listener, stop.clone()));

    visit::first(&url).await?;
    pages(&Clients::sign_in(&url, "admin", PASSWORD).await?).await?;
    seed::dependents(&store).await?;

    stop.cancel();
    server.await??;
    Ok(())
}

/// A server's configuration, read as the program reads it.
fn config(directory: &Path) -> anyhow::Result<Config> {
    let data = directory.join("data");
    let data = data.to_str().context("the temporary directory's name is no text")?;
    let line = ["weir", "serve", "--data-dir", data, "--admin-password", PASSWORD];
    match Cli::try_parse_from(line)?.command {
        Command::Serve(config) => Ok(*config),
        _ => anyhow::bail!("that is not how a server is started"),
    }
}

/// The lists that grow, each at all sizes.
async fn pages(clients: &Clients) -> anyhow::Result<()> {
    println!(
        "\nPages, {} people who each open one every second (target: p95 ≤ {} ms); then how many there are a second, with a request of each \
         under way all the time\n",
        clients::AT_ONCE,
        PAGE_TARGET.as_millis()
    );
    println!("{:<42} {:>9} {:>9} {:>9} {:>9} {:>9}  ", "page", "alone", "p50", "p95", "pages/s", "kB");
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked_for = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    for (name, path, rows) in LISTS.iter().copied().filter(|(name, ..)| is_asked_for(name)) {
        for size in seed::SIZES {
            let (count, mut path) = (rows(size), lists::address(path, size)?);
            if path.ends_with("?n=200") {
                path = half_way(clients, path, count).await?;
            }
            let row = clients.measure(&path).await.with_context(|| format!("measuring {path}"))?;
            let verdict = if row.p95 <= PAGE_TARGET { "" } else { "OVER" };
            println!(
                "{:<42} {:>9} {:>9} {:>9} {:>9.0} {:>9.1}  {verdict}",
                format!("{name} ({count})"),
                millis(row.alone),
                millis(row.p50),
                millis(row.p95),
                row.per_second,
                row.bytes as f64 / 1000.0,
            );
        }
    }
    let (name, path, rows) = WHOLE;
    println!("\nWith all of its tags in one answer, asked for by one\n");
    for size in seed::SIZES {
        let (took, bytes) = clients.measure_alone(&lists::address(path, size)?).await?;
        println!("{:<42} {:>9} {:>49.1}", format!("{name} ({})", rows(size)), millis(took), bytes as f64 / 1000.0);
    }
    Ok(())
}

/// Walks by the pages' own links to the middle of the list, in steps of 200 rows; gives the page there with the usual 50.
async fn half_way(clients: &Clients, first: String, rows: usize) -> anyhow::Result<String> {
    let mut path = first;
    for _ in 0..rows / 2 / 200 {
        let page = clients.read(&path).await?;
        path = visit::link_of(&page, &["Older", "Next"]).with_context(|| format!("{path} has no link onward"))?;
    }
    Ok(path.replace("n=200", "n=50"))
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
