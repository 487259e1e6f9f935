//! Conditional pushes: where a push, or an import, expects its tag to be when it comes.

use super::{Error, Result, WriteTx};
use crate::model::TagName;

/// The field of [`Error::Invalid`] when a tag is not where a conditional push expects it.
pub const TAG_PRECONDITION: &str = "tag.precondition";

/// Where a push expects its tags to point when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Anywhere,
    /// To no image: there is no such tag yet, or it was deleted.
    Nowhere,
    /// To some image.
    Somewhere,
    /// To one of these digests.
    OneOf(Vec<String>),
    /// To whatever there is, following what it followed in that generation, and not deleted since.
    Following {
        generation: i64,
    },
}

impl WriteTx {
    /// Refuses, with [`TAG_PRECONDITION`], a push to a tag that is not where it is expected.
    pub(super) async fn check_expected(&mut self, stream_id: &str, tag: &TagName, expected: &Expected) -> Result<()> {
        if *expected == Expected::Anywhere {
            return Ok(());
        }
        let found: Option<(Option<String>, i64)> = sqlx::query_as(
            "select digest, generation from tags where stream_id = $1 and name = $2 and deleted_at is null",
        )
        .bind(stream_id)
        .bind(tag.as_str())
        .fetch_optional(&mut **self)
        .await?;
        let (digest, now) = found.map_or((None, None), |(digest, now)| (digest, Some(now)));
        let as_expected = match (expected, &digest) {
            (Expected::Anywhere, _) | (Expected::Nowhere, None) | (Expected::Somewhere, Some(_)) => true,
            (Expected::OneOf(digests), Some(digest)) => digests.contains(digest),
            (Expected::Following { generation }, _) => now == Some(*generation),
            _ => false,
        };
        if as_expected {
            return Ok(());
        }
        if matches!(expected, Expected::Following { .. }) {
            let message = format!("the tag {tag} was deleted or follows something else since it was looked up");
            return Err(Error::invalid(TAG_PRECONDITION, message));
        }
        let points = digest.map_or_else(|| "has no image".to_owned(), |digest| format!("points to {digest}"));
        Err(Error::invalid(
            TAG_PRECONDITION,
            format!("the tag {tag} {points}, which is not what this push is meant for"),
        ))
    }
}
