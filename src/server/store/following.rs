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

    /// A tag was made: those that name it follow it, whose own one went with its stream.
    pub(super) async fn follow_again(&mut self, stream: &Stream, name: &TagName, tag_id: &str) -> Result<()> {
        sqlx::query(
            "update tags set follows_tag_id = $1 where follows_tag_id is null and source_kind = 'ImageStreamTag' and source = $2 \
             and deleted_at is null and id <> $1 and stream_id in (select s.id from streams s join projects p on p.id = s.project_id \
             where coalesce(tags.source_project, p.name) = $3)",
        )
        .bind(tag_id)
        .bind(format!("{}:{name}", stream.name))
        .bind(&stream.project)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// A stream, or a project with all of its streams, is about to go: what follows tags there follows nothing until they are made again.
    pub(super) async fn let_go_followers(&mut self, stream_or_project_id: &str) -> Result<()> {
        sqlx::query(
            "update tags set follows_tag_id = null where follows_tag_id in (select t.id from tags t \
             join streams s on s.id = t.stream_id where s.id = $1 or s.project_id = $1)",
        )
        .bind(stream_or_project_id)
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}
