//! The images of a whole stream with what they consist of, as `imagestreams/layers` shows them.

use sqlx::any::AnyRow;

use super::bulk::{is_shown, was_shown};
use super::media_types::manifest_types;
use super::{Result, Store, StreamThen};
use crate::model::Moment;

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

/// The images in the histories of a stream's tags, as far as the view of the stream shows the histories.
macro_rules! seen_now {
    () => {
        concat!(
            "select e.digest from tags t join tag_events e on e.tag_id = t.id \
             where t.stream_id = $1 and t.deleted_at is null and e.digest is not null and ",
            is_shown!()
        )
    };
}

/// The same of a moment, `$2`.
macro_rules! seen_then {
    ($tags:literal, $events:literal) => {
        concat!(
            "select e.digest from ",
            $tags,
            " t join ",
            $events,
            " n on n.sequence = (select m.sequence from ",
            $events,
            " m where m.tag_id = t.id and m.sorted_at < $2 and m.outcome in ('moved', 'deleted') order by m.sorted_at desc, m.number desc limit 1) \
              join ",
            $events,
            " e on e.tag_id = t.id where t.stream_id = $1 and n.outcome = 'moved' and e.digest is not null and ",
            was_shown!($events)
        )
    };
}

/// `$1` is the stream; `$seen` gives the images that its histories name. Of what the repository does not have nothing is told but its digest,
/// whoever else has it.
macro_rules! over_shown {
    ($seen:expr, $rest:literal) => {
        concat!(
            "with recursive shown (digest) as (",
            $seen,
            " union select c.child_digest from image_children c join shown s on s.digest = c.digest \
                 join repository_images r on r.stream_id = $1 and r.digest = c.digest where c.media_type in (",
            manifest_types!(),
            ")) ",
            $rest
        )
    };
}

/// The statements for images, layers and children.
macro_rules! all_shown {
    ($($seen:tt)+) => {
        [
            over_shown!(
                $($seen)+,
                "select s.digest, i.media_type, cast(coalesce(octet_length(i.manifest), 0) as bigint) as size, i.config_digest, \
                 i.artifact_type as config_type, b.size as config_size \
                 from shown s left join repository_images r on r.stream_id = $1 and r.digest = s.digest \
                 left join images i on i.digest = r.digest left join repository_blobs b on b.stream_id = $1 and b.digest = i.config_digest order by s.digest"
            ),
            over_shown!(
                $($seen)+,
                "select l.digest as image, l.layer_digest as digest, l.size, l.media_type from shown s \
                 join repository_images r on r.stream_id = $1 and r.digest = s.digest join image_layers l on l.digest = s.digest order by l.digest, l.position"
            ),
            over_shown!(
                $($seen)+,
                "select c.digest as image, c.child_digest as digest, c.size, c.media_type from shown s \
                 join repository_images r on r.stream_id = $1 and r.digest = s.digest join image_children c on c.digest = s.digest order by c.digest, c.position"
            ),
        ]
    };
}

impl Store {
    /// The images that the view of a stream shows, and all they list.
    pub async fn list_shown_images(&self, stream_id: &str) -> Result<ShownImages> {
        self.shown_images(all_shown!(seen_now!()), stream_id, None).await
    }

    /// The images that the view of a stream showed at a moment, and all they list, as far as its repository has them still.
    pub async fn list_shown_images_then(&self, stream: &StreamThen, moment: &Moment) -> Result<ShownImages> {
        let texts = match stream.is_there() {
            true => all_shown!(seen_then!("tags", "tag_events")),
            false => all_shown!(seen_then!("ended_tags", "ended_tag_events")),
        };
        self.shown_images(texts, &stream.id, Some(moment.end)).await
    }

    async fn shown_images(
        &self,
        [images, layers, children]: [&'static str; 3],
        stream_id: &str,
        end: Option<i64>,
    ) -> Result<ShownImages> {
        Ok(ShownImages {
            images: self.shown(images, stream_id, end).await?,
            layers: self.shown(layers, stream_id, end).await?,
            children: self.shown(children, stream_id, end).await?,
        })
    }

    async fn shown<Row>(&self, text: &'static str, stream_id: &str, end: Option<i64>) -> Result<Vec<Row>>
    where
        Row: for<'r> sqlx::FromRow<'r, AnyRow> + Send + Unpin,
    {
        let mut query = sqlx::query_as(text).bind(stream_id);
        if let Some(end) = end {
            query = query.bind(end);
        }
        Ok(query.fetch_all(self.pool()).await?)
    }
}
