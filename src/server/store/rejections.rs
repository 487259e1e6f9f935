//! Rejected digests: a person's word that no automation may put an image on a tag.

use sqlx::AnyConnection;

use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, Digest, RejectedDigest, Tag, now};

impl Store {
    /// Digests no automatic mover may put on the tag.
    pub async fn list_rejected(&self, tag_id: &str) -> Result<Vec<RejectedDigest>> {
        let rejected = sqlx::query_as(
            "select digest, actor, reason, since, sequence from rejected_digests where tag_id = $1 and ended_at is null order by sequence",
        )
        .bind(tag_id)
        .fetch_all(self.pool())
        .await?;
        Ok(rejected)
    }

    /// Keeps automations from putting an image on a tag, whether it was ever here or not. What the tag points to now is not rejected but
    /// left: rolling back does both.
    pub async fn reject_image(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        digest: &Digest,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        if tag.digest.as_deref() == Some(digest.as_str()) {
            return Err(Error::Conflict(format!(
                "{} points to {digest} now: roll it back, and the image it leaves is rejected",
                tag.title()
            )));
        }
        if tx.is_rejected(&tag.id, digest.as_str()).await? {
            return Err(Error::Conflict(format!("{digest} is rejected on {} already", tag.title())));
        }
        let sequence = tx.record_verdict("image.reject", &tag, digest, reason, actor).await?;
        tx.reject(&tag, digest.as_str(), reason, sequence, None, actor).await?;
        tx.commit().await
    }

    /// Lets automations put an image on a tag again. Nothing moves by that.
    pub async fn allow_image(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        digest: &Digest,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        if !tx.is_rejected(&tag.id, digest.as_str()).await? {
            return Err(Error::Conflict(format!("{digest} is not rejected on {}", tag.title())));
        }
        tx.record_verdict("image.allow", &tag, digest, None, actor).await?;
        tx.allow(&tag, digest.as_str(), actor).await?;
        tx.commit().await
    }
}

/// [`WriteTx::is_rejected`]
pub(super) async fn is_rejected(connection: &mut AnyConnection, tag_id: &str, digest: &str) -> Result<bool> {
    let rejected: Option<(String,)> = sqlx::query_as(
        "select id from rejected_digests where tag_id = $1 and digest = $2 and ended_at is null limit 1",
    )
    .bind(tag_id)
    .bind(digest)
    .fetch_optional(connection)
    .await?;
    Ok(rejected.is_some())
}

impl WriteTx {
    /// Whether no automation may put this image on the tag.
    pub(super) async fn is_rejected(&mut self, tag_id: &str, digest: &str) -> Result<bool> {
        is_rejected(self, tag_id, digest).await
    }

    pub(super) async fn reject(
        &mut self,
        tag: &Tag,
        digest: &str,
        reason: Option<&str>,
        sequence: i64,
        cascade: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        sqlx::query(
            "insert into rejected_digests (id, tag_id, digest, actor, reason, since, sequence, cascade_id) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(new_id())
        .bind(&tag.id)
        .bind(digest)
        .bind(&actor.name)
        .bind(reason)
        .bind(now())
        .bind(sequence)
        .bind(cascade)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    pub(super) async fn allow(&mut self, tag: &Tag, digest: &str, actor: &Actor) -> Result<()> {
        sqlx::query("update rejected_digests set ended_at = $3, ended_by = $4 where tag_id = $1 and digest = $2 and ended_at is null")
            .bind(&tag.id)
            .bind(digest)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    async fn record_verdict(
        &mut self,
        action: &str,
        tag: &Tag,
        digest: &Digest,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<i64> {
        let title = tag.title();
        let (project, to) = (Some(tag.project.as_str()), Some(digest.as_str()));
        self.record(actor, Entry { action, project, object: &title, to, reason, ..Entry::default() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, NewImage, Outcome};
    use crate::server::store::testing::{TestStore, each_store, project};
    use crate::server::store::{Moved, TagMove};

    async fn push(store: &TestStore, digest: &str, actor: &Actor) -> Moved {
        let stream = store.ensure_stream("demo", &"base".parse().unwrap(), actor).await.unwrap();
        let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let latest = "latest".parse().unwrap();
        let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, Some(to), actor).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn what_was_held_back_by_an_earlier_hold_and_comes_again_waits_for_the_one_there_is() {
        for store in each_store().await {
            project(&store, "demo").await;
            let anna = Actor::person("anna");
            let bad: Digest = format!("sha256:{:064}", 2).parse().unwrap();
            push(&store, "sha256:one", &anna).await;
            store.hold_tag("demo", "base", "latest", None, &anna).await.unwrap();
            let kept_back = push(&store, bad.as_str(), &anna).await;
            assert_eq!(push(&store, bad.as_str(), &anna).await.sequence, kept_back.sequence, "one row for all tries");
            store.reject_image("demo", "base", "latest", &bad, None, &anna).await.unwrap();
            assert_eq!(store.resume_tag("demo", "base", "latest", &anna).await.unwrap(), None);

            store.hold_tag("demo", "base", "latest", None, &anna).await.unwrap();
            store.allow_image("demo", "base", "latest", &bad, &anna).await.unwrap();
            let again = push(&store, bad.as_str(), &anna).await;
            assert!(again.outcome == Outcome::Held && again.sequence > kept_back.sequence, "{again:?}");
            let moved = store.resume_tag("demo", "base", "latest", &anna).await.unwrap();
            assert_eq!(moved.map(|moved| moved.outcome), Some(Outcome::Moved));
            assert_eq!(store.tag("demo", "base", "latest").await.unwrap().digest.as_deref(), Some(bad.as_str()));
        }
    }
}
