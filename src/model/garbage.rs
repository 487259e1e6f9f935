//! What nothing needs any more, and the rules that say what a stream keeps.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

text_enum! {
    /// What may become rubbish, in the order in which it goes: each needs those behind it.
    GarbageKind {
        /// A manifest that a repository serves.
        Manifest = "manifest",
        /// What is stored of a manifest.
        Image = "image",
        /// A blob that a repository serves.
        Link = "link",
        /// The bytes of a blob.
        Blob = "blob",
    }
}

/// One thing that nothing needs any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Garbage {
    #[sqlx(try_from = "String")]
    pub kind: GarbageKind,
    /// The repository of a manifest or a link, else empty.
    pub stream_id: String,
    pub digest: String,
    /// Bytes. Those of an image and of links to its blobs are counted with the blobs again: only blobs take space.
    pub size: i64,
    /// 1 for a manifest that was there for the sake of another one.
    pub part: i64,
}

/// What a stream keeps of the histories of its tags. A row of a history goes only when it is beyond both limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct RetentionRule {
    /// The newest so many rows of each tag.
    pub keep_versions: Option<i64>,
    /// All rows of so many days.
    pub keep_days: Option<i64>,
    /// Manifests that never had a tag, for so many days.
    pub untagged_days: Option<i64>,
}

impl RetentionRule {
    /// Whether it keeps everything, as if there were no rule.
    pub fn keeps_all(&self) -> bool {
        self.keep_versions.is_none() && self.keep_days.is_none() && self.untagged_days.is_none()
    }
}

impl std::fmt::Display for RetentionRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.keep_versions, self.keep_days) {
            (None, None) => f.write_str("everything")?,
            (Some(versions), None) => write!(f, "{versions} versions")?,
            (None, Some(days)) => write!(f, "{days} days")?,
            (Some(versions), Some(days)) => write!(f, "{versions} versions and {days} days")?,
        }
        match self.untagged_days {
            None => Ok(()),
            Some(days) => write!(f, ", {days} days of what never had a tag"),
        }
    }
}
