//! A page of a project's tags with the streams they are of, which both kinds of tags are listed from.

use std::collections::BTreeMap;

use super::Door;
use super::list::{ListQuery, Page};
use super::metadata::texts;
use super::status::Status;
use crate::model::{Stream, Tag, TagTitle};

/// Tags by stream and name, and their streams by name.
pub struct TagPage {
    pub tags: Page<Tag>,
    pub streams: BTreeMap<String, Stream>,
}

impl TagPage {
    /// Reads the page that is asked for, of all tags or of those with an image, and the version of the list.
    pub async fn read(door: &Door, project: &str, query: &ListQuery, with_image: bool) -> Result<(Self, i64), Status> {
        query.check_fields(&[])?;
        let version = door.store.last_sequence().await?;
        // A tag carries its stream's labels, so that only a selector on labels needs the streams before the page is full.
        let known = if query.asks_labels() { streams(door, project, "", None).await? } else { BTreeMap::new() };
        let tags = query
            .page(
                |after, limit| async move {
                    let (stream, tag) = TagTitle::halves(&after).unwrap_or((&after, ""));
                    door.store.list_project_tags(project, (stream, tag), with_image, limit).await
                },
                Tag::title,
                |tag| {
                    let labels = known.get(&tag.stream).map(|stream| texts(&stream.labels)).unwrap_or_default();
                    query.wants(&tag.title(), &labels)
                },
            )
            .await?;
        let streams = match (tags.items.first(), tags.items.last()) {
            _ if query.asks_labels() => known,
            (Some(first), Some(last)) => streams(door, project, &first.stream, Some(&last.stream)).await?,
            _ => known,
        };
        Ok((Self { tags, streams }, version))
    }
}

/// A project's streams from `first` on, up to `last` if that is said, both included.
async fn streams(
    door: &Door,
    project: &str,
    first: &str,
    last: Option<&str>,
) -> Result<BTreeMap<String, Stream>, Status> {
    let mut streams: BTreeMap<_, _> =
        door.store.find_stream(project, first).await?.into_iter().map(|stream| (stream.name.clone(), stream)).collect();
    let mut after = first.to_owned();
    loop {
        let page = door.store.list_streams(project, &after, 500).await?;
        let Some(end) = page.last().map(|stream| stream.name.clone()) else { return Ok(streams) };
        streams.extend(page.into_iter().map(|stream| (stream.name.clone(), stream)));
        if last.is_some_and(|last| end.as_str() >= last) {
            return Ok(streams);
        }
        after = end;
    }
}
