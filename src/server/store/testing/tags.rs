//! Tags of stream `app` in project `demo`, and what comes to them.

use super::TestStore;
use crate::model::{Actor, EventKind, NewImage, SourceKind};
use crate::server::store::{Moved, TagMove, TagSpec};

pub fn ada() -> Actor {
    Actor::person("ada")
}

/// An image comes to a tag: from that reference elsewhere by an import, else by a push.
pub async fn bring(store: &TestStore, tag: &str, digest: &str, reference: Option<&str>) -> Moved {
    let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
    let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
    let tag = tag.parse().unwrap();
    let kind = if reference.is_some() { EventKind::Import } else { EventKind::Push };
    let to = TagMove { tag: &tag, kind, reference, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &ada()).await.unwrap().remove(0)
}

/// Somebody says what a tag should be.
pub async fn set(store: &TestStore, tag: &str, spec: TagSpec) {
    let names = ("app".parse().unwrap(), tag.parse().unwrap());
    store.set_tag("demo", &names.0, &names.1, &spec, None, &ada()).await.unwrap();
}

pub fn following(tag: &str) -> TagSpec {
    TagSpec { source: Some((SourceKind::ImageStreamTag, tag.to_owned())), ..TagSpec::default() }
}

/// Only a name of an image elsewhere.
pub fn naming(name: &str) -> TagSpec {
    TagSpec { reference_only: true, scheduled: false, ..TagSpec::import(name) }
}
