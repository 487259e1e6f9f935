//! What clients pull before it is here: the blobs of an image that was imported, manifests that its index lists, and the first image of a
//! tag that follows another registry.
//!
//! Nothing else is ever asked for elsewhere. A tag that points to an image is answered from the store, whatever the other registry does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;

use super::fetch::Wanted;
use super::fetches::Wanting;
use super::questions::PATIENCE;
use super::{Fetch, ImportError, Importer, Selection, Source};
use crate::model::{Actor, Digest, EventKind, NewImage, SourceKind, Stream, Tag, TagImport, TagName, now};
use crate::server::oci::manifest::MAX_SIZE;
use crate::server::oci::{Error as OciError, Manifest};
use crate::server::store::{self, CheckEnd, DueImport, TagMove};

/// A first look asks for a manifest and a configuration; a worker that died at it is waited for no longer than this.
const LEASE: Duration = Duration::from_secs(60);
/// How long another registry is left alone after a first failure; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(5);
/// How long it is left alone at most.
const LAST_REST: Duration = Duration::from_secs(300);

/// A blob that a repository did not have.
pub enum PulledBlob {
    /// It is in the store now, and the repository's.
    Stored(u64),
    /// It is on its way.
    UnderWay(u64, Arc<Fetch>),
}

impl Importer {
    /// A blob of an image that the repository serves, from where that was imported; `None` when no such image has the blob, or the image
    /// did not come from elsewhere.
    pub async fn pull_blob(&self, stream: &Stream, digest: &Digest) -> Result<Option<PulledBlob>, Arc<ImportError>> {
        let Some((image, size, repository)) = self.find_part(stream, digest).await? else { return Ok(None) };
        let wanted = Wanted { digest, size, repository: &repository };
        if self.link_stored(&stream.id, &wanted).await? {
            return Ok(Some(PulledBlob::Stored(size)));
        }
        if !self.shared.fetches.is_under_way(&wanted)
            && let Some(resting) = self.shared.failures.recall(&stream.id, digest)
        {
            return Err(Arc::new(resting));
        }
        let sources = self.sources(&stream.id, &image).await?;
        if sources.is_empty() {
            return Ok(None);
        }
        let fetch = self.fetch(&Wanting { stream_id: &stream.id, project_id: &stream.project_id }, &wanted, &sources);
        tokio::time::timeout(PATIENCE, fetch.answered()).await.map_err(|_| ImportError::Late)??;
        Ok(Some(PulledBlob::UnderWay(size, fetch)))
    }

    /// An image of the repository that came from elsewhere and has the blob, with the blob's size and the repository it came from.
    async fn find_part(&self, stream: &Stream, digest: &Digest) -> Result<Option<(String, u64, String)>, ImportError> {
        for stored in self.store.list_manifests_of_blob(&stream.id, digest.as_str()).await? {
            let manifest = Manifest::parse(Some(&stored.media_type), stored.manifest.into())?;
            let part = manifest.blobs().chain(manifest.children()).find(|part| part.digest == *digest);
            // What may not be handed on is not fetched for it either.
            let part = part.filter(|part| !part.is_manifest() && !part.is_foreign());
            let Some(part) = part else { continue };
            if let Some(place) = self.store.list_import_places(&stream.id, &stored.digest).await?.first() {
                return Ok(Some((stored.digest, part.size, place.repository().to_owned())));
            }
        }
        Ok(None)
    }

    /// Where an image can be fetched from, as far as the places can be used.
    pub(super) async fn sources(&self, stream_id: &str, digest: &str) -> Result<Vec<Source>, ImportError> {
        let (mut sources, mut problem) = (Vec::new(), None);
        for place in self.store.list_import_places(stream_id, digest).await? {
            match self.source_elsewhere(&place.project, &place.reference, place.insecure == 1).await {
                Ok(source) => sources.push(source),
                Err(cause) => _ = problem.get_or_insert(cause),
            }
        }
        match problem {
            Some(problem) if sources.is_empty() => Err(problem),
            _ => Ok(sources),
        }
    }

    /// Fetches a manifest that an index of the repository lists and the repository does not have; false when no index lists it.
    pub async fn pull_manifest(&self, stream: &Stream, digest: &Digest) -> Result<bool, Arc<ImportError>> {
        let index = self.store.find_index_of(&stream.id, digest.as_str()).await.map_err(ImportError::from)?;
        let Some(index) = index else { return Ok(false) };
        if let Some(resting) = self.shared.failures.recall(&stream.id, digest) {
            return Err(Arc::new(resting));
        }
        let sources = self.sources(&stream.id, &index).await?;
        if sources.is_empty() {
            return Ok(false);
        }
        let name = format!("manifest {} {digest}", stream.id);
        let (stream, digest) = (stream.clone(), digest.clone());
        let take = async move |importer: Self| {
            let taken = importer.take_manifest(&stream, &digest, &sources).await;
            importer.shared.failures.note(&stream.id, &digest, taken.as_ref().copied(), false);
            taken
        };
        self.once(&name, take).await?;
        Ok(true)
    }

    async fn take_manifest(&self, stream: &Stream, digest: &Digest, sources: &[Source]) -> Result<(), ImportError> {
        if self.store.find_manifest_by_digest(&stream.id, digest.as_str()).await?.is_some() {
            // Somebody was quicker.
            return Ok(());
        }
        let mut first = None;
        for source in sources {
            match self.manifest(source, digest).await {
                Ok(manifest) => return self.record(stream, &manifest, source, None).await,
                Err(cause) => _ = first.get_or_insert(cause),
            }
        }
        Err(first.unwrap_or_else(|| OciError::NotFound { reference: digest.to_string() }.into()))
    }

    /// Asks for the first image of a tag that follows another registry and has none; false when there is nothing to ask for.
    pub async fn pull_tag(&self, stream: &Stream, name: &TagName) -> Result<bool, Arc<ImportError>> {
        let tag = self.store.find_tag(&stream.project, &stream.name, name.as_str()).await.map_err(ImportError::from)?;
        let Some(tag) = tag.filter(awaits_image) else { return Ok(false) };
        let import = self.store.find_import(&tag.id).await.map_err(ImportError::from)?;
        let Some(import) = import else { return Ok(false) };
        let is_answered = matches!(import.outcome.as_str(), "ok" | "unchanged") && import.requested_at.is_none();
        if is_answered && import.generation == tag.generation {
            // Its source has an image that may not come here: the tag is held, or the image is rejected.
            return Ok(false);
        }
        if let Some(left) = rest(tag.generation, &import, now()) {
            let (reason, message) = (import.reason.unwrap_or_default(), import.message.unwrap_or_default());
            return Err(Arc::new(ImportError::Resting { reason, message, left }));
        }
        let stream = stream.clone();
        let question = format!("tag {}", tag.id);
        self.once(&question, async move |importer: Self| importer.look_first(&stream, tag, import).await).await?;
        Ok(true)
    }

    /// Takes the first image of a tag, and records how that went unless a worker is checking the tag, who does.
    async fn look_first(&self, stream: &Stream, tag: Tag, import: TagImport) -> Result<(), ImportError> {
        let lease = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let claimed = self.store.claim_import(&tag.id, self.store.owner(), lease).await?;
        let due = claimed.clone().unwrap_or(DueImport { tag, import });
        // Somebody may have been quicker.
        let taken = match awaits_image(&due.tag) {
            true => self.take_first(stream, &due.tag).await.map(Some),
            false => Ok(None),
        };
        let next = due.planned();
        match &taken {
            _ if claimed.is_none() => {}
            Ok(Some(upstream)) => {
                let end = CheckEnd::Fetched { digest: upstream.as_str() };
                self.store.record_check(&due, &end, next).await?;
            }
            // Nobody was asked, so that nothing is to be told.
            Err(cause) if cause.is_resting() => {
                self.store.release_import(&due.tag.id, self.store.owner()).await?;
            }
            Ok(None) => self.store.release_import(&due.tag.id, self.store.owner()).await?,
            Err(cause) => {
                self.shared.troubles.expect();
                let message = cause.to_string();
                let end = CheckEnd::Failed { reason: cause.reason(), message: &message };
                let asked = cause.retry_after().unwrap_or(FIRST_REST).as_millis();
                let not_before = now().saturating_add(i64::try_from(asked).unwrap_or(i64::MAX));
                self.store.record_check(&due, &end, next.map(|next| next.not_before(not_before))).await?;
            }
        }
        taken.map(|_| ())
    }

    /// Records the manifest that the tag's source has now and moves the tag. The rest is fetched when somebody asks for it, and completed
    /// behind that.
    async fn take_first(&self, stream: &Stream, tag: &Tag) -> Result<Digest, ImportError> {
        let reference = tag.source.as_deref().unwrap_or_default();
        // Where an import would not: the stream speaks of what is pulled through it.
        let insecure = tag.insecure == 1 || stream.is_insecure();
        let source = self.source_elsewhere(&tag.project, reference, insecure).await?;
        let top = self.top(&source).await?;
        let upstream = top.digest.clone();
        let manifest = self.select(&source, top, &Selection::of(stream, tag)).await?;
        self.record(stream, &manifest, &source, Some(tag)).await?;
        Ok(upstream)
    }

    /// Records a manifest before its blobs are here, if all of it will fit.
    async fn record(
        &self,
        stream: &Stream,
        manifest: &Manifest,
        source: &Source,
        tag: Option<&Tag>,
    ) -> Result<(), ImportError> {
        let own = std::iter::once((manifest.digest.as_str(), manifest.bytes.len() as u64));
        let blobs = manifest.blobs().filter(|blob| !blob.is_foreign());
        self.check_room(stream, own.chain(blobs.map(|blob| (blob.digest.as_str(), blob.size)))).await?;
        let image = self.describe_stored(stream, manifest, source).await?;
        let repository = source.reference.as_repository().exact();
        let reference = format!("{repository}@{}", image.digest);
        let name = tag.map(|tag| tag.name.parse::<TagName>()).transpose();
        let name = name.map_err(|error| store::Error::invalid("tag", error.to_string()))?;
        let reference = Some(reference.as_str());
        let to =
            name.as_ref().map(|tag| TagMove { tag, kind: EventKind::Import, reference, cause: None, build_id: None });
        let to = to.zip(tag);
        self.store.put_incomplete(stream, &image, &repository, to, &Actor::system("first pull")).await?;
        Ok(())
    }

    /// As a manifest is described at an import, except that its configuration is kept, as it would be fetched again otherwise.
    async fn describe_stored(
        &self,
        stream: &Stream,
        manifest: &Manifest,
        source: &Source,
    ) -> Result<NewImage, ImportError> {
        let config = manifest.blobs().next().filter(|config| config.is_image_config());
        let Some(config) = config.filter(|config| config.size <= MAX_SIZE as u64) else {
            return Ok(manifest.to_image(None)?);
        };
        self.store_blob(source, stream, config).await?;
        let parts: Vec<_> = self.blobs.read(&config.digest, None).await?.stream.try_collect().await?;
        Ok(manifest.to_image(Some(&parts.concat()))?)
    }
}

/// Whether a tag follows another registry and has no image yet.
fn awaits_image(tag: &Tag) -> bool {
    let follows = tag.source_kind.as_deref() == Some(SourceKind::DockerImage.as_str()) && tag.reference_only == 0;
    follows && tag.deleted_at.is_none() && tag.digest.is_none()
}

/// How long the tag's source is left alone after it failed: longer with each failure, and as long as it asked for. A tag whose source was
/// changed begins anew.
fn rest(generation: i64, import: &TagImport, now: i64) -> Option<Duration> {
    if import.outcome != "failed" || import.generation != generation || import.requested_at.is_some() {
        return None;
    }
    let doublings = u32::try_from(import.failures.clamp(1, 10) - 1).unwrap_or(0);
    let rest = FIRST_REST.saturating_mul(1 << doublings).min(LAST_REST);
    let until = import.last_try_at.unwrap_or(0).saturating_add(i64::try_from(rest.as_millis()).unwrap_or(i64::MAX));
    let limited = matches!(import.reason.as_deref(), Some("rate-limit" | "abuse-limit"));
    let until = until.max(import.next_at.filter(|_| limited).unwrap_or(0));
    u64::try_from(until - now).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(failures: i64, reason: &str, next_at: Option<i64>) -> TagImport {
        TagImport {
            tag_id: String::new(),
            next_at,
            requested_at: None,
            requested_by: None,
            last_try_at: Some(1_000_000),
            last_ok_at: None,
            outcome: "failed".to_owned(),
            reason: Some(reason.to_owned()),
            message: None,
            failing_since: Some(1_000_000),
            failures,
            upstream_digest: None,
            generation: 3,
            overdue_at: None,
            rests_until: None,
            least_interval_ms: 0,
            paused_by: None,
            found_at: None,
            passed_digest: None,
            cooling_digest: None,
            cooling_since: None,
            cooling_adopt_by: None,
        }
    }

    #[test]
    fn a_registry_that_failed_is_left_alone_longer_each_time() {
        let seconds = |import: &TagImport, now| rest(3, import, now).map(|left| left.as_secs());
        let waits = [1, 2, 3, 7, 400].map(|failures| seconds(&import(failures, "unreachable", None), 1_000_000));
        assert_eq!(waits, [5, 10, 20, 300, 300].map(Some));
        assert_eq!(seconds(&import(1, "unreachable", None), 1_005_000), None, "its rest is over");
        assert_eq!(seconds(&import(1, "unreachable", Some(1_900_000)), 1_005_000), None, "a schedule is no limit");
        assert_eq!(seconds(&import(1, "rate-limit", Some(1_120_000)), 1_005_000), Some(115), "as long as it asked for");
        assert_eq!(rest(4, &import(1, "unreachable", None), 1_000_000), None, "another source");
        let asked = TagImport { requested_at: Some(1_000_001), ..import(1, "unreachable", None) };
        assert_eq!(rest(3, &asked, 1_000_002), None, "somebody asked for it");
    }
}
