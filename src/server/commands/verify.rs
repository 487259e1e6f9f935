//! `weir verify`: whether what is kept is what was written.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;

use super::open_existing;
use crate::model::Digest;
use crate::server::assembly::open_blobs;
use crate::server::blobs::Blobs;
use crate::server::config::StorageArgs;
use crate::server::hash::Hasher;
use crate::server::store::{HistoryPlace, Store};

/// Images looked at together.
const PAGE: i64 = 500;

pub(super) async fn verify(storage: &StorageArgs) -> anyhow::Result<ExitCode> {
    let store = open_existing(storage).await?;
    let blobs = open_blobs(storage).await?;
    let (rows, broken) = store.verify_ledger().await?;
    for fault in &broken {
        println!("ledger row {}: {}", fault.sequence, fault.problem);
    }
    let mut check = Check { store: &store, blobs: &*blobs, present: HashSet::new(), faults: broken.len() };
    let moves = check.every_history().await?;
    let (count, bytes) = check.every_blob().await?;
    let images = check.every_image().await?;
    check.every_promise().await?;
    check.every_figure().await?;
    println!(
        "{rows} ledger rows, {moves} rows of tags' histories, {count} blobs with {bytes} bytes, {images} images: {} faults",
        check.faults
    );
    let faults = check.faults;
    store.close().await;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Check<'a> {
    store: &'a Store,
    blobs: &'a dyn Blobs,
    present: HashSet<String>,
    faults: usize,
}

impl Check<'_> {
    fn fault(&mut self, text: &str) {
        self.faults += 1;
        println!("{text}");
    }

    /// The histories of tags, and with them the past, are what the ledger says.
    async fn every_history(&mut self) -> anyhow::Result<usize> {
        let (mut count, mut place) = (0, Some(HistoryPlace::default()));
        while let Some(from) = place {
            let (rows, faults, next) = self.store.verify_histories(&from).await?;
            for fault in faults {
                self.fault(&format!("history of {}, row {}: {}", fault.tag, fault.sequence, fault.problem));
            }
            (count, place) = (count + rows, next);
        }
        Ok(count)
    }

    /// Something is wrong with a blob; who will notice is told, and what helps.
    async fn blob_fault(&mut self, blob: &str, problem: &str) -> anyhow::Result<()> {
        let hit = self.store.list_users_of_blob(blob).await?;
        let hit = if hit.is_empty() { "no image".to_owned() } else { hit.join(", ") };
        self.fault(&format!("blob {blob}: {problem}; it hits {hit}; upload it again to heal them"));
        Ok(())
    }

    /// Reads every blob and compares it with its name.
    async fn every_blob(&mut self) -> anyhow::Result<(usize, u64)> {
        let mut bytes = 0;
        let mut list = self.blobs.list();
        while let Some(entry) = list.try_next().await.context("listing blobs")? {
            bytes += entry.size;
            match self.digest(&entry.digest).await {
                Ok(found) if found == entry.digest => {}
                Ok(found) => {
                    let problem = format!("its content has the digest {found}");
                    self.blob_fault(entry.digest.as_str(), &problem).await?;
                }
                Err(cause) => {
                    self.blob_fault(entry.digest.as_str(), &format!("it cannot be read: {cause:#}")).await?;
                }
            }
            self.present.insert(entry.digest.to_string());
        }
        Ok((self.present.len(), bytes))
    }

    async fn digest(&self, digest: &Digest) -> anyhow::Result<Digest> {
        let mut hasher = Hasher::like(digest);
        let mut stream = self.blobs.read(digest, None).await?.stream;
        while let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
        }
        Ok(hasher.finish())
    }

    /// Every image has its configuration and layers.
    async fn every_image(&mut self) -> anyhow::Result<usize> {
        let (mut count, mut after) = (0, String::new());
        loop {
            let images = self.store.list_image_digests(&after, PAGE).await?;
            let (Some(first), Some(last)) = (images.first(), images.last()) else { return Ok(count) };
            for needed in self.store.list_needed_blobs(first, last).await? {
                if !self.is_present(&needed.blob).await? {
                    self.fault(&format!("image {}: its blob {} is missing", needed.image, needed.blob));
                }
            }
            count += images.len();
            after.clone_from(last);
        }
    }

    /// Every blob that a repository says it has is there.
    async fn every_promise(&mut self) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let promised = self.store.list_promised_blobs(&after, PAGE).await?;
            let Some(last) = promised.last() else { return Ok(()) };
            after.clone_from(last);
            for blob in &promised {
                if !self.is_present(blob).await? {
                    self.blob_fault(blob, "a repository has it, but it is missing").await?;
                }
            }
        }
    }

    /// What streams and projects are said to hold is what they link.
    async fn every_figure(&mut self) -> anyhow::Result<()> {
        for wrong in self.store.list_usage_faults().await? {
            self.fault(&format!(
                "{}: it is said to hold {} bytes, {} of them alone, and holds {} and {}",
                wrong.name, wrong.bytes, wrong.own_bytes, wrong.counted, wrong.counted_own
            ));
        }
        Ok(())
    }

    /// A blob may have come since they were listed, for a server may be running.
    async fn is_present(&self, blob: &str) -> anyhow::Result<bool> {
        if self.present.contains(blob) {
            return Ok(true);
        }
        let digest = blob.parse().with_context(|| format!("reading the digest {blob}"))?;
        Ok(self.blobs.size(&digest).await?.is_some())
    }
}
