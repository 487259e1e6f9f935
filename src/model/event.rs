//! Who did what: actors, the kinds of moves a tag makes, and the rows of its history and of the ledger.

use serde::{Deserialize, Serialize};

use super::image::is_artifact;
use super::stream_tag::StreamTag;
use super::text_enum::text_enum;

text_enum! {
    /// What kind of actor changed something.
    ActorKind {
        Person = "person",
        Robot = "robot",
        Schedule = "schedule",
        Build = "build",
        Webhook = "webhook",
        System = "system",
    }
}

/// Who or what changed something, as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    /// User name, build name, or the schedule's word for itself.
    pub name: String,
    /// The request in which they did it, as the log names it (`X-Request-ID`); none outside of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Actor {
    /// A person or a program signed in as one.
    pub fn person(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Person, name: name.into(), request: None }
    }

    /// A build, by name.
    pub fn build(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Build, name: name.into(), request: None }
    }

    /// The import schedule.
    pub fn schedule() -> Self {
        Self { kind: ActorKind::Schedule, name: "schedule".to_owned(), request: None }
    }

    /// Weir itself, for instance an image-change trigger.
    pub fn system(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::System, name: name.into(), request: None }
    }
}

text_enum! {
    /// How a tag came to move.
    EventKind {
        Push = "push",
        Import = "import",
        Build = "build",
        Follow = "follow",
        Rollback = "rollback",
        Restore = "restore",
        Api = "api",
    }
}

impl EventKind {
    /// Automatic movers respect holds and rejected digests. Pushes count as automatic: a robot pushes like a person does, and a
    /// person's decision to go back must outlast both.
    pub fn is_automatic(self) -> bool {
        matches!(self, Self::Push | Self::Import | Self::Build | Self::Follow)
    }
}

text_enum! {
    /// What became of an attempt to move a tag.
    Outcome {
        /// The tag points to the digest now.
        Moved = "moved",
        /// A hold kept the tag where it is.
        Held = "held",
        /// The digest is rejected on this tag.
        Rejected = "rejected",
        /// The tag is immutable and points to another image.
        Immutable = "immutable",
        /// The stream does not let an artifact take an image's tag, or the other way round.
        OtherKind = "other-kind",
        /// The tag was deleted; its history stays.
        Deleted = "deleted",
    }
}

impl Outcome {
    /// Whether whoever pushed is refused, rather than told that the tag stays while the image is kept.
    pub fn refuses_pushes(self) -> bool {
        matches!(self, Self::Immutable | Self::OtherKind)
    }
}

/// One row of a tag's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct TagEvent {
    pub sequence: i64,
    /// Counts this tag's rows from 1.
    pub number: i64,
    pub tag_id: String,
    /// The project's name.
    pub project: String,
    /// The stream's name.
    pub stream: String,
    /// The tag's name.
    pub tag: String,
    #[sqlx(try_from = "String")]
    pub outcome: Outcome,
    pub digest: Option<String>,
    pub reference: Option<String>,
    pub from_digest: Option<String>,
    pub generation: i64,
    #[sqlx(try_from = "String")]
    pub kind: EventKind,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
    pub reason: Option<String>,
    pub cause: Option<i64>,
    pub cascade_id: String,
    /// The cascade's number, where it is one of the tag's project.
    pub cascade_number: Option<i64>,
    pub build_id: Option<String>,
    /// Name of the build that made the image, `<config>-<number>`.
    pub build: Option<String>,
    pub to_sequence: Option<i64>,
    /// Number of the row gone back to.
    pub to_number: Option<i64>,
    /// Size of the image in bytes, when it is known here.
    pub size: Option<i64>,
    /// The type of the image, when it is known here.
    pub artifact_type: Option<String>,
    /// 1 when what it pointed to before is known here, too.
    pub from_known: i64,
    /// The type of that.
    pub from_artifact_type: Option<String>,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// How often the same was attempted again, and when last: it made no rows of its own.
    pub repeats: i64,
    pub repeated_at: Option<i64>,
    /// The request that asked for it, as the log names it.
    pub request_id: Option<String>,
    /// Why its image is not whole, as it was last looked at.
    pub problem: Option<String>,
}

impl TagEvent {
    /// The tag.
    pub fn stream_tag(&self) -> StreamTag {
        StreamTag { project: self.project.clone(), stream: self.stream.clone(), tag: self.tag.clone() }
    }

    /// What the tag would have become, when that is not what it was: an artifact instead of an image, or an image instead of an artifact.
    pub fn kind_change(&self) -> Option<&'static str> {
        let was = is_artifact(self.from_artifact_type.as_deref());
        let is = is_artifact(self.artifact_type.as_deref());
        match (self.from_known, self.size, was, is) {
            (1, Some(_), false, true) => Some("an artifact in place of an image"),
            (1, Some(_), true, false) => Some("an image in place of an artifact"),
            _ => None,
        }
    }

    /// Why it came about, in words, for whoever reads the row alone: what somebody said, else what its kind and what led to it tell. Beside
    /// a column for the kind, [`TagEvent::reason`] says all that is new.
    pub fn why(&self) -> String {
        if let Some(reason) = self.reason.as_ref().filter(|reason| !reason.is_empty()) {
            return reason.clone();
        }
        let back = |verb: &str| match self.to_number {
            Some(number) => format!("{verb} to #{number}"),
            None => verb.to_owned(),
        };
        let what = match self.kind {
            _ if self.outcome == Outcome::Deleted => "deleted".to_owned(),
            EventKind::Push => "pushed".to_owned(),
            EventKind::Import => "what it imports changed".to_owned(),
            EventKind::Build => {
                self.build.as_ref().map_or_else(|| "built".to_owned(), |build| format!("built by {build}"))
            }
            EventKind::Follow => "what it follows moved".to_owned(),
            EventKind::Rollback => back("rolled back"),
            EventKind::Restore => back("restored"),
            EventKind::Api => "set to this image".to_owned(),
        };
        // Where no row led to it, the request did.
        match self.request_id.as_ref().filter(|_| self.cause.is_none()) {
            Some(request) => format!("{what} in request {request}"),
            None => what,
        }
    }

    /// Whether its image was stored here once and is not any more: nobody can go back to it. What was refused never was.
    pub fn is_gone(&self) -> bool {
        let refused = matches!(self.outcome, Outcome::Immutable | Outcome::OtherKind);
        self.digest.is_some() && self.size.is_none() && !refused
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct LedgerRow {
    pub sequence: i64,
    pub at: i64,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
    pub action: String,
    pub project: Option<String>,
    pub object: String,
    pub from_value: Option<String>,
    pub to_value: Option<String>,
    pub reason: Option<String>,
    pub cause: Option<i64>,
    pub cascade_id: Option<String>,
    pub previous_hash: String,
    pub hash: String,
}

impl LedgerRow {
    /// Where, within its project, what the row is about is to be seen; `None` for what has no page, and for what was just deleted.
    pub fn place(&self) -> Option<String> {
        let object = self.object.as_str();
        let (noun, verb) = self.action.split_once('.')?;
        if verb == "delete" {
            return None;
        }
        match noun {
            "import" if !object.contains(':') => Some("imports".to_owned()),
            "tag" | "import" | "hold" => {
                object.split_once(':').map(|(stream, tag)| format!("streams/{stream}/tags/{tag}"))
            }
            "import-rule" => object.split_once(" import rule ").map(|(stream, _)| format!("streams/{stream}/imports")),
            "stream" if !object.contains(':') => Some(format!("streams/{object}")),
            "config" => Some(format!("builds/{object}")),
            "build" => object.rsplit_once('-').map(|(config, number)| format!("builds/{config}/runs/{number}")),
            "app" => Some(format!("apps/{object}")),
            "rollout" => object.split_once(" rollout ").map(|(app, _)| format!("apps/{app}")),
            "cascade" => object.strip_prefix("cascade ").map(|number| format!("cascades/{number}")),
            "notice" => Some(format!("notices/{object}")),
            "freeze" => Some("freezes".to_owned()),
            "project" => Some("settings".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
impl TagEvent {
    /// The first push to `base:latest`.
    pub(crate) fn sample() -> Self {
        Self {
            sequence: 7,
            number: 1,
            tag_id: "t".to_owned(),
            project: "demo".to_owned(),
            stream: "base".to_owned(),
            tag: "latest".to_owned(),
            outcome: Outcome::Moved,
            digest: Some("sha256:aa".to_owned()),
            reference: None,
            from_digest: None,
            generation: 1,
            kind: EventKind::Push,
            actor_kind: ActorKind::Person,
            actor: "ada".to_owned(),
            reason: None,
            cause: None,
            cascade_id: "c".to_owned(),
            cascade_number: None,
            build_id: None,
            build: None,
            to_sequence: None,
            to_number: None,
            size: None,
            artifact_type: None,
            from_known: 0,
            from_artifact_type: None,
            at: 1_795_230_660_000,
            repeats: 0,
            repeated_at: None,
            request_id: None,
            problem: None,
        }
    }
}

#[cfg(test)]
impl LedgerRow {
    /// A row that says only this, of project `demo`.
    pub(crate) fn sample(action: &str, object: &str) -> Self {
        Self {
            sequence: 7,
            at: 1_795_230_660_000,
            actor_kind: ActorKind::Build,
            actor: "base-3".to_owned(),
            action: action.to_owned(),
            project: Some("demo".to_owned()),
            object: object.to_owned(),
            from_value: None,
            to_value: None,
            reason: None,
            cause: None,
            cascade_id: None,
            previous_hash: String::new(),
            hash: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_why_whatever_it_is_and_what_was_said_comes_first() {
        let row = |kind: EventKind, outcome: Outcome| TagEvent {
            kind,
            outcome,
            build: Some("app-3".to_owned()),
            to_number: Some(2),
            request_id: Some("r7".to_owned()),
            ..TagEvent::sample()
        };
        let outcomes = [Outcome::Moved, Outcome::Held, Outcome::Rejected, Outcome::Deleted];
        for kind in EventKind::ALL {
            for outcome in outcomes {
                assert!(!row(*kind, outcome).why().is_empty(), "{kind} {outcome}");
                let said = TagEvent { reason: Some("it leaks".to_owned()), ..row(*kind, outcome) };
                assert_eq!(said.why(), "it leaks");
            }
        }
        assert_eq!(row(EventKind::Push, Outcome::Moved).why(), "pushed in request r7");
        assert_eq!(row(EventKind::Rollback, Outcome::Moved).why(), "rolled back to #2 in request r7");
        let built = TagEvent { cause: Some(5), ..row(EventKind::Build, Outcome::Held) };
        assert_eq!(built.why(), "built by app-3", "the row that led to it tells the request");
        let empty = TagEvent { reason: Some(String::new()), ..row(EventKind::Api, Outcome::Deleted) };
        assert_eq!(empty.why(), "deleted in request r7");
    }

    #[test]
    fn rows_lead_to_what_they_are_about() {
        for (action, object, place) in [
            ("tag.push", "base:latest", Some("streams/base/tags/latest")),
            ("hold.explain", "base:latest", Some("streams/base/tags/latest")),
            ("stream.create", "base", Some("streams/base")),
            ("stream.delete", "base", None),
            ("import-rule.fail", "base import rule 3", Some("streams/base/imports")),
            ("config.update", "app-a", Some("builds/app-a")),
            ("build.finish", "app-a-12", Some("builds/app-a/runs/12")),
            ("rollout.finish", "app-a rollout 10", Some("apps/app-a")),
            ("cascade.undo", "cascade 12", Some("cascades/12")),
            ("import.fail", "base:latest", Some("streams/base/tags/latest")),
            ("import.overdue", "demo", Some("imports")),
            ("notice.create", "chat", Some("notices/chat")),
            ("project.quota", "demo", Some("settings")),
            ("member.grant", "ada", None),
        ] {
            let row = LedgerRow::sample(action, object);
            assert_eq!(row.place().as_deref(), place, "{action} {object}");
        }
    }
}
