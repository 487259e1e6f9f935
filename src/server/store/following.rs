//! Which tags follow which. A tag keeps the name of what it follows; the id beside it says which tag that is while there is one.

use super::tags::select_tag;
use super::{Result, WriteTx};
use crate::model::{Stream, Tag, TagName};

impl WriteTx {
    /// Live tags that follow a tag directly.
    pub(super) async fn tags_that_follow(&mut self, tag_id: &str) -> Result<Vec<Tag>> {
        let followers =
            sqlx::query_as(select_tag!("where t.follows_tag_id = $1 and t.deleted_at is null order by t.id"))
                .bind(tag_id)
                .fetch_all(&mut **self)
                .await?;
        Ok(followers)
    }

    /// The tag that a tag follows now, if any.
    pub(super) async fn followed_by(&mut self, tag: &Tag) -> Result<Option<Tag>> {
        let Some(followed) = &tag.follows_tag_id else { return Ok(None) };
        let followed =
            sqlx::query_as(select_tag!("where t.id = $1")).bind(followed).fetch_optional(&mut **self).await?;
        Ok(followed)
    }

    /// What a follower's move satisfies: what its source's does, where that is a generation of the same stream, and always what it should be
    /// itself.
    pub(super) async fn followed_generation(&mut self, followed: &Tag, follower: &Tag) -> Result<Option<i64>> {
        let own = (follower.generation > 0).then_some(follower.generation);
        if followed.stream_id != follower.stream_id {
            return Ok(own);
        }
        let source: Option<(i64,)> = sqlx::query_as(
            "select e.generation from tags t join tag_events e on e.sequence = t.event_sequence where t.id = $1",
        )
        .bind(&followed.id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(source.map(|(generation,)| generation).max(own))
    }

    /// A tag was made: those that name it follow it, whose own one went with its stream. A project that has only the name of one that went
    /// is another project: nobody asked there whether it may be followed.
    pub(super) async fn follow_again(&mut self, stream: &Stream, name: &TagName, tag_id: &str) -> Result<()> {
        sqlx::query(
            "update tags set follows_tag_id = $1 where follows_tag_id is null and source_kind = 'ImageStreamTag' and source = $2 \
             and deleted_at is null and id <> $1 and exists (select 1 from streams s join projects p on p.id = s.project_id \
             where s.id = tags.stream_id and coalesce(tags.source_project, p.name) = $3 \
             and coalesce(tags.awaits_project_id, p.id) = $4)",
        )
        .bind(tag_id)
        .bind(format!("{}:{name}", stream.name))
        .bind(&stream.project)
        .bind(&stream.project_id)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// A stream, or a project with all of its streams, is about to go: what follows tags there follows nothing until they are made again.
    pub(super) async fn let_go_followers(&mut self, stream_or_project_id: &str) -> Result<()> {
        sqlx::query(
            "update tags set follows_tag_id = null, awaits_project_id = (select s.project_id from tags t \
             join streams s on s.id = t.stream_id where t.id = tags.follows_tag_id) where follows_tag_id in (select t.id from tags t \
             join streams s on s.id = t.stream_id where s.id = $1 or s.project_id = $1)",
        )
        .bind(stream_or_project_id)
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, EventKind, NewImage, SourceKind};
    use crate::server::store::testing::{TestStore, each_store, project};
    use crate::server::store::{TagMove, TagSpec};

    fn ada() -> Actor {
        Actor::person("ada")
    }

    async fn push(store: &TestStore, project: &str, digest: &str) {
        let stream = store.ensure_stream(project, &"base".parse().unwrap(), &ada()).await.unwrap();
        let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let tag = "a".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, Some(to), &ada()).await.unwrap();
    }

    async fn follow(store: &TestStore, project: &str, source_project: Option<&str>) {
        let source = Some((SourceKind::ImageStreamTag, "base:a".to_owned()));
        let spec = TagSpec { source, source_project: source_project.map(str::to_owned), ..TagSpec::default() };
        let names = ("app".parse().unwrap(), "t".parse().unwrap());
        store.set_tag(project, &names.0, &names.1, &spec, None, &ada()).await.unwrap();
    }

    async fn has(store: &TestStore, project: &str) -> (Option<String>, bool) {
        let tag = store.tag(project, "app", "t").await.unwrap();
        (tag.digest, tag.follows_tag_id.is_some())
    }

    #[tokio::test]
    async fn what_went_with_its_stream_is_followed_again_by_who_named_it() {
        for store in each_store().await {
            for name in ["demo", "other", "third"] {
                project(&store, name).await;
            }
            push(&store, "demo", "sha256:1").await;
            push(&store, "third", "sha256:3").await;
            for (project, source) in [("demo", None), ("other", Some("demo")), ("third", None)] {
                follow(&store, project, source).await;
            }
            store.delete_stream("demo", "base", &ada()).await.unwrap();
            let one = Some("sha256:1".to_owned());
            for project in ["demo", "other"] {
                assert_eq!(has(&store, project).await, (one.clone(), false), "{project}");
            }
            push(&store, "demo", "sha256:2").await;
            let two = Some("sha256:2".to_owned());
            for (project, expected) in [("demo", &two), ("other", &two), ("third", &Some("sha256:3".to_owned()))] {
                assert_eq!(has(&store, project).await, (expected.clone(), true), "{project}");
            }
            store.delete_project("demo", &ada()).await.unwrap();
            assert_eq!(has(&store, "other").await, (two.clone(), false));
            project(&store, "demo").await;
            push(&store, "demo", "sha256:1").await;
            assert_eq!(has(&store, "other").await, (two, false), "that is another project of the same name");
            store.delete_stream("third", "base", &ada()).await.unwrap();
            push(&store, "third", "sha256:1").await;
            assert_eq!(has(&store, "third").await, (one, true));
        }
    }
}
