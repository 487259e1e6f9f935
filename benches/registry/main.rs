//! The registry beside Debian's `docker-registry` (distribution 2.8): both as processes on the same machine and disk, asked by the same
//! client in turns. Prints tables with ratios; `make bench` runs it, `cargo bench --bench registry -- tags` one table alone.

mod content;
mod load;
mod servers;
mod table;
mod tags;
mod transfers;
mod wire;

use servers::Server;
use table::Row;

const ABOUT: &str = "\
Weir runs with its defaults and checks a token's ticket at each request; docker-registry runs with Debian's configuration and without
authentication, which is to its advantage. Both log to files. Both sync alike by themselves: docker-registry's filesystem driver syncs
every file it writes (seen with strace), Weir syncs a blob, its directory and, when a push ends, its database. Rounds alternate between
the two, and one thread is the client of both.";

// One thread for the client: the other processors are the servers'.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let weir = Server::weir(&directory.path().join("weir")).await?;
    let distribution = Server::distribution(&directory.path().join("distribution")).await?;
    let servers = [&weir, &distribution];
    println!("\n{ABOUT}");

    if is_asked_for("manifests") {
        transfers::manifests(&servers).await?;
    }
    if is_asked_for("downloads") {
        transfers::downloads(&servers).await?;
    }
    if is_asked_for("uploads") {
        transfers::uploads(&servers).await?;
    }
    if is_asked_for("images") {
        transfers::small_images(&servers).await?;
    }
    if is_asked_for("tags") {
        tags::measure(&servers).await?;
    }

    table::heading("Memory");
    let peaks = [weir.peak_memory()? as f64, distribution.peak_memory()? as f64];
    Row::less("at its peak (VmHWM)", peaks, Some(1.0), |bytes| format!("{:.1} MB", bytes / 1e6)).print();
    Ok(())
}

/// Whether the table of that name is asked for: all are, where the command line names none.
fn is_asked_for(table: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| name == table)
}
