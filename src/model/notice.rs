//! What other programs may be told of a project's changes, to whom, and how that went.

use serde::Serialize;

use super::event::LedgerRow;
use super::text_enum::text_enum;

text_enum! {
    /// What a notice tells: a change, or a change of state. That something is still as it was is no news.
    NoticeKind {
        TagPushed = "tag.pushed",
        TagImported = "tag.imported",
        TagBuilt = "tag.built",
        TagFollowed = "tag.followed",
        TagRolledBack = "tag.rolled-back",
        TagRestored = "tag.restored",
        TagSet = "tag.set",
        TagKeptBack = "tag.kept-back",
        TagDeleted = "tag.deleted",
        ImportFailing = "import.failing",
        ImportRecovered = "import.recovered",
        BuildFailing = "build.failing",
        BuildRecovered = "build.recovered",
        RolloutFailing = "rollout.failing",
        RolloutRecovered = "rollout.recovered",
        AppRolledBack = "app.rolled-back",
        ImageBroken = "image.broken",
        ImageMended = "image.mended",
        HoldSet = "hold.set",
        HoldEnded = "hold.ended",
        QuotaShort = "quota.short",
        QuotaEnough = "quota.enough",
        ImportOverdue = "import.overdue",
        ImportOnTime = "import.on-time",
        /// Somebody asked whether notices arrive. Nobody chooses it: it goes to the target that was asked about.
        Test = "test",
    }
}

impl NoticeKind {
    /// What can be chosen, in groups of one noun.
    pub const GROUPS: [(&'static str, &'static [Self]); 7] = [
        (
            "A tag",
            &[
                Self::TagPushed,
                Self::TagImported,
                Self::TagBuilt,
                Self::TagFollowed,
                Self::TagRolledBack,
                Self::TagRestored,
                Self::TagSet,
                Self::TagKeptBack,
                Self::TagDeleted,
            ],
        ),
        ("An import", &[Self::ImportFailing, Self::ImportRecovered]),
        ("A build", &[Self::BuildFailing, Self::BuildRecovered]),
        ("An app", &[Self::RolloutFailing, Self::RolloutRecovered, Self::AppRolledBack]),
        ("An image that one can go back to", &[Self::ImageBroken, Self::ImageMended]),
        ("A tag or an app", &[Self::HoldSet, Self::HoldEnded]),
        ("The project", &[Self::QuotaShort, Self::QuotaEnough, Self::ImportOverdue, Self::ImportOnTime]),
    ];

    /// What happened to the group's noun.
    pub fn words(self) -> &'static str {
        match self {
            Self::TagPushed => "moved by a push",
            Self::TagImported => "moved by an import",
            Self::TagBuilt => "moved by a build",
            Self::TagFollowed => "moved because it follows another",
            Self::TagRolledBack => "was rolled back",
            Self::TagRestored => "was put back by an undo or restored",
            Self::TagSet => "was pointed elsewhere by a person",
            Self::TagKeptBack => "was kept from moving by a hold, a rejected image or a rule",
            Self::TagDeleted => "was deleted",
            Self::ImportFailing => "began to fail",
            Self::ImportRecovered | Self::RolloutRecovered => "went well again",
            Self::BuildFailing => "failed, and the one before had not",
            Self::BuildRecovered => "went well again",
            Self::RolloutFailing => "could not be rolled out, and the rollout before could",
            Self::AppRolledBack => "runs what it was rolled back to",
            Self::ImageBroken => "is not whole any more",
            Self::ImageMended => "is whole again",
            Self::HoldSet => "is held",
            Self::HoldEnded => "is no longer held",
            Self::QuotaShort => "holds nearly as much as it may",
            Self::QuotaEnough => "has enough room again",
            Self::ImportOverdue => "has checks of other registries that are overdue",
            Self::ImportOnTime => "has no overdue checks any more",
            Self::Test => "a test",
        }
    }

    /// Whether rows of the ledger with this action may be worth a notice.
    pub fn concerns(action: &str) -> bool {
        matches!(action, "build.finish" | "rollout.finish") || Self::of_action(action).is_some()
    }

    /// What an action tells by itself. How a build or a rollout ended is news only beside the one before.
    pub fn of_action(action: &str) -> Option<Self> {
        Some(match action {
            "tag.push" => Self::TagPushed,
            "tag.import" => Self::TagImported,
            "tag.build" => Self::TagBuilt,
            "tag.follow" => Self::TagFollowed,
            "tag.rollback" => Self::TagRolledBack,
            "tag.restore" => Self::TagRestored,
            "tag.api" => Self::TagSet,
            "tag.delete" | "stream.delete" => Self::TagDeleted,
            "import.fail" | "import-rule.fail" => Self::ImportFailing,
            "import.recover" | "import-rule.recover" => Self::ImportRecovered,
            "image.break" => Self::ImageBroken,
            "image.mend" => Self::ImageMended,
            "tag.hold" | "app.hold" => Self::HoldSet,
            "tag.resume" | "app.resume" => Self::HoldEnded,
            "project.quota-short" => Self::QuotaShort,
            "project.quota-enough" => Self::QuotaEnough,
            "import.overdue" => Self::ImportOverdue,
            "import.on-time" => Self::ImportOnTime,
            "notice.test" => Self::Test,
            action if action.starts_with("tag.skip-") => Self::TagKeptBack,
            _ => return None,
        })
    }
}

/// Where a project's notices go. Its secret is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NoticeTarget {
    pub id: String,
    pub name: String,
    pub url: String,
    /// JSON list.
    pub kinds: String,
    pub off_at: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    pub version: i64,
    /// Notices that are still to be delivered.
    pub waiting: i64,
    /// How its newest notice that was tried or given up stands.
    pub last_state: Option<String>,
    pub last_answer: Option<String>,
    pub last_at: Option<i64>,
}

impl NoticeTarget {
    /// What it is told. A kind that only a newer Weir knows is passed over.
    pub fn chosen(&self) -> Vec<NoticeKind> {
        let words: Vec<String> = serde_json::from_str(&self.kinds).unwrap_or_default();
        words.iter().filter_map(|word| word.parse().ok()).collect()
    }
}

text_enum! {
    /// How a notice stands.
    NoticeState {
        Waiting = "waiting",
        Delivered = "delivered",
        /// Its last attempt failed.
        Failed = "failed",
        /// Its target was turned off before.
        Dropped = "dropped",
    }
}

/// A notice to one target.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Notice {
    pub id: String,
    pub sequence: i64,
    #[sqlx(try_from = "String")]
    pub kind: NoticeKind,
    pub object: String,
    pub body: String,
    pub created_at: i64,
    #[sqlx(try_from = "String")]
    pub state: NoticeState,
    pub next_at: Option<i64>,
    pub attempts: i64,
    pub failures: i64,
    pub ended_at: Option<i64>,
    pub last_answer: Option<String>,
}

/// One attempt to deliver a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct NoticeAttempt {
    pub number: i64,
    pub at: i64,
    pub duration_ms: i64,
    /// Request line and headers.
    pub request: String,
    pub status: Option<i64>,
    /// Headers and the beginning of the body.
    pub response: Option<String>,
    /// Why it does not count as delivered.
    pub problem: Option<String>,
}

/// A row of the ledger that somebody wants to be told of, with what is told beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub target_id: String,
    pub kind: NoticeKind,
    pub row: LedgerRow,
    /// The images' own version labels.
    pub from_version: Option<String>,
    pub to_version: Option<String>,
    /// The row that led to it.
    pub cause: Option<LedgerRow>,
    pub cascade_number: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Outcome};

    #[test]
    fn every_kind_but_the_test_can_be_chosen_once() {
        let mut offered: Vec<_> = NoticeKind::GROUPS.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        offered.push(NoticeKind::Test);
        assert_eq!(offered, NoticeKind::ALL);
    }

    #[test]
    fn every_move_of_a_tag_is_told() {
        for kind in EventKind::ALL {
            assert!(NoticeKind::concerns(&format!("tag.{kind}")), "{kind}");
        }
        for outcome in [Outcome::Held, Outcome::Rejected, Outcome::Immutable, Outcome::OtherKind] {
            assert_eq!(NoticeKind::of_action(&format!("tag.skip-{outcome}")), Some(NoticeKind::TagKeptBack));
        }
        assert!(NoticeKind::concerns("build.finish") && NoticeKind::of_action("build.finish").is_none());
        assert!(!NoticeKind::concerns("image.push") && !NoticeKind::concerns("import.request"));
    }
}
