//! Projects, streams and tags as the store gives them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::HoldUntil;
use super::text_enum::text_enum;

/// A project: the unit of rights, and Kubernetes' namespace at the REST door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Project {
    pub id: String,
    pub name: String,
    pub display_name: String,
    pub description: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    pub created_by: String,
    /// Sequence of the last change.
    pub version: i64,
}

/// An image stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Stream {
    pub id: String,
    pub project_id: String,
    /// The project's name.
    pub project: String,
    pub name: String,
    pub description: String,
    /// JSON object of text.
    pub labels: String,
    /// JSON object of text.
    pub annotations: String,
    /// 1 when short names of workloads may mean this stream (`lookupPolicy.local`).
    pub local_lookup: i64,
    /// JSON list of globs: tags so named stay where they point once they have an image.
    pub immutable_tags: String,
    /// 1 when a push may put an artifact on an image's tag, or the other way round.
    pub kind_changes: i64,
    pub generation: i64,
    pub created_at: i64,
    pub created_by: String,
    pub version: i64,
    /// The repository in another registry whose tags it takes in (`spec.dockerImageRepository`): that of its import rule
    /// [`OF_STREAM`](super::ImportRule::OF_STREAM).
    pub image_repository: Option<String>,
}

impl Stream {
    /// `<project>/<stream>`, the repository's name in the registry.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.project, self.name)
    }

    /// The annotation that says, by `true`, that what the stream stands for may be asked over plain HTTP and with any certificate, as
    /// OpenShift has it.
    pub const INSECURE_REPOSITORY: &str = "openshift.io/image.insecureRepository";

    /// Whether the stream says that of itself.
    pub fn is_insecure(&self) -> bool {
        let annotations: BTreeMap<String, String> = serde_json::from_str(&self.annotations).unwrap_or_default();
        annotations.get(Self::INSECURE_REPOSITORY).is_some_and(|flag| flag == "true")
    }
}

text_enum! {
    /// What a tag follows (OpenShift: `from.kind`).
    SourceKind {
        /// An image in another registry.
        DockerImage = "DockerImage",
        /// Another tag.
        ImageStreamTag = "ImageStreamTag",
        /// One image for good: a pin.
        ImageStreamImage = "ImageStreamImage",
    }
}

/// A tag of a stream: what it should be, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Tag {
    pub id: String,
    pub stream_id: String,
    pub project_id: String,
    /// The project's name.
    pub project: String,
    /// The stream's name.
    pub stream: String,
    pub name: String,
    /// 1 when somebody said what it should be; a tag only pushed to has no spec.
    pub has_spec: i64,
    pub source_kind: Option<String>,
    pub source: Option<String>,
    pub source_project: Option<String>,
    pub follows_tag_id: Option<String>,
    /// The stream whose image it is pinned to, when that is another one.
    pub pinned_stream_id: Option<String>,
    pub reference_only: i64,
    pub insecure: i64,
    pub scheduled: i64,
    /// Milliseconds between scheduled checks; absent means the server's default.
    pub interval_ms: Option<i64>,
    /// How old what is new in another registry must be before the tag takes it over, in milliseconds; absent or 0: it need not be.
    pub cool_down_ms: Option<i64>,
    pub import_mode: String,
    pub reference_policy: String,
    pub annotations: String,
    pub generation: i64,
    pub digest: Option<String>,
    /// `<project>/<stream>@<digest>` for what this repository has, the same after a slash for what another one of this server has, the
    /// external reference for what was imported.
    pub reference: Option<String>,
    /// The image elsewhere that it only names, as typed: what was said is all there is, whatever it pointed to before.
    pub refers_to: Option<String>,
    pub refers_at: Option<i64>,
    pub event_sequence: Option<i64>,
    pub event_number: i64,
    pub moved_at: Option<i64>,
    pub created_at: i64,
    pub deleted_at: Option<i64>,
    /// The stream's, as in [`Stream`].
    pub immutable_tags: String,
    /// The stream's, as in [`Stream`].
    pub kind_changes: i64,
}

impl Tag {
    /// `<stream>:<tag>`
    pub fn title(&self) -> String {
        format!("{}:{}", self.stream, self.name)
    }

    /// `<project>/<stream>`
    pub fn repository(&self) -> String {
        format!("{}/{}", self.project, self.stream)
    }

    /// Whether something only names it: nobody said what it should be, and it never had an image.
    pub fn is_only_named(&self) -> bool {
        self.has_spec == 0 && self.event_number == 0 && self.refers_to.is_none()
    }

    /// Whether it only refers to an image elsewhere, or follows a tag that does, and no image came to it since.
    pub fn is_mere_reference(&self) -> bool {
        self.refers_to.is_some()
    }

    /// `<project>/<stream>@<digest>`
    pub fn local_reference(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }
}

/// What keeps automation from moving a tag or an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Hold {
    pub id: String,
    pub actor: String,
    pub reason: Option<String>,
    pub since: i64,
    pub sequence: i64,
    pub cascade_id: Option<String>,
    /// 1 when it ends with the first image that the tag never pointed to, or that the app never ran.
    pub until_newer: i64,
    /// When it ends by itself.
    pub until_at: Option<i64>,
}

impl Hold {
    /// What ends it besides a person.
    pub fn until(&self) -> HoldUntil {
        match (self.until_newer, self.until_at) {
            (1, _) => HoldUntil::Newer,
            (_, Some(at)) => HoldUntil::Date(at),
            _ => HoldUntil::Resumed,
        }
    }
}

/// A digest that no automatic mover may put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct RejectedDigest {
    pub digest: String,
    pub actor: String,
    pub reason: Option<String>,
    pub since: i64,
    pub sequence: i64,
}

/// How the checks of a tag's external source go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct TagImport {
    pub tag_id: String,
    pub next_at: Option<i64>,
    pub requested_at: Option<i64>,
    pub requested_by: Option<String>,
    pub last_try_at: Option<i64>,
    pub last_ok_at: Option<i64>,
    /// `new`, `ok`, `unchanged`, `waiting` or `failed`
    pub outcome: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub failing_since: Option<i64>,
    pub failures: i64,
    pub upstream_digest: Option<String>,
    pub generation: i64,
    /// From then on it counts as overdue: two intervals have passed without a check.
    pub overdue_at: Option<i64>,
    /// The registry wants to be left alone until then.
    pub rests_until: Option<i64>,
    /// What the registry allows lets its tags be checked no more often than that, in milliseconds.
    pub least_interval_ms: i64,
    /// Who paused the registry; absent while it is asked.
    pub paused_by: Option<String>,
    /// When something new was found there that is still to be downloaded.
    pub found_at: Option<i64>,
    /// What the tag took over last from its source; absent before the first image.
    pub passed_digest: Option<String>,
    /// What is new there and waits for its cool-down, since when, and who said that it need not.
    pub cooling_digest: Option<String>,
    pub cooling_since: Option<i64>,
    pub cooling_adopt_by: Option<String>,
}

/// What is new in another registry and waits for its cool-down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooling<'a> {
    pub digest: &'a str,
    /// When it was seen here first, whatever the image says of its age.
    pub first_seen_at: i64,
    /// When it is old enough.
    pub until: i64,
    /// Who said that it need not wait.
    pub adopt_by: Option<&'a str>,
}

impl TagImport {
    /// When it is checked next, as far as the registry has to say something about it.
    pub fn next_check_at(&self) -> Option<i64> {
        let due = self.requested_at.or(self.next_at)?;
        Some(self.rests_until.map_or(due, |rest| rest.max(due)))
    }

    /// Whether it should have been checked long ago. While its registry is paused it should not.
    pub fn is_overdue(&self, now: i64) -> bool {
        self.paused_by.is_none() && self.next_at.is_some() && self.overdue_at.is_some_and(|at| at <= now)
    }

    /// What waits for the cool-down of its tag.
    pub fn cooling(&self, tag: &Tag) -> Option<Cooling<'_>> {
        let (digest, first_seen_at) = self.cooling_digest.as_deref().zip(self.cooling_since)?;
        let until = first_seen_at.saturating_add(tag.cool_down_ms.unwrap_or(0));
        Some(Cooling { digest, first_seen_at, until, adopt_by: self.cooling_adopt_by.as_deref() })
    }
}

/// All that one root cause moved, built and rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Cascade {
    pub id: String,
    pub project_id: String,
    pub number: i64,
    pub title: String,
    pub root_sequence: i64,
    pub kind: String,
    pub actor_kind: String,
    pub actor: String,
    pub created_at: i64,
    pub paused_at: Option<i64>,
    pub cancelled_at: Option<i64>,
    pub undone_at: Option<i64>,
    pub undone_by: Option<String>,
    pub undoes: Option<String>,
}

text_enum! {
    /// What happens to what is built on a tag that is rolled back.
    RollbackMode {
        /// It is built again on the old image.
        Rebuild = "rebuild",
        /// It keeps what it has.
        Tag = "tag",
        /// It goes back to the digests it had then, without builds.
        Restore = "restore",
    }
}
