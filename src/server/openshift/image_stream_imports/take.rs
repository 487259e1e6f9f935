//! Taking images, and how each went in OpenShift's words.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::super::Door;
use super::super::images::{self, typed};
use super::super::kind::IMAGES;
use super::super::status::Status;
use super::asked::Wanted;
use super::{failure, success};
use crate::model::{Actor, Image, ImageChild, Tag, TagName};
use crate::server::store::{AskedImport, ImportTarget, TagSet, TagSpec};

/// How many imports are waited for together.
const AT_ONCE: usize = 50;
/// The most bytes of manifests and configurations in one answer.
const MOST_TOLD: usize = 16 * 1024 * 1024;

/// How it went with one image.
pub(super) struct Taken {
    /// The image's part of the answer.
    pub answer: Value,
    pub is_taken: bool,
    /// The tag that nothing but this request said should be, of an import that failed.
    pub was_made: Option<Tag>,
    /// A sentence for whoever asks, beside the answer.
    pub remark: Option<String>,
}

impl Taken {
    /// An image that was had; of an index, with those for its platforms, in its order.
    pub fn of(one: &Wanted, image: Value, manifests: Vec<Value>) -> Self {
        let mut answer = one.told(success());
        answer["image"] = image;
        if !manifests.is_empty() {
            answer["manifests"] = manifests.into();
        }
        Self { answer, is_taken: true, was_made: None, remark: None }
    }
}

impl Wanted {
    pub(super) fn shown(&self, mut image: Value, manifest: &str, config: Option<&str>) -> Value {
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
    pub target: ImportTarget<'a>,
    pub actor: &'a Actor,
    /// Or else they are only looked at.
    pub keep: bool,
    /// When the request has to end.
    pub until: Instant,
    /// Bytes of manifests and configurations told so far.
    pub told: AtomicUsize,
}

impl Taking<'_> {
    /// Takes images, or looks at them, and tells in their order how each went.
    pub async fn all(&self, wanted: &[&Wanted]) -> Result<Vec<Taken>, Status> {
        if !self.keep {
            return self.look_at_all(wanted).await;
        }
        let seen = self.see(wanted).await?;
        let mut refused = self.refused(wanted, &seen).await?;
        let (mut imports, mut places) = (Vec::new(), Vec::new());
        for (place, (one, seen)) in wanted.iter().zip(seen).enumerate() {
            let (None, Some(name)) = (&refused[place], &one.tag) else { continue };
            places.push(place);
            imports.push(AskedImport { name: name.clone(), spec: one.spec_beside(seen.as_ref()), seen });
        }
        let begun = match imports.is_empty() {
            true => Vec::new(),
            false => self.door.store.begin_imports(&self.target, &imports, self.actor).await?,
        };
        let ends: Vec<_> = places.iter().zip(begun).map(|(place, set)| self.end(wanted[*place], set)).collect();
        let ends: Vec<Taken> = stream::iter(ends).buffered(AT_ONCE).try_collect().await?;
        for (place, end) in places.into_iter().zip(ends) {
            refused[place] = Some(end);
        }
        Ok(refused.into_iter().flatten().collect())
    }

    /// The tags that images are to be taken to, as they are before anybody else is asked.
    async fn see(&self, wanted: &[&Wanted]) -> Result<Vec<Option<Tag>>, Status> {
        let (store, stream) = (&self.door.store, self.target.stream.as_str());
        let mut seen = Vec::with_capacity(wanted.len());
        for one in wanted {
            let name = one.tag.as_ref().map_or("", TagName::as_str);
            seen.push(store.find_tag(self.target.project, stream, name).await?);
        }
        Ok(seen)
    }

    /// Which images are not taken, and why: those whose tag the request gives to another one further on, and those that cannot be had while
    /// their tag follows something else. That it keeps, so that a slip of the pen loses nothing.
    async fn refused(&self, wanted: &[&Wanted], seen: &[Option<Tag>]) -> Result<Vec<Option<Taken>>, Status> {
        let mut refused: Vec<Option<Taken>> = Vec::with_capacity(wanted.len());
        let (mut looks, mut places) = (Vec::new(), Vec::new());
        for (place, (one, before)) in wanted.iter().zip(seen).enumerate() {
            let later =
                wanted[place + 1..].iter().find(|other| other.tag == one.tag && other.reference != one.reference);
            refused.push(later.map(|later| failure(one, &superseded(later))));
            if later.is_none() && follows_something_else(one, before.as_ref())? {
                looks.push(*one);
                places.push(place);
            }
        }
        for (place, looked) in places.into_iter().zip(self.look_at_all(&looks).await?) {
            refused[place] = (!looked.is_taken).then_some(looked);
        }
        Ok(refused)
    }

    /// How an import that was begun, or was not, came out.
    async fn end(&self, one: &Wanted, set: Option<TagSet>) -> Result<Taken, Status> {
        match set {
            Some(set) => self.finish(&set, one).await,
            None => {
                let words =
                    "the tag was set to something else while this request looked at its source: it stays as it is now";
                Ok(failure(one, &Status::conflict(words)))
            }
        }
    }

    /// Whether the answer still takes an image's texts; later ones are told by name only.
    pub(super) fn has_room(&self, manifest: &str, config: Option<&str>) -> bool {
        let more = manifest.len() + config.map_or(0, str::len);
        self.told.fetch_add(more, Ordering::Relaxed) + more <= MOST_TOLD
    }

    /// An image that the tag's repository has.
    pub(super) async fn stored(
        &self,
        one: &Wanted,
        tag: &Tag,
        image: &Image,
        reference: &str,
    ) -> Result<Value, Status> {
        if !self.has_room(&image.manifest, image.config.as_deref()) {
            return Ok(typed(&IMAGES, images::bare(&image.digest, reference)));
        }
        let object = images::image(self.door, &tag.stream_id, &image.digest, reference).await?;
        Ok(one.shown(object, &image.manifest, image.config.as_deref()))
    }
}

/// Whether the tag follows anything but what is to be imported.
fn follows_something_else(one: &Wanted, before: Option<&Tag>) -> Result<bool, Status> {
    let Some(before) = before.filter(|tag| tag.has_spec != 0 && tag.deleted_at.is_none()) else { return Ok(false) };
    Ok(TagSpec::of(before)?.source != one.spec.source)
}

fn superseded(later: &Wanted) -> Status {
    Status::conflict(format!("{} is to have the same tag, and the last of them counts", later.reference))
}

/// The images that an index lists, each once.
pub(super) fn listed(children: &[ImageChild]) -> impl Iterator<Item = &str> {
    let mut seen = BTreeSet::new();
    children.iter().map(|child| child.child_digest.as_str()).filter(move |digest| seen.insert(*digest))
}

/// Another image of the repository that a reference names by digest.
pub(super) fn at_digest(reference: &str, digest: &str) -> String {
    format!("{}@{digest}", reference.split('@').next().unwrap_or_default())
}
