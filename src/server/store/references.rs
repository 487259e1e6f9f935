//! Where a tag's image is pulled from, as far as that changes while the image stays, and tags that only name an image elsewhere.
//!
//! Both change what the newest row of a history means, and add none: the row says when and how the image came. What the tag has now stands
//! at the tag, and the ledger tells each change.

use std::collections::{BTreeSet, VecDeque};

use super::moves::Move;
use super::tag_rules::is_immutable;
use super::{Entry, Result, WriteTx};
use crate::model::{Actor, EventKind, Outcome, Tag};

/// What a tag becomes that only names an image.
pub(super) struct Named<'a> {
    pub name: &'a str,
    /// Since when what it follows names one.
    pub since: Option<i64>,
    /// The row of the ledger that led to this.
    pub cause: i64,
    pub reason: Option<&'a str>,
}

impl WriteTx {
    /// Another reference for the image that a tag points to: it was brought once more, from elsewhere. Gives the row of the ledger.
    pub(super) async fn refer(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<i64> {
        let entry = Entry {
            action: "tag.refer",
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.reference.as_deref(),
            to: Some(movement.reference),
            reason: movement.reason,
            cause: movement.cause,
            cascade: movement.cascade,
        };
        let sequence = self.record(movement.actor, entry).await?;
        sqlx::query("update tags set reference = $2 where id = $1")
            .bind(&tag.id)
            .bind(movement.reference)
            .execute(&mut **self)
            .await?;
        self.set_version(&tag.stream_id, sequence).await?;
        Ok(sequence)
    }

    /// What follows a tag that only names an image has no image either, directly or not. A hold or a rule keeps a tag as it is.
    pub(super) async fn pass_name_on(&mut self, tag: &Tag, cause: i64) -> Result<()> {
        let Some(name) = &tag.refers_to else { return Ok(()) };
        let actor = Actor::system("follow");
        let mut seen = BTreeSet::from([tag.id.clone()]);
        let mut queue = VecDeque::from([(tag.id.clone(), cause)]);
        while let Some((followed, cause)) = queue.pop_front() {
            for mut follower in self.tags_that_follow(&followed).await? {
                if !seen.insert(follower.id.clone()) || is_immutable(&follower)? {
                    continue;
                }
                let hold = self.hold_in_force(&mut follower, EventKind::Follow).await?;
                let is_news = follower.refers_to.as_ref() != Some(name);
                match hold {
                    Some(hold) if is_news || self.has_held_back(&follower, &hold).await? => {
                        self.hold_name_back(&follower, name, cause, &actor).await?;
                    }
                    None if is_news => {
                        let named = Named { name, since: tag.refers_at, cause, reason: None };
                        let sequence = self.name_only(&follower, &named, &actor).await?;
                        queue.push_back((follower.id, sequence));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// A row that says that a hold kept the tag from being a mere reference.
    async fn hold_name_back(&mut self, tag: &Tag, name: &str, cause: i64, actor: &Actor) -> Result<()> {
        let reason = format!("what it follows only names {name}");
        let cause = Some(cause);
        let movement = Move { cause, reason: Some(&reason), ..Move::new(EventKind::Follow, "", name, actor) };
        self.write_move(tag, &movement, Outcome::Held).await?;
        Ok(())
    }

    /// From now on the tag only names an image. Gives the row of the ledger.
    pub(super) async fn name_only(&mut self, tag: &Tag, named: &Named<'_>, actor: &Actor) -> Result<i64> {
        let entry = Entry {
            action: "tag.refer",
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.refers_to.as_deref().or(tag.reference.as_deref()),
            to: Some(named.name),
            reason: named.reason,
            cause: Some(named.cause),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        sqlx::query("update tags set refers_to = $2, refers_at = coalesce(refers_at, $3) where id = $1")
            .bind(&tag.id)
            .bind(named.name)
            .bind(named.since)
            .execute(&mut **self)
            .await?;
        self.set_version(&tag.stream_id, sequence).await?;
        Ok(sequence)
    }

    /// A change of what became of a stream's tags.
    pub(super) async fn set_version(&mut self, stream_id: &str, version: i64) -> Result<()> {
        sqlx::query("update streams set version = $2 where id = $1")
            .bind(stream_id)
            .bind(version)
            .execute(&mut **self)
            .await?;
        Ok(())
    }
}

/// Where a tag finds an image that comes from a tag of `repository`: in its own stream when it stood there, else where that one finds it. A
/// tag that only refers has its source's words, and those of a repository here begin with a slash.
pub(super) fn reference_beside(repository: &str, reference: &str, tag: &Tag, digest: &str) -> String {
    let stood_there = reference == format!("{repository}@{digest}");
    match (stood_there, tag.reference_only == 0 || tag.repository() == repository) {
        (true, true) => tag.local_reference(digest),
        (true, false) => format!("/{reference}"),
        (false, _) => reference.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::server::store::testing::tags::{ada, bring, following, naming, set};
    use crate::server::store::testing::{TestStore, each_store, project};

    async fn reference(store: &TestStore, tag: &str) -> Option<String> {
        store.tag("demo", "app", tag).await.unwrap().reference
    }

    #[tokio::test]
    async fn a_follower_that_went_astray_is_back_with_the_next_change_of_its_source() {
        for store in each_store().await {
            project(&store, "demo").await;
            bring(&store, "s", "sha256:1", Some("a.io/x@sha256:1")).await;
            set(&store, "t", following("s")).await;
            set(&store, "u", following("t")).await;
            bring(&store, "t", "sha256:2", None).await;
            let before = store.list_stream_history(&store.stream("demo", "app").await.unwrap().id, None, 100).await;
            bring(&store, "s", "sha256:1", Some("b.io/x@sha256:1")).await;
            for tag in ["s", "t", "u"] {
                let found = store.tag("demo", "app", tag).await.unwrap();
                let told = (found.digest.as_deref(), found.reference.as_deref());
                assert_eq!(told, (Some("sha256:1"), Some("b.io/x@sha256:1")), "{tag}");
            }
            let after = store.list_stream_history(&store.stream("demo", "app").await.unwrap().id, None, 100).await;
            let (before, after) = (before.unwrap(), after.unwrap());
            assert_eq!(after.len(), before.len() + 2, "t and u moved back, s only has another reference");
            assert_eq!(after[0].cascade_id, after[1].cascade_id, "in one cascade");
        }
    }

    #[tokio::test]
    async fn what_somebody_keeps_where_it_is_keeps_its_reference() {
        for store in each_store().await {
            project(&store, "demo").await;
            bring(&store, "s", "sha256:1", Some("a.io/x@sha256:1")).await;
            set(&store, "t", following("s")).await;
            store.hold_tag("demo", "app", "t", None, &ada()).await.unwrap();
            bring(&store, "s", "sha256:1", Some("b.io/x@sha256:1")).await;
            assert_eq!(reference(&store, "s").await.as_deref(), Some("b.io/x@sha256:1"));
            assert_eq!(reference(&store, "t").await.as_deref(), Some("a.io/x@sha256:1"));
            set(&store, "s", naming("c.io/x:1")).await;
            let (s, t) = (store.tag("demo", "app", "s").await.unwrap(), store.tag("demo", "app", "t").await.unwrap());
            assert_eq!((s.refers_to.as_deref(), t.refers_to), (Some("c.io/x:1"), None));
        }
    }
}
