//! The images of a whole stream with what they consist of, as `imagestreams/layers` shows them.

use super::bulk::is_shown;
use super::media_types::manifest_types;
use super::{Result, Store};

/// An image of a stream's histories, or one that such an image lists.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ShownImage {
    pub digest: String,
    /// `None` when the repository does not have it.
    pub media_type: Option<String>,
    /// Bytes of the manifest.
    pub size: i64,
    pub config_digest: Option<String>,
    /// Of the configuration: the image's artifact type, as manifests have it.
    pub config_type: Option<String>,
    pub config_size: Option<i64>,
}

/// A layer of an image, or a manifest it lists.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ShownPart {
    pub image: String,
    pub digest: String,
    pub size: i64,
    pub media_type: String,
}

/// All images of a stream, with their parts in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownImages {
    pub images: Vec<ShownImage>,
    pub layers: Vec<ShownPart>,
    pub children: Vec<ShownPart>,
}

/// `$1` is the stream. Of what the repository does not have nothing is told but its digest, whoever else has it.
macro_rules! over_shown {
    ($rest:literal) => {
        concat!(
            "with recursive shown (digest) as (select e.digest from tags t join tag_events e on e.tag_id = t.id \
               where t.stream_id = $1 and t.deleted_at is null and e.digest is not null and ",
            is_shown!(),
            " union select c.child_digest from image_children c join shown s on s.digest = c.digest \
                 join repository_images r on r.stream_id = $1 and r.digest = c.digest where c.media_type in (",
            manifest_types!(),
            ")) ",
            $rest
        )
    };
}

impl Store {
    /// The images that the view of a stream shows, and all they list.
    pub async fn list_shown_images(&self, stream_id: &str) -> Result<ShownImages> {
        let images = sqlx::query_as(over_shown!(
            "select s.digest, i.media_type, cast(coalesce(octet_length(i.manifest), 0) as bigint) as size, i.config_digest, \
             i.artifact_type as config_type, b.size as config_size \
             from shown s left join repository_images r on r.stream_id = $1 and r.digest = s.digest \
             left join images i on i.digest = r.digest left join repository_blobs b on b.stream_id = $1 and b.digest = i.config_digest order by s.digest"
        ))
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        let layers = sqlx::query_as(over_shown!(
            "select l.digest as image, l.layer_digest as digest, l.size, l.media_type from shown s \
             join repository_images r on r.stream_id = $1 and r.digest = s.digest join image_layers l on l.digest = s.digest order by l.digest, l.position"
        ))
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        let children = sqlx::query_as(over_shown!(
            "select c.digest as image, c.child_digest as digest, c.size, c.media_type from shown s \
             join repository_images r on r.stream_id = $1 and r.digest = s.digest join image_children c on c.digest = s.digest order by c.digest, c.position"
        ))
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        Ok(ShownImages { images, layers, children })
    }
}
