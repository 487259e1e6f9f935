//! `spec.dockerImageRepository`: the repository in another registry whose tags a stream takes in. Weir does that by an import rule, so who
//! says it must be somebody who may make one.

use super::Door;
use super::caller::Caller;
use super::fields::Field;
use super::kind::IMPORT_RULES;
use super::metadata::{GivenMeta, ObjectMeta};
use super::status::{Cause, Status};
use crate::model::{ImageReference, ImportRule, Stream, rfc3339};
use crate::server::store::{self, ImageRepository};

/// On a stream, when it was last tried to import anything into it. It is not kept with the stream: what was looked at tells it.
const LAST_LOOK: &str = "openshift.io/image.dockerRepositoryCheck";

/// Says when it was last tried to import anything into a stream.
pub fn show_look(meta: &mut ObjectMeta, at: Option<i64>) {
    // One that was written down before nobody did so any more tells nothing.
    meta.annotations.remove(LAST_LOOK);
    meta.annotations.extend(at.map(|at| (LAST_LOOK.to_owned(), rfc3339(at))));
}

/// Takes that off what a client writes; tells whether it was there.
pub fn take_look(meta: &mut GivenMeta) -> bool {
    meta.annotations.remove(LAST_LOOK).is_some()
}

/// Whether the stream takes in a repository, and goes on to.
pub fn is_still(stream: &Stream, wanted: Option<&ImageRepository>) -> bool {
    let before = stream.image_repository.as_deref();
    before.is_some() && before == wanted.map(|wanted| wanted.name.as_str())
}

/// Has the stream's repository imported anew, which is what whoever takes that annotation off asks for; or tells why it cannot be.
pub async fn look_again(door: &Door, caller: &Caller, stream: &Stream) -> Result<Option<String>, Status> {
    let asked = door.store.request_listing(&stream.project, &stream.name, ImportRule::OF_STREAM, &caller.actor()).await;
    match asked {
        Err(store::Error::Conflict(words)) => Ok(Some(words)),
        asked => Ok(asked.map(|_| None)?),
    }
}

/// Reads the field; empty is none.
pub fn read(field: &Field<'_>, meta: &GivenMeta) -> Result<Option<ImageRepository>, Status> {
    let Some(name) = field.filled()? else { return Ok(None) };
    let parsed: ImageReference = name.parse().map_err(|error| field.invalid(error))?;
    let parts = [(&parsed.tag, "a tag"), (&parsed.id, "an ID")];
    let causes: Vec<_> = parts
        .into_iter()
        .filter(|(part, _)| !part.is_empty())
        .map(|(_, what)| {
            Cause::invalid_value(field.path(), &name, format!("the repository name may not contain {what}"))
        })
        .collect();
    if !causes.is_empty() {
        return Err(Status::invalid(causes));
    }
    let insecure = meta.annotations.get(Stream::INSECURE_REPOSITORY).is_some_and(|flag| flag == "true");
    Ok(Some(ImageRepository { name, insecure }))
}

/// Passes when the caller may do to the stream's import rule what this change of the stream does to it.
pub async fn check_rights(
    door: &Door,
    caller: &Caller,
    project: &str,
    before: Option<&Stream>,
    wanted: Option<&ImageRepository>,
) -> Result<(), Status> {
    let before = before.and_then(|stream| stream.image_repository.as_deref());
    match verb(before, wanted.map(|wanted| wanted.name.as_str())) {
        None => Ok(()),
        Some("create") => caller.may(door, "create", &IMPORT_RULES, project, "").await,
        Some(verb) => caller.may(door, verb, &IMPORT_RULES, project, ImportRule::OF_STREAM).await,
    }
}

/// What becomes of the rule; nothing when it stays as it is.
fn verb(before: Option<&str>, wanted: Option<&str>) -> Option<&'static str> {
    match (before, wanted) {
        (None, Some(_)) => Some("create"),
        (Some(_), None) => Some("delete"),
        (before, wanted) if before != wanted => Some("update"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_repository_takes_the_right_to_change_the_rule() {
        for (before, wanted, expected) in [
            (None, None, None),
            (Some("a/b"), Some("a/b"), None),
            (None, Some("a/b"), Some("create")),
            (Some("a/b"), Some("a/c"), Some("update")),
            (Some("a/b"), None, Some("delete")),
        ] {
            assert_eq!(verb(before, wanted), expected, "{before:?} {wanted:?}");
        }
    }
}
