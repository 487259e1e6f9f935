//! How an image came here, as far as a repository may know: by a push, or from another registry.

use super::serving::with_above;
use super::{Result, Store};
use crate::model::EventKind;

/// The first move by which an image, or an index that lists it, came to tags of a project, or to those they follow.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImageOrigin {
    /// A push, a build or an import.
    #[sqlx(try_from = "String")]
    pub kind: EventKind,
    /// Of an import, where it came from: `<repository>@<digest>`, the digest maybe that of the index.
    pub reference: Option<String>,
}

impl Store {
    /// How an image came to the stream's project. What other projects did is not for it.
    pub async fn find_image_origin(&self, stream_id: &str, digest: &str) -> Result<Option<ImageOrigin>> {
        let origin = sqlx::query_as(with_above!(
            "followed (id) as (select f.follows_tag_id from tags f where f.stream_id = $2 and f.follows_tag_id is not null \
               union select t.follows_tag_id from tags t join followed f on t.id = f.id where t.follows_tag_id is not null) \
             select e.kind, e.reference from above a join tag_events e on e.digest = a.digest join tags t on t.id = e.tag_id \
             join streams s on s.id = t.stream_id where e.kind in ('push', 'build', 'import') \
             and (t.id in (select id from followed) or s.project_id = (select project_id from streams where id = $2)) \
             order by e.sequence limit 1"
        ))
        .bind(digest)
        .bind(stream_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(origin)
    }
}
