//! Proves once a day that everything one may go back to is whole: manifests by their digests, blobs by their sizes, and in the course of
//! a week by all their bytes. What is missing or wrong is fetched again where it was imported from, else it is said.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Controller;
use crate::model::{Digest, now};
use crate::server::blobs::Blobs;
use crate::server::hash::{Hasher, digest_like};
use crate::server::importer::Importer;
use crate::server::store::{ImagePart, Store};
use crate::server::wake;

/// The name of the duty.
const DUTY: &str = "proof";
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a server that died keeps others from it: taken anew with each page.
const LEASE_MS: i64 = 30 * 60 * 1000;
/// How soon to look again while another server does it, or after it was cut short.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Images looked at together.
const PAGE: usize = 100;
/// All bytes of a blob are read again after this.
const READ_AFTER_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// The most bytes one run reads; what is left is read the next day.
const READ_BYTES: i64 = 50 * 1024 * 1024 * 1024;

/// The daily proof.
pub struct Proof {
    store: Store,
    blobs: Arc<dyn Blobs>,
    importer: Importer,
    stop: CancellationToken,
}

/// What one run has done.
#[derive(Debug, Default, serde::Serialize)]
pub struct Run {
    pub images: u64,
    /// Images that are not whole and could not be put right.
    pub broken: u64,
    pub read_bytes: i64,
    /// Whether all was looked at.
    pub complete: bool,
}

impl Proof {
    /// Over these parts; `stop` ends a run early.
    pub fn new(store: Store, blobs: Arc<dyn Blobs>, importer: Importer, stop: CancellationToken) -> Self {
        Self { store, blobs, importer, stop }
    }

    /// One run now, as this process's duty; `None` when another process has it.
    pub async fn prove_now(&self) -> anyhow::Result<Option<Run>> {
        if !self.store.take_duty(DUTY, LEASE_MS).await? {
            return Ok(None);
        }
        let mut run = Run::default();
        let proved = self.prove_all(&mut run).await;
        run.complete = *proved.as_ref().unwrap_or(&false);
        let report = if run.complete { Some(serde_json::to_string(&run)?) } else { None };
        self.store.give_back_duty(DUTY, report.as_deref()).await?;
        proved?;
        if run.complete {
            self.store.forget_proofs().await?;
            #[expect(clippy::cast_precision_loss, reason = "a gauge takes nothing else")]
            metrics::gauge!("weir_unrestorable_images").set(run.broken as f64);
        }
        if run.images > 0 {
            info!("Proved {} images that can be gone back to: {} are not whole", run.images, run.broken);
        }
        Ok(Some(run))
    }

    /// Looks at everything; `false` when it was cut short.
    async fn prove_all(&self, run: &mut Run) -> anyhow::Result<bool> {
        for page in self.store.list_restorable().await?.chunks(PAGE) {
            self.store.take_duty(DUTY, LEASE_MS).await?;
            for digest in page {
                if self.stop.is_cancelled() {
                    return Ok(false);
                }
                self.prove(digest, run).await?;
            }
        }
        Ok(true)
    }

    async fn prove(&self, image: &str, run: &mut Run) -> anyhow::Result<()> {
        run.images += 1;
        let problem = match self.check(image, run).await {
            Ok(problem) => problem,
            // One image that cannot be looked at keeps no other.
            Err(cause) => Some(format!("it could not be checked: {cause:#}")),
        };
        if let Some(problem) = &problem {
            run.broken += 1;
            error!(image.digest = %image, "Image {image} can be gone back to, and is not whole: {problem}");
        }
        Ok(self.store.record_proof(image, problem.as_deref()).await?)
    }

    /// What is wrong with an image and could not be put right.
    async fn check(&self, image: &str, run: &mut Run) -> anyhow::Result<Option<String>> {
        let Some(stored) = self.store.find_image(image).await? else {
            return Ok(Some("it is not stored any more".to_owned()));
        };
        let digest: Digest = image.parse()?;
        if digest_like(&digest, stored.manifest.as_bytes()) != digest {
            return Ok(Some("its manifest is not what its digest says".to_owned()));
        }
        // An index is whole when what it lists is.
        for listed in self.store.list_tree(image).await? {
            for part in self.store.list_image_parts(&listed).await? {
                let Some(problem) = self.check_part(&part, run).await? else { continue };
                if let Err(cause) = self.fetch_again(&listed, &part).await {
                    return Ok(Some(format!("its blob {} {problem}; {cause:#}", part.digest)));
                }
                info!(blob.digest = %part.digest, "Fetched blob {} again: it {problem}", part.digest);
            }
        }
        Ok(None)
    }

    async fn check_part(&self, part: &ImagePart, run: &mut Run) -> anyhow::Result<Option<String>> {
        let digest: Digest = part.digest.parse()?;
        if let Some(problem) = self.importer.size_problem(part).await? {
            return Ok(Some(problem));
        }
        let is_due = part.read_at.is_none_or(|at| at < now() - READ_AFTER_MS);
        if !is_due || run.read_bytes >= READ_BYTES {
            return Ok(None);
        }
        run.read_bytes += part.size;
        let mut hasher = Hasher::like(&digest);
        let mut stream = self.blobs.read(&digest, None).await?.stream;
        while let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
        }
        if hasher.finish() != digest {
            return Ok(Some("is not what its digest says".to_owned()));
        }
        self.store.record_read(&part.digest).await?;
        Ok(None)
    }

    async fn fetch_again(&self, image: &str, part: &ImagePart) -> anyhow::Result<()> {
        let size = u64::try_from(part.size).context("a negative size")?;
        let fetched = self.importer.fetch_again(image, &part.digest.parse()?, size).await;
        if !fetched.context("it cannot be fetched again from where it was imported")? {
            bail!("it was not imported, so push it again");
        }
        Ok(self.store.record_read(&part.digest).await?)
    }
}

#[async_trait]
impl Controller for Proof {
    fn name(&self) -> &'static str {
        "proof"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let finished = self.store.find_duty(DUTY).await?.and_then(|duty| duty.finished_at).unwrap_or(0);
        let every = i64::try_from(EVERY.as_millis()).unwrap_or(i64::MAX);
        let wait = finished.saturating_add(every).saturating_sub(now());
        if wait > 0 {
            return Ok(Some(Duration::from_millis(wait.unsigned_abs())));
        }
        match self.prove_now().await? {
            Some(run) if run.complete => Ok(Some(EVERY)),
            _ => Ok(Some(AGAIN)),
        }
    }
}
