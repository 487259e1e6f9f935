//! `weir gc`: one pass of the collector, now; or what it would do; or something it shall leave alone.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::open_existing;
use crate::model::{Digest, Garbage, now};
use crate::server::assembly::open_blobs;
use crate::server::collector::{Collector, Report};
use crate::server::config::{GcArgs, millis};
use crate::server::controllers::collect;
use crate::server::store::{Moment, Store, bytes_of};

pub(super) async fn gc(args: &GcArgs) -> anyhow::Result<ExitCode> {
    let store = open_existing(&args.storage).await?.keeping(args.depth.depth());
    let moment = store.moment(now(), millis(args.gc_grace));
    let code = match &args.keep {
        Some(digest) => keep(&store, digest, &moment).await?,
        None => {
            let collector = Collector::new(store.clone(), open_blobs(&args.storage).await?);
            match args.dry_run {
                true => preview(&collector, &moment).await?,
                false => pass(&store, &collector, &moment).await?,
            }
        }
    };
    store.close().await;
    Ok(code)
}

async fn keep(store: &Store, digest: &Digest, moment: &Moment) -> anyhow::Result<ExitCode> {
    if !store.is_digest_known(digest.as_str()).await? {
        bail!("nothing is stored under {digest}: it was never here, or it has gone already");
    }
    let unmarked = store.keep_digest(digest.as_str(), moment.now.saturating_add(moment.grace_ms)).await?;
    println!("{digest} stays for the grace at least; {unmarked} marks were taken back");
    Ok(ExitCode::SUCCESS)
}

async fn preview(collector: &Collector, moment: &Moment) -> anyhow::Result<ExitCode> {
    let preview = collector.preview(moment).await?;
    for (what, rows) in [("goes", &preview.swept), ("waits", &preview.waiting), ("marked", &preview.marked)] {
        for row in rows {
            println!("{what} {} {} {}", row.kind, row.digest, row.size);
        }
    }
    let blobs = |rows: &[Garbage]| rows.iter().filter(|row| row.kind == crate::model::GarbageKind::Blob).count();
    println!(
        "{} blobs with {} bytes would go now, {} with {} bytes wait for the grace, {} with {} bytes would be marked; nothing was deleted",
        blobs(&preview.swept),
        bytes_of(&preview.swept),
        blobs(&preview.waiting),
        bytes_of(&preview.waiting),
        blobs(&preview.marked),
        bytes_of(&preview.marked),
    );
    Ok(ExitCode::SUCCESS)
}

async fn pass(store: &Store, collector: &Collector, moment: &Moment) -> anyhow::Result<ExitCode> {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    let handle = tokio::spawn(async move {
        // What a pass did stays done; the next one goes on.
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let report = collect(store, collector, moment, &stop).await;
    handle.abort();
    let report = report?.context("a server or another command collects already; try again when that is done")?;
    print(&report);
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    for failed in &report.failed {
        println!("failed: {failed}");
    }
    let Report { marked, unmarked, manifests, images, links, blobs, bytes, uploads, .. } = report;
    println!("{blobs} blobs with {bytes} bytes were deleted");
    println!("{manifests} manifests and {links} blobs left repositories, {images} images and {uploads} uploads went");
    println!("{marked} things were marked, {unmarked} are needed again");
    if !report.complete {
        println!("the pass was interrupted: the next one goes on");
    }
}
