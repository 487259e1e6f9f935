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
    /// To whatever there is, following what it followed in that generation; not deleted since, nor given an image by a push that was
    /// what an import was to bring.
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
        let found: Option<(Option<String>, i64, i64)> = sqlx::query_as(
            "select t.digest, t.generation, (select count(*) from tag_imports i where i.tag_id = t.id and i.generation = t.generation \
             and i.lease_owner is null) from tags t where t.stream_id = $1 and t.name = $2 and t.deleted_at is null",
        )
        .bind(stream_id)
        .bind(tag.as_str())
        .fetch_optional(&mut **self)
        .await?;
        let (digest, now, is_answered) =
            found.map_or((None, None, false), |(digest, now, answered)| (digest, Some(now), answered != 0));
        let as_expected = match (expected, &digest) {
            (Expected::Anywhere, _) | (Expected::Nowhere, None) | (Expected::Somewhere, Some(_)) => true,
            (Expected::OneOf(digests), Some(digest)) => digests.contains(digest),
            (Expected::Following { generation }, _) => now == Some(*generation) && !is_answered,
            _ => false,
        };
        if as_expected {
            return Ok(());
        }
        if matches!(expected, Expected::Following { .. }) {
            let message =
                format!("the tag {tag} was deleted, was pushed to or follows something else since it was looked up");
            return Err(Error::invalid(TAG_PRECONDITION, message));
        }
        let points = digest.map_or_else(|| "has no image".to_owned(), |digest| format!("points to {digest}"));
        Err(Error::invalid(
            TAG_PRECONDITION,
            format!("the tag {tag} {points}, which is not what this push is meant for"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, EventKind, NewImage, Stream};
    use crate::server::store::testing::{TestStore, each_store, project};
    use crate::server::store::{CheckEnd, Moved, NextCheck, TagMove, TagSpec};

    async fn set(store: &TestStore, reference: &str) -> crate::model::Tag {
        let names = ("base".parse().unwrap(), "latest".parse().unwrap());
        let spec = TagSpec::import(reference);
        store.set_tag("demo", &names.0, &names.1, &spec, None, &Actor::person("ada")).await.unwrap().tag
    }

    /// As a check ends that was begun when the tag had that generation.
    async fn import(store: &TestStore, stream: &Stream, digest: &str, generation: i64) -> Result<Vec<Moved>> {
        let name = "latest".parse().unwrap();
        let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let (kind, reference) = (EventKind::Import, Some("x@y"));
        let to = TagMove { tag: &name, kind, reference, cause: None, build_id: None };
        let expected = Expected::Following { generation };
        store.put_manifest_if(stream, &image, Some(to), &expected, &Actor::schedule()).await
    }

    #[tokio::test]
    async fn a_check_that_ends_after_its_tag_was_set_anew_or_deleted_changes_nothing() {
        for store in each_store().await {
            project(&store, "demo").await;
            let begun = set(&store, "quay.io/org/base:1").await;
            let stream = store.stream("demo", "base").await.unwrap();
            import(&store, &stream, "sha256:a", begun.generation).await.unwrap();
            let due = store.claim_import(&begun.id, store.owner(), 60_000).await.unwrap().unwrap();

            let anew = set(&store, "quay.io/org/other:1").await;
            let refused = import(&store, &stream, "sha256:b", due.tag.generation).await.unwrap_err();
            assert!(matches!(&refused, Error::Invalid { field, .. } if field == TAG_PRECONDITION), "{refused}");
            assert!(refused.to_string().contains("was pushed to or follows something else"), "{refused}");
            let tag = store.tag("demo", "base", "latest").await.unwrap();
            assert_eq!((tag.digest.as_deref(), tag.event_number), (Some("sha256:a"), 1));
            assert_eq!(store.find_image("sha256:b").await.unwrap(), None, "nothing of it is stored");
            // What that check recorded would be about the old source: the new one stays due.
            let next = NextCheck { at: i64::MAX, overdue_at: i64::MAX };
            store.record_check(&due, &CheckEnd::Fetched { digest: "sha256:b" }, Some(next)).await.unwrap();
            let import_row = store.find_import(&begun.id).await.unwrap().unwrap();
            assert!(import_row.next_at.is_some_and(|at| at < i64::MAX) && import_row.generation < anew.generation);

            store.delete_tag("demo", "base", "latest", &Actor::person("ada")).await.unwrap();
            assert!(import(&store, &stream, "sha256:b", anew.generation).await.is_err());
            let gone = store.find_tag("demo", "base", "latest").await.unwrap().unwrap();
            assert!(gone.deleted_at.is_some() && gone.digest.is_none());
            assert_eq!(store.find_image("sha256:b").await.unwrap(), None);
            let restored = set(&store, "quay.io/org/base:1").await;
            import(&store, &stream, "sha256:b", restored.generation).await.unwrap();
            assert_eq!(store.tag("demo", "base", "latest").await.unwrap().digest.as_deref(), Some("sha256:b"));
        }
    }

    #[tokio::test]
    async fn a_push_is_what_an_import_in_progress_was_to_bring() {
        for store in each_store().await {
            project(&store, "demo").await;
            let tag = set(&store, "quay.io/org/base:1").await;
            let stream = store.stream("demo", "base").await.unwrap();
            let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
            let name = "latest".parse().unwrap();
            let image =
                NewImage { digest: "sha256:pushed".to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
            let to = TagMove { tag: &name, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            store.put_manifest(&stream, &image, Some(to), &Actor::person("ada")).await.unwrap();

            let refused = import(&store, &stream, "sha256:upstream", due.tag.generation).await.unwrap_err();
            assert!(refused.to_string().contains("was pushed to"), "{refused}");
            let answered = store.find_import(&tag.id).await.unwrap().unwrap();
            assert_eq!((answered.outcome.as_str(), answered.generation), ("unchanged", tag.generation));
            // Asked for from now on, it comes.
            store.request_check("demo", "base", "latest", &Actor::person("ada")).await.unwrap();
            let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
            import(&store, &stream, "sha256:upstream", due.tag.generation).await.unwrap();
            let tag = store.tag("demo", "base", "latest").await.unwrap();
            assert_eq!(tag.digest.as_deref(), Some("sha256:upstream"));
        }
    }
}
