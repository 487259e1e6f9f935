//! Taking images, or only looking at them, and how each went in OpenShift's words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::super::Door;
use super::super::images::{self, typed};
use super::super::import_status::import_status;
use super::super::kind::IMAGES;
use super::super::status::Status;
use super::Wanted;
use crate::model::{Actor, Image, ImageChild, NewImage, StreamName, Tag};
use crate::server::importer::{ImportError, Selection};
use crate::server::store::{TagSet, TagSpec};

/// How long one request waits for its imports; they go on after it.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a lost signal can delay the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How many images are looked at side by side.
const LOOKS: usize = 4;

/// The most bytes of manifests and configurations in one answer.
const MOST_TOLD: usize = 16 * 1024 * 1024;

/// How it went with one image.
pub(super) struct Taken {
    /// The image's part of the answer.
    pub answer: Value,
    pub is_taken: bool,
    /// The tag that nothing but this request said should be, of an import that failed.
    pub was_made: Option<Tag>,
}

impl Taken {
    /// An image that was had; of an index, with those for its platforms, in its order.
    fn of(one: &Wanted, image: Value, manifests: Vec<Value>) -> Self {
        let mut answer = json!({"status": success(), "image": image, "tag": one.tag});
        if !manifests.is_empty() {
            answer["manifests"] = manifests.into();
        }
        Self { answer, is_taken: true, was_made: None }
    }
}

impl Wanted {
    fn shown(&self, mut image: Value, manifest: &str, config: Option<&str>) -> Value {
        if self.with_texts {
            image["dockerImageManifest"] = manifest.into();
            image["dockerImageConfig"] = config.unwrap_or_default().into();
        }
        typed(&IMAGES, image)
    }
}

/// Where images are taken to.
pub(super) struct Taking<'a> {
    pub door: &'a Door,
    pub project: &'a str,
    pub stream: &'a StreamName,
    pub actor: &'a Actor,
    /// Or else they are only looked at.
    pub keep: bool,
    /// Bytes of manifests and configurations told so far.
    pub told: AtomicUsize,
}

impl Taking<'_> {
    /// Takes images, or looks at them, and tells how each went.
    pub async fn all(&self, wanted: &[Wanted]) -> Result<Vec<Taken>, Status> {
        if !self.keep {
            let looks: Vec<_> = wanted.iter().map(|one| self.look(one)).collect();
            return stream::iter(looks).buffered(LOOKS).try_collect().await;
        }
        let refused: Vec<_> = wanted.iter().map(|one| self.refused(one)).collect();
        let refused: Vec<_> = stream::iter(refused).buffered(LOOKS).try_collect().await?;
        let mut begun = Vec::with_capacity(wanted.len());
        for (one, refused) in wanted.iter().zip(refused) {
            begun.push(match refused {
                Some(taken) => Err(taken),
                None => Ok(self.set(one).await?),
            });
        }
        let ends = begun.into_iter().zip(wanted).map(async |(begun, one)| match begun {
            Ok(set) => finish(self, &set, one).await,
            Err(taken) => Ok(taken),
        });
        join_all(ends).await.into_iter().collect()
    }

    /// Whether the answer still takes an image's texts; later ones are told by name only.
    fn has_room(&self, manifest: &str, config: Option<&str>) -> bool {
        let more = manifest.len() + config.map_or(0, str::len);
        self.told.fetch_add(more, Ordering::Relaxed) + more <= MOST_TOLD
    }

    async fn stored(&self, one: &Wanted, image: &Image, reference: &str) -> Result<Value, Status> {
        if !self.has_room(&image.manifest, image.config.as_deref()) {
            return Ok(typed(&IMAGES, images::bare(&image.digest, reference)));
        }
        let object = images::image(self.door, &image.digest, reference).await?;
        Ok(one.shown(object, &image.manifest, image.config.as_deref()))
    }

    /// Why an image cannot be taken, where its tag follows something else: that it keeps, so that a slip of the pen loses nothing.
    async fn refused(&self, one: &Wanted) -> Result<Option<Taken>, Status> {
        let before = self.door.store.find_tag(self.project, self.stream.as_str(), one.tag.as_str()).await?;
        let Some(before) = before.filter(|tag| tag.has_spec != 0 && tag.deleted_at.is_none()) else { return Ok(None) };
        if TagSpec::of(&before)?.source == one.spec_beside(Some(&before)).source {
            return Ok(None);
        }
        let looked = self.look(one).await?;
        Ok((!looked.is_taken).then_some(looked))
    }

    /// Says what the tag should be. Its check is the import controller's.
    async fn set(&self, one: &Wanted) -> Result<TagSet, Status> {
        let (store, project) = (&self.door.store, self.project);
        let before = store.find_tag(project, self.stream.as_str(), one.tag.as_str()).await?;
        let spec = one.spec_beside(before.as_ref());
        let set = store.set_tag(project, self.stream, &one.tag, &spec, None, self.actor).await?;
        // Asked for by a person, it comes before what the schedule has in its queue.
        store.request_check(project, self.stream.as_str(), one.tag.as_str(), self.actor).await?;
        Ok(set)
    }

    /// What the reference means now, with nothing kept.
    async fn look(&self, one: &Wanted) -> Result<Taken, Status> {
        let selection = self.selection(one).await?;
        let looked = self.door.importer.look(self.project, &one.reference, one.spec.insecure, &selection).await;
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                let answer = json!({"status": refusal(&one.reference, error), "tag": one.tag});
                return Ok(Taken { answer, is_taken: false, was_made: None });
            }
        };
        let reference = format!("{}@{}", one.parsed.as_repository().exact(), found.image.digest);
        let shown = |image: &NewImage| {
            let reference = at_digest(&reference, &image.digest);
            match self.has_room(&image.manifest, image.config.as_deref()) {
                true => one.shown(images::fetched(image, &reference), &image.manifest, image.config.as_deref()),
                false => typed(&IMAGES, images::bare(&image.digest, &reference)),
            }
        };
        let below: BTreeMap<&str, &NewImage> = found.children.iter().map(|it| (it.digest.as_str(), it)).collect();
        let manifests = listed(&found.image.children).filter_map(|digest| below.get(digest).copied());
        Ok(Taken::of(one, shown(&found.image), manifests.map(shown).collect()))
    }

    /// What of an index would be taken, by what the stream and the tag say if they are there.
    async fn selection(&self, one: &Wanted) -> Result<Selection, Status> {
        let (store, name) = (&self.door.store, self.stream.as_str());
        let Some(stream) = store.find_stream(self.project, name).await? else {
            return Ok(Selection::of_mode(&one.spec.import_mode));
        };
        let tag = store.find_tag(self.project, name, one.tag.as_str()).await?;
        let selection = tag.map_or_else(|| Selection::of_stream(&stream), |tag| Selection::of(&stream, &tag));
        Ok(selection.in_mode(&one.spec.import_mode))
    }
}

async fn finish(taking: &Taking<'_>, set: &TagSet, one: &Wanted) -> Result<Taken, Status> {
    let (door, tag) = (taking.door, &set.tag);
    let (status, is_over) = match tokio::time::timeout(PATIENCE, check_ended(door, tag)).await {
        Err(_) => (Some(import_status(&one.reference, "timeout", "it goes on; look at the stream again later")), false),
        Ok(end) => match end? {
            CheckEnd::Done => (None, true),
            CheckEnd::Failed { reason, message } => (Some(import_status(&one.reference, &reason, &message)), true),
            CheckEnd::Left { reason, message } => (Some(import_status(&one.reference, reason, &message)), false),
        },
    };
    if let Some(status) = status {
        let was_made = (set.created && is_over).then(|| tag.clone());
        let answer = json!({"status": status.to_json(), "tag": one.tag});
        return Ok(Taken { answer, is_taken: false, was_made });
    }
    let tag = door.store.tag_by_id(&tag.id).await?;
    let (digest, reference) = (tag.digest.unwrap_or_default(), tag.reference.unwrap_or_default());
    let mut manifests = Vec::new();
    for child in listed(&door.store.list_children(&digest).await?) {
        // Of platforms that the stream did not choose there is nothing here.
        if let Some(image) = door.store.find_image(child).await? {
            manifests.push(taking.stored(one, &image, &at_digest(&reference, child)).await?);
        }
    }
    let image = door.store.find_image(&digest).await?.ok_or_else(|| Status::not_found(&IMAGES, &digest))?;
    Ok(Taken::of(one, taking.stored(one, &image, &reference).await?, manifests))
}

/// The images that an index lists, each once.
fn listed(children: &[ImageChild]) -> impl Iterator<Item = &str> {
    let mut seen = BTreeSet::new();
    children.iter().map(|child| child.child_digest.as_str()).filter(move |digest| seen.insert(*digest))
}

/// Another image of the repository that a reference names by digest.
fn at_digest(reference: &str, digest: &str) -> String {
    format!("{}@{digest}", reference.split('@').next().unwrap_or_default())
}

/// How the wait for a check ended.
enum CheckEnd {
    Done,
    Failed {
        reason: String,
        message: String,
    },
    /// It goes on, or is nobody's any more.
    Left {
        reason: &'static str,
        message: String,
    },
}

/// Waits until the tag's source was checked as its spec has it now.
async fn check_ended(door: &Door, tag: &Tag) -> Result<CheckEnd, Status> {
    let mut changes = door.store.wake().changes();
    loop {
        let Some(import) = door.store.find_import(&tag.id).await? else {
            let message = "the tag was changed meanwhile".to_owned();
            return Ok(CheckEnd::Left { reason: "other", message });
        };
        if let Some(person) = &import.paused_by {
            let message = format!("{person} paused its registry; the import follows when it is resumed");
            return Ok(CheckEnd::Left { reason: "paused", message });
        }
        if import.generation >= tag.generation && import.requested_at.is_none() && import.outcome != "new" {
            if import.outcome != "failed" {
                return Ok(CheckEnd::Done);
            }
            let (reason, message) = (import.reason.unwrap_or_default(), import.message.unwrap_or_default());
            return Ok(CheckEnd::Failed { reason, message });
        }
        tokio::select! {
            _ = changes.recv() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = door.stop.cancelled() => {
                let message = "the server stops; the import goes on when it is back".to_owned();
                return Ok(CheckEnd::Left { reason: "timeout", message });
            }
        }
    }
}

/// Why another registry, or this one, gave nothing.
pub(super) fn refusal(reference: &str, error: ImportError) -> Value {
    match error {
        ImportError::Store(error) => Status::from(error).to_json(),
        error => import_status(reference, error.reason(), &error.to_string()).to_json(),
    }
}

pub(super) fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}
