//! `weir backup` and `weir restore`: a directory with the database, the key and the blobs. Blobs in a bucket stay there: a backup
//! says where, and the bucket keeps them by its own means.
//!
//! The database is copied first. Blobs are only ever added, so those copied afterwards are at least those it needs, also while a server
//! goes on working.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::open_existing;
use crate::server::config::{BackupArgs, BlobStore, RestoreArgs};

const DATABASE: &str = "weir.db";
const KEY: &str = "key";
const BLOBS: &str = "blobs";
/// In the place of the blobs: the URL of the bucket they are in.
const BUCKET: &str = "bucket";

pub(super) async fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let (to, storage) = (args.directory.clone(), &args.storage);
    if to.exists() {
        bail!("{} exists already; name a directory that does not", to.display());
    }
    let store = open_existing(storage).await?;
    // A backup that was broken off must not look like a whole one.
    let unfinished = to.with_extension("unfinished");
    if unfinished.exists() {
        bail!("{} is left of a backup that was broken off; remove it first", unfinished.display());
    }
    std::fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    store.copy_database(&unfinished.join(DATABASE)).await?;
    store.close().await;
    let (blobs, key) = (storage.blobs(), storage.key_file());
    tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        std::fs::copy(key, unfinished.join(KEY)).context("copying the key")?;
        let saved = match blobs {
            BlobStore::Directory(blobs) => {
                copy_tree(&blobs.join(BLOBS), &unfinished.join(BLOBS).join(BLOBS), Copy::LinkIfPossible)?;
                "database, key and blobs".to_owned()
            }
            BlobStore::Bucket(bucket) => {
                std::fs::write(unfinished.join(BUCKET), format!("{bucket}\n")).context("writing down the bucket")?;
                format!("database and key; the blobs stay in {bucket}: let its versions or a copy of it guard them")
            }
        };
        std::fs::rename(&unfinished, &to).with_context(|| format!("cannot make {}", to.display()))?;
        println!("saved to {}: {saved}; keep it as safe as the data itself", to.display());
        Ok(())
    })
    .await??;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let (from, storage) = (args.directory.clone(), args.storage.clone());
    let elsewhere = matches!(storage.blob_store, Some(BlobStore::Directory(_)));
    if storage.database_url.is_some() || elsewhere || storage.key_file.is_some() {
        bail!(
            "a backup is restored into a data directory as a whole: leave out --database-url, --blob-store and --key-file"
        );
    }
    for part in [DATABASE, KEY] {
        if !from.join(part).is_file() {
            bail!("{} is no backup: it has no {part}", from.display());
        }
    }
    let to = storage.data_dir.clone();
    if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty; name an empty directory with --data-dir, or move that one away", to.display());
    }
    tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        copy_tree(&from.join(BLOBS), &to.join(BLOBS), Copy::Always)?;
        std::fs::copy(from.join(KEY), to.join(KEY)).context("copying the key")?;
        std::fs::copy(from.join(DATABASE), to.join(DATABASE)).context("copying the database")?;
        let bucket = match std::fs::read_to_string(from.join(BUCKET)) {
            Ok(url) => format!(" --blob-store {}", url.trim_end()),
            Err(_) => String::new(),
        };
        println!("restored {} into {}; check it with weir verify{bucket}", from.display(), to.display());
        Ok(())
    })
    .await??;
    Ok(ExitCode::SUCCESS)
}

/// Blobs are never written to after they got their name, so a second name for them is as good as a copy.
#[derive(Clone, Copy)]
enum Copy {
    LinkIfPossible,
    Always,
}

fn copy_tree(from: &Path, to: &Path, how: Copy) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause).with_context(|| format!("reading {}", from.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &target, how)?;
            continue;
        }
        let linked = matches!(how, Copy::LinkIfPossible) && std::fs::hard_link(&source, &target).is_ok();
        if !linked {
            std::fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        }
    }
    Ok(())
}
