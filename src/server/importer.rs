//! Brings images of other registries here: asks with a HEAD, fetches only what changed, keeps indexes with all platforms that are wanted.
//!
//! Everything of an image is stored before the tag moves, so pulls go on working when the other registry does not. The one exception is
//! a tag without any image that somebody pulls ([`Importer::pull_tag`]): its manifest is answered first, and the rest is fetched as it is
//! asked for, and completed behind it.

mod allowances;
mod asking;
mod check_places;
mod checks;
mod completion;
mod failures;
mod fetch;
mod fetches;
mod listing;
mod places;
mod pulls;
mod questions;
mod selection;
mod site_logins;
mod source;
mod takes;
mod trials;
mod trouble;
mod turns;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use check_places::{CheckPlace, CheckPlaces};
pub use fetch::Fetch;
pub use listing::{MAX_LISTED, MOST_SEEN};
pub use places::{Place, Places};
pub use pulls::PulledBlob;
pub use selection::Selection;
pub use site_logins::SiteLogins;
pub use source::MirrorSets;

use crate::model::{Actor, Digest, EventKind, InsecureRegistries, NewImage, Stream, Tag, TagName};
use crate::server::blobs::{self, Blobs};
use crate::server::oci::{Client, Descriptor, Error as OciError, Manifest, ManifestError};
use crate::server::store::{self, Expected, Moved, Store, TagMove};
use allowances::{Allowances, Asks};
use failures::Failures;
use fetch::Wanted;
use fetches::Fetches;
use questions::Questions;
use source::{Source, heard};
use trouble::Troubles;
use turns::Turns;

/// Blobs fetched side by side for one image.
const PARALLEL_BLOBS: usize = 3;
/// The most manifests one import takes, with those of indexes within indexes.
const MAX_MANIFESTS: usize = 1000;

/// Imports images. Clones share what is under way: of one blob there is one download, whoever wants it.
#[derive(Clone)]
pub struct Importer {
    store: Store,
    blobs: Arc<dyn Blobs>,
    client: Arc<Client>,
    shared: Arc<Shared>,
}

/// Where downloads run that outlive who asked for them, and the names that mean this very server.
pub struct Surroundings {
    /// Hosts, with ports where references need them, at which clients reach this server.
    pub own_hosts: Vec<String>,
    /// Where else what other registries have can be had.
    pub mirrors: MirrorSets,
    /// Credentials for registries that projects have none of their own for.
    pub logins: SiteLogins,
    /// Registries that need no TLS, whatever a tag says.
    pub insecure: InsecureRegistries,
    pub tracker: TaskTracker,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

struct Shared {
    around: Surroundings,
    fetches: Fetches,
    failures: Failures,
    questions: Questions,
    troubles: Troubles,
    allowances: Allowances,
    turns: Turns,
    /// Places of trials of import rules.
    trials: Semaphore,
}

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The other registry's doing, or the reference's.
    #[error(transparent)]
    Upstream(#[from] OciError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the image could not be stored: {0}")]
    Blobs(#[from] blobs::Error),
    #[error("the image cannot be taken: {0}")]
    Manifest(#[from] ManifestError),
    #[error("\"{reference}\" is not an image reference: {cause}")]
    Reference { reference: String, cause: crate::model::ReferenceError },
    /// The reference leads back to this server.
    #[error(
        "\"{reference}\" is in this very registry: let the tag follow that tag (ImageStreamTag) instead of importing it"
    )]
    OwnRegistry { reference: String },
    /// It failed a moment ago, and the other registry is left alone for a while.
    #[error("{message}")]
    Resting { reason: String, message: String, left: std::time::Duration },
    /// There was no turn at the registry for as long as somebody waits, or its project has had its share there.
    #[error("{message}")]
    AskedTooMuch { message: String, left: std::time::Duration },
    /// The index is for other machines.
    #[error("the index has no image for {chosen}, which its stream takes, only for {has}")]
    NoPlatform { chosen: String, has: String },
    /// Several waited for the same download.
    #[error(transparent)]
    Shared(#[from] Arc<Self>),
    /// A site admin does not want it asked.
    #[error("{message}")]
    Paused { message: String },
    #[error("the other registry has not answered yet: try again in a moment")]
    Late,
    /// Others try import rules, too.
    #[error("other rules are being tried at the moment: try again soon")]
    Crowded,
    #[error("the server stops")]
    Stopping,
}

impl ImportError {
    /// One word for rows and filters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Upstream(error) => error.reason(),
            Self::Store(store::Error::Quota { .. }) => "quota",
            Self::Store(store::Error::Limit(_)) => "limit",
            Self::Store(_) | Self::Blobs(_) => "storage",
            Self::Manifest(_) => "integrity",
            Self::Reference { .. } => "invalid-reference",
            Self::OwnRegistry { .. } => "own-registry",
            Self::NoPlatform { .. } => "no-platform",
            Self::Resting { .. } => "resting",
            Self::Paused { .. } => "paused",
            Self::AskedTooMuch { .. } => "asked-too-much",
            Self::Shared(cause) => cause.reason(),
            Self::Late => "timeout",
            Self::Crowded => "crowded",
            Self::Stopping => "stopping",
        }
    }

    /// As [`ImportError::reason`], of what failed a moment ago while it rests.
    pub fn cause(&self) -> String {
        match self {
            Self::Resting { reason, .. } => reason.clone(),
            Self::Shared(cause) => cause.cause(),
            other => other.reason().to_owned(),
        }
    }

    /// Whether the other registry was not even asked, as it wants to be left alone, a site admin wants that, or it was not its turn.
    pub fn is_resting(&self) -> bool {
        match self {
            Self::Resting { .. } | Self::Paused { .. } | Self::AskedTooMuch { .. } => true,
            Self::Shared(cause) => cause.is_resting(),
            _ => false,
        }
    }

    /// Whether the tag was deleted, or set to follow something else, while its image was fetched.
    pub fn is_overtaken(&self) -> bool {
        matches!(self, Self::Store(store::Error::Invalid { field, .. }) if field == store::TAG_PRECONDITION)
    }

    /// How long the other registry asked to be left alone.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Upstream(error) => error.retry_after(),
            Self::Resting { left, .. } | Self::AskedTooMuch { left, .. } => Some(*left),
            Self::Shared(cause) => cause.retry_after(),
            _ => None,
        }
    }
}

/// An image as the other registry has it, before anything is stored.
pub struct Fetched {
    pub image: NewImage,
    /// Manifests of an index, all its platforms, and of indexes within it: what is listed comes before what lists it.
    pub children: Vec<NewImage>,
    blobs: Vec<Descriptor>,
}

impl Fetched {
    /// What all its blobs that are to be had from registries take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().filter(|blob| !blob.is_foreign()).map(|blob| blob.size).fold(0, u64::saturating_add)
    }
}

/// A step on the way through an index, deepest first.
enum Step {
    Enter(Digest),
    Leave(Box<Manifest>),
}

/// The steps through a manifest, the last one first: all that it lists and that is wanted, then itself.
fn enter(manifest: Manifest, selection: &Selection) -> Vec<Step> {
    let left_out = selection.left_out(&manifest);
    let listed = manifest.children().iter().filter(|child| child.is_manifest() && !left_out.contains(&child.digest));
    let listed: Vec<_> = listed.map(|child| Step::Enter(child.digest.clone())).collect();
    let mut steps = vec![Step::Leave(Box::new(manifest))];
    steps.extend(listed);
    steps
}

impl Importer {
    /// Over these parts.
    pub fn new(store: Store, blobs: Arc<dyn Blobs>, client: Arc<Client>, around: Surroundings) -> Self {
        let (fetches, failures) = (Fetches::default(), Failures::default());
        let (questions, troubles) = (Questions::default(), Troubles::default());
        let (allowances, trials) = (Allowances::default(), Semaphore::new(trials::AT_ONCE));
        let turns = Turns::default();
        let shared = Shared { around, fetches, failures, questions, troubles, allowances, turns, trials };
        Self { store, blobs, client, shared: Arc::new(shared) }
    }

    /// What a reference means now, without storing anything.
    pub async fn look(
        &self,
        project: &str,
        reference: &str,
        insecure: bool,
        selection: &Selection,
    ) -> Result<Fetched, ImportError> {
        let source = self.source(project, reference, insecure).await?;
        let top = self.top(&source).await?;
        self.fetch_below(&source, top, selection).await
    }

    /// The manifest or index that the reference means.
    async fn top(&self, source: &Source) -> Result<Manifest, ImportError> {
        for mirror in self.mirrors_of_tag(source).await? {
            if let Some(top) = heard(&mirror, self.top_at(&mirror).await) {
                return Ok(top);
            }
        }
        self.top_at(source).await
    }

    async fn top_at(&self, place: &Source) -> Result<Manifest, ImportError> {
        let question = self.client.get_manifest(&place.reference, &place.access);
        Ok(self.ask(place, Asks::Manifest, question).await?.manifest)
    }

    /// The manifest to record: the one that a reference means, or one child of it in legacy mode.
    async fn select(&self, source: &Source, top: Manifest, selection: &Selection) -> Result<Manifest, ImportError> {
        selection.check(&top)?;
        match selection.only(&top) {
            Some(child) => self.manifest(source, &child.digest).await,
            None => Ok(top),
        }
    }

    /// The image to record, with what is below it as far as it is wanted.
    async fn fetch_below(&self, source: &Source, top: Manifest, selection: &Selection) -> Result<Fetched, ImportError> {
        let top = self.select(source, top, selection).await?;
        let image = self.describe(source, &top).await?;
        let manifests = self.tree(source, top, selection).await?;
        // Each is held to all that is below it.
        let left_out = texts(manifests.iter().flat_map(|manifest| selection.left_out(manifest)).collect());
        let image = NewImage { left_out: left_out.clone(), ..image };
        let mut blobs = Vec::new();
        let mut children = Vec::new();
        for manifest in &manifests {
            // What an index lists that is no manifest is a blob.
            blobs.extend(
                manifest.blobs().chain(manifest.children().iter().filter(|child| !child.is_manifest())).cloned(),
            );
            if manifest.digest.as_str() != image.digest {
                let described = self.describe(source, manifest).await?;
                children.push(NewImage { left_out: left_out.clone(), ..described });
            }
        }
        blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        blobs.dedup_by(|a, b| a.digest == b.digest);
        Ok(Fetched { image, children, blobs })
    }

    /// A manifest with all that it lists and that is wanted, each once; what is listed comes before what lists it.
    async fn tree(&self, source: &Source, top: Manifest, selection: &Selection) -> Result<Vec<Manifest>, ImportError> {
        let mut seen = BTreeSet::from([top.digest.clone()]);
        let mut ordered = Vec::new();
        let mut steps = enter(top, selection);
        while let Some(step) = steps.pop() {
            match step {
                Step::Leave(manifest) => ordered.push(*manifest),
                Step::Enter(digest) if seen.insert(digest.clone()) => {
                    if seen.len() > MAX_MANIFESTS {
                        let message = format!("its index lists more than {MAX_MANIFESTS} manifests");
                        return Err(ManifestError::Invalid(message).into());
                    }
                    steps.extend(enter(self.manifest(source, &digest).await?, selection));
                }
                Step::Enter(_) => {}
            }
        }
        Ok(ordered)
    }

    async fn manifest(&self, source: &Source, digest: &Digest) -> Result<Manifest, ImportError> {
        for mirror in self.mirrors_of_digests(source).await? {
            if let Some(manifest) = heard(&mirror, self.manifest_at(&mirror, digest).await) {
                return Ok(manifest);
            }
        }
        self.manifest_at(source, digest).await
    }

    async fn manifest_at(&self, place: &Source, digest: &Digest) -> Result<Manifest, ImportError> {
        let reference = place.reference.at_digest(digest);
        Ok(self.ask(place, Asks::Manifest, self.client.get_manifest(&reference, &place.access)).await?.manifest)
    }

    async fn describe(&self, source: &Source, manifest: &Manifest) -> Result<NewImage, ImportError> {
        let config = match manifest.blobs().next().filter(|config| config.is_image_config()) {
            Some(config) => Some(self.small_blob(source, &config.digest).await?),
            None => None,
        };
        Ok(manifest.to_image(config.as_deref())?)
    }

    async fn small_blob(&self, source: &Source, digest: &Digest) -> Result<Bytes, ImportError> {
        for mirror in self.mirrors_of_digests(source).await? {
            if let Some(bytes) = heard(&mirror, self.small_blob_at(&mirror, digest).await) {
                return Ok(bytes);
            }
        }
        self.small_blob_at(source, digest).await
    }

    async fn small_blob_at(&self, place: &Source, digest: &Digest) -> Result<Bytes, ImportError> {
        self.ask(place, Asks::Blob, self.client.get_small_blob(&place.reference, digest, &place.access)).await
    }

    /// Stores the blobs, then the manifests, then moves the tag. What does not fit into the project is not fetched at all.
    async fn store_fetched(
        &self,
        source: &Source,
        stream: &Stream,
        tag: &Tag,
        fetched: &Fetched,
        actor: &Actor,
    ) -> Result<Option<Moved>, ImportError> {
        let blobs = || fetched.blobs.iter().filter(|blob| !blob.is_foreign());
        let manifests = fetched.children.iter().chain([&fetched.image]);
        let manifests = manifests.map(|image| (image.digest.as_str(), image.manifest.len() as u64));
        self.check_room(stream, manifests.chain(blobs().map(|blob| (blob.digest.as_str(), blob.size)))).await?;
        let downloads = blobs();
        let downloads: Vec<_> = downloads.map(|blob| self.store_blob(source, stream, blob).boxed()).collect();
        stream::iter(downloads).buffer_unordered(PARALLEL_BLOBS).try_collect::<()>().await?;
        for child in &fetched.children {
            self.store.put_manifest(stream, child, None, actor).await?;
        }
        let reference = format!("{}@{}", source.reference.as_repository().exact(), fetched.image.digest);
        let name: TagName = tag.name.parse().map_err(|error| store::Error::invalid("tag", format!("{error}")))?;
        let reference = Some(reference.as_str());
        let to = TagMove { tag: &name, kind: EventKind::Import, reference, cause: None, build_id: None };
        // All that took its time; a person's word that came meanwhile counts.
        let expected = Expected::Following { generation: tag.generation };
        Ok(self.store.put_manifest_if(stream, &fetched.image, Some(to), &expected, actor).await?.pop())
    }

    /// Refuses what would not fit into the stream's project, before it is fetched.
    async fn check_room<'a>(
        &self,
        stream: &Stream,
        parts: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<(), store::Error> {
        let parts: Vec<_> = parts.map(|(digest, size)| (digest, i64::try_from(size).unwrap_or(i64::MAX))).collect();
        self.store.check_room(&stream.id, &parts).await
    }

    async fn store_blob(&self, source: &Source, stream: &Stream, blob: &Descriptor) -> Result<(), ImportError> {
        self.bring_part(&stream.id, blob, std::slice::from_ref(source)).await
    }

    /// As [`Importer::bring_blob`], for a part of an image that came from the first of these sources.
    async fn bring_part(&self, stream_id: &str, part: &Descriptor, sources: &[Source]) -> Result<(), ImportError> {
        let repository = sources.first().map(|source| source.reference.as_repository().exact()).unwrap_or_default();
        let wanted = Wanted { digest: &part.digest, size: part.size, repository: &repository };
        self.bring_blob(stream_id, &wanted, sources).await
    }
}

fn texts(digests: BTreeSet<Digest>) -> Vec<String> {
    digests.into_iter().map(|digest| digest.to_string()).collect()
}
