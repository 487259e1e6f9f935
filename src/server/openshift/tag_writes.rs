//! What `imagestreamtags` and `imagetags` do alike: a tag is named by its stream and itself, made, set, and deleted.

use axum::http::StatusCode;
use serde_json::Value;

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::kind::{IMAGE_STREAMS, Kind};
use super::metadata::{GivenMeta, read_head, texts};
use super::preconditions::Preconditions;
use super::status::{Cause, Status};
use super::tag_specs::GivenTag;
use super::{Door, deleted, tag_specs};
use crate::model::{Stream, StreamName, Tag, TagName, TagTitle};
use crate::server::store::{self, TagSet, TagSpec, WantedTag};

/// One of the two kinds, and where its objects say what the tag should be.
pub struct TagWrites {
    pub kind: &'static Kind,
    /// The field that holds OpenShift's `TagReference`.
    pub spec: &'static str,
    /// Whether an object that does not say takes back what the tag should be; or else it only changes the annotations.
    pub takes_back: bool,
}

/// A tag that was set.
pub struct Put {
    /// 201 when the tag had no spec before, else 200.
    pub code: StatusCode,
    pub stream: Stream,
    pub tag: Tag,
    pub warnings: Warnings,
}

/// An object as it came.
pub struct Given {
    pub meta: GivenMeta,
    /// What the tag should be; `None` when the object does not say.
    pub tag: Option<GivenTag>,
    /// The name that what it should be stands under, where that counts.
    pub spec_name: Option<String>,
}

impl TagWrites {
    /// The stream and the tag of an object's name.
    pub fn split<'a>(&self, name: &'a str) -> Result<(&'a str, &'a str), Status> {
        let wrong = || Status::bad_request(format!("{}s must be retrieved with <name>:<tag>", self.kind.kind));
        TagTitle::halves(name).ok_or_else(wrong)
    }

    /// Reads an object; errors name it.
    pub fn read(&self, body: &Body, project: &str, url_name: &str) -> Result<(Given, Warnings), Status> {
        let mut name = url_name.to_owned();
        let read = body.read(|root| {
            let meta = read_head(&root, self.kind, project)?;
            if name.is_empty() {
                name.clone_from(&meta.name);
            }
            // What became of the tag is not set, and the policy is its stream's.
            let tag = root.get(self.spec);
            let spec_name = if self.takes_back {
                root.pass_over_all(&["image", "status"]);
                tag.get("name").filled()?
            } else {
                root.pass_over_all(&["conditions", "generation", "image", "lookupPolicy"]);
                tag.pass_over_all(&["name"]);
                None
            };
            let mut given = if tag.is_present() { Some(tag_specs::read(&tag, project)?) } else { None };
            if let Some(given) = given.as_mut().filter(|given| self.takes_back && given.spec.annotations == "{}") {
                // An object with a spec is said in it, and its own annotations only repeat that.
                given.spec.annotations = meta.annotations_json()?;
            }
            Ok(Given { meta, tag: given, spec_name })
        });
        read.map_err(|status| status.about(self.kind, &name))
    }

    /// Makes a tag; its stream, too, when there is none.
    pub async fn create(
        &self,
        door: &Door,
        caller: &Caller,
        project: &str,
        body: &Body,
    ) -> Result<(Stream, Tag, Warnings), Status> {
        caller.may(door, "create", self.kind, project, "").await?;
        let (given, warnings) = self.read(body, project, "")?;
        let (stream, tag) = self.make(door, caller, project, &given).await?;
        Ok((stream, tag, warnings))
    }

    /// [`TagWrites::create`] of what was read already.
    pub async fn make(
        &self,
        door: &Door,
        caller: &Caller,
        project: &str,
        given: &Given,
    ) -> Result<(Stream, Tag), Status> {
        let refuse = |error| Status::bad_name("metadata.name", &given.meta.name, &error);
        let name: TagTitle =
            given.meta.name.parse().map_err(|error| refuse(error).about(self.kind, &given.meta.name))?;
        let title = name.to_string();
        let TagTitle { stream, tag } = name;
        let spec = given.spec(self.takes_back, None)?.unwrap_or_default();
        let wanted = WantedTag { name: tag, spec, again: true };
        tag_specs::check_sources(door, caller, (self.kind, &title), stream.as_str(), &[&wanted]).await?;
        let made = door.store.create_tag(project, &stream, &wanted, given.meta.version, &caller.actor()).await;
        let made = made.map_err(|error| match error {
            store::Error::Exists { .. } => Status::already_exists_singular(self.kind, &title),
            error => Status::from(error).about(self.kind, &title),
        })?;
        Ok((door.store.stream(project, stream.as_str()).await?, made.tag))
    }

    /// Says what a tag should be; makes it and its stream when they are not there.
    pub async fn put(
        &self,
        door: &Door,
        caller: &Caller,
        project: &str,
        name: &str,
        body: &Body,
    ) -> Result<Put, Status> {
        caller.may(door, "update", self.kind, project, name).await?;
        let (stream, tag) = self.split(name)?;
        let (given, warnings) = self.read(body, project, name)?;
        given.meta.check_name(name)?;
        let (stream, tag) = self.names(stream, tag, name)?;
        let owner = door.store.find_stream(project, stream.as_str()).await?;
        if (given.meta.version.is_some() || given.meta.uid.is_some()) && owner.is_none() {
            // An update of something that was there: without its stream it is not.
            return Err(Status::not_found(&IMAGE_STREAMS, stream.as_str()));
        }
        if let Some(owner) = &owner {
            Preconditions::on_uid(given.meta.uid.as_deref()).check(self.kind, name, owner)?;
            if !given.meta.labels.is_empty() && given.meta.labels != texts(&owner.labels) {
                let cause = Cause::invalid_value(
                    "metadata.labels",
                    "",
                    "may not update fields other than metadata.annotations",
                );
                return Err(Status::invalid(vec![cause]).about(self.kind, name));
            }
        }
        let before = door.store.find_tag(project, stream.as_str(), tag.as_str()).await?;
        let before = before.filter(|tag| tag.has_spec != 0 && tag.deleted_at.is_none());
        if let (None, Some(before), true) = (&given.tag, &before, self.takes_back) {
            let taken_back = door.store.take_back_tag(before, given.meta.version, &caller.actor()).await;
            if !taken_back.map_err(|error| Status::from(error).about(self.kind, name))? {
                return Err(Status::conflict(format!("{name} was changed meanwhile: read it again")));
            }
            let (stream, tag) =
                (door.store.stream(project, stream.as_str()).await?, door.store.tag_by_id(&before.id).await?);
            return Ok(Put { code: StatusCode::OK, stream, tag, warnings });
        }
        let mut spec = given.spec(self.takes_back, before.as_ref())?.ok_or_else(|| {
            Status::bad_request(format!(
                "{} {tag} is not a spec tag in imagestream {project}/{stream}, cannot be updated",
                self.kind.singular
            ))
        })?;
        if let Some(before) = &before {
            tag_specs::echo(&mut spec, before);
        }
        let again = given.tag.as_ref().is_some_and(|tag| tag.again);
        let wanted = WantedTag { name: tag, spec, again };
        if !before.is_some_and(|before| wanted.is_as(&before)) {
            tag_specs::check_sources(door, caller, (self.kind, name), stream.as_str(), &[&wanted]).await?;
        }
        let set = door.store.change_tag(project, &stream, &wanted, given.meta.version, &caller.actor()).await;
        let TagSet { tag, created } = set.map_err(|error| Status::from(error).about(self.kind, name))?;
        let stream = door.store.stream(project, stream.as_str()).await?;
        let code = if created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Put { code, stream, tag, warnings })
    }

    /// Deletes a tag. Its image and its history stay. An immutable tag is deleted by project admins only.
    pub async fn delete(
        &self,
        door: &Door,
        caller: &Caller,
        project: &str,
        name: &str,
        wanted: &Preconditions,
    ) -> Result<Value, Status> {
        caller.may(door, "delete", self.kind, project, name).await?;
        let (stream, tag) = self.split(name)?;
        let stream = door.store.stream(project, stream).await?;
        if door.store.find_tag(project, &stream.name, tag).await?.is_none_or(|tag| tag.is_only_named()) {
            return Err(Status::not_found(self.kind, name));
        }
        wanted.check(self.kind, name, &stream)?;
        let gone = match caller.is_admin(door, project).await? {
            true => door.store.delete_tag_as_admin(project, &stream.name, tag, &caller.actor()).await,
            false => door.store.delete_tag(project, &stream.name, tag, &caller.actor()).await,
        };
        match gone {
            Ok(()) => Ok(deleted(self.kind, name, &stream.id)),
            Err(store::Error::NotFound { .. }) => Err(Status::not_found(self.kind, name)),
            Err(error) => Err(error.into()),
        }
    }

    fn names(&self, stream: &str, tag: &str, title: &str) -> Result<(StreamName, TagName), Status> {
        let refuse = |error| Status::bad_name("metadata.name", title, &error).about(self.kind, title);
        Ok((stream.parse().map_err(refuse)?, tag.parse().map_err(refuse)?))
    }
}

impl Given {
    /// The tag's spec: as it `stands`, or with the object's annotations. A body without one changes the annotations of the spec there is;
    /// `None` when there is none either.
    fn spec(&self, stands: bool, before: Option<&Tag>) -> Result<Option<TagSpec>, Status> {
        let mut spec = match (&self.tag, before) {
            (Some(given), _) if stands => return Ok(Some(given.spec.clone())),
            (Some(given), _) => given.spec.clone(),
            (None, Some(tag)) => TagSpec::of(tag)?,
            (None, None) => return Ok(None),
        };
        let annotations = self.meta.annotations_json()?;
        if spec.annotations != "{}" && spec.annotations != annotations && self.tag.is_some() {
            let message = "tag annotations must not be provided or must be equal to the object meta annotations";
            if !self.meta.annotations.is_empty() {
                return Err(Status::invalid(vec![Cause::invalid_value("tag.annotations", &spec.annotations, message)]));
            }
            return Ok(Some(spec));
        }
        spec.annotations = annotations;
        Ok(Some(spec))
    }
}
