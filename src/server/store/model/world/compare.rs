//! What the store says of tags, histories and cascades, beside what the model says.

use std::collections::BTreeSet;

use super::super::simple::{Image, Place, Row, TagNumber};
use super::{NAMES, STREAMS, World};

/// How a tag stands, as both have to say it.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    image: Option<Image>,
    place: Place,
    name: Option<u8>,
    deleted: bool,
    follows: Option<TagNumber>,
    held: bool,
    rejected: BTreeSet<Image>,
    rows: usize,
}

/// A history row as it is read: sequence, stream, tag, kind, outcome, digests, reference.
type ReadRow = (i64, String, String, String, String, Option<String>, Option<String>, Option<String>);

/// A tag as it is read.
#[derive(sqlx::FromRow)]
struct ReadTag {
    stream: String,
    name: String,
    digest: Option<String>,
    reference: Option<String>,
    refers_to: Option<String>,
    deleted_at: Option<i64>,
    followed_stream: Option<String>,
    followed: Option<String>,
    holds: i64,
    event_number: i64,
}

fn image_of(digest: Option<String>) -> Option<Image> {
    digest.map(|digest| Image::from_str_radix(&digest["sha256:".len()..], 16).expect("an image of the model"))
}

/// Where a reference leads. A name is that of a place with nothing behind it.
fn place_of(reference: Option<&str>) -> Place {
    let elsewhere = reference.and_then(|reference| reference.strip_prefix('r')?.split_once(".io/"));
    elsewhere.map_or(0, |(place, _)| place.parse().expect("a place of the model"))
}

fn number_of(stream: &str, tag: &str) -> TagNumber {
    let stream = STREAMS.iter().position(|(_, name)| *name == stream).expect("a stream of the model");
    stream * NAMES.len() + NAMES.iter().position(|name| *name == tag).expect("a tag of the model")
}

impl World {
    /// Both say the same of every tag, and of every row that came.
    pub(super) async fn compare(&mut self) {
        self.compare_news().await;
        for (number, found) in self.read_tags().await {
            let expected = self.standing(number);
            if found != expected {
                let names = self.names(number);
                self.fail(&format!("{names:?} stands so in the store: {found:?}; and so in the model: {expected:?}"));
            }
        }
    }

    /// Both say the same of every row and every cascade that came.
    pub(super) async fn compare_news(&mut self) {
        let (came, opened) = self.read_news().await;
        for (sequence, stream, tag, kind, outcome, to, from, reference) in &came {
            let number = number_of(stream, tag);
            let at = self.rows[number].len();
            let row = self.simple.tags[number].rows.get(at);
            let row = row.map(|Row { kind, outcome, image, from, place, .. }| (*kind, *outcome, *image, *from, *place));
            let image = |digest: &Option<String>| image_of(digest.clone());
            let place = place_of(reference.as_deref());
            let found = (kind.parse().unwrap(), outcome.parse().unwrap(), image(to), image(from), place);
            if row != Some(found) {
                self.fail(&format!("row {at} of {stream}:{tag} is {found:?} in the store, {row:?} in the model"));
            }
            self.seen = *sequence;
            self.rows[number].push(*sequence);
        }
        self.cascades.extend(opened);
        if self.cascades.len() != self.simple.cascades.len() {
            self.fail(&format!("{} cascades instead of {}", self.cascades.len(), self.simple.cascades.len()));
        }
    }

    fn standing(&self, tag: TagNumber) -> Standing {
        let tag = &self.simple.tags[tag];
        let rejected = tag.rejected.iter().map(|(image, _)| *image).collect();
        let (image, deleted, follows, held) = (tag.image, tag.deleted, tag.follows, tag.held.is_some());
        let (place, name) = (tag.place, tag.name);
        Standing { image, place, name, deleted, follows, held, rejected, rows: tag.rows.len() }
    }

    /// Rows and cascades that are new.
    async fn read_news(&self) -> (Vec<ReadRow>, Vec<(String, i64)>) {
        let rows = sqlx::query_as(
            "select e.sequence, s.name, t.name, e.kind, e.outcome, e.digest, e.from_digest, e.reference from tag_events e \
             join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id where e.sequence > $1 order by e.sequence",
        );
        let rows = rows.bind(self.seen).fetch_all(self.store.pool()).await.unwrap();
        let known = i64::try_from(self.cascades.len()).unwrap();
        let opened = sqlx::query_as(
            "select p.name, k.number from cascades k join projects p on p.id = k.project_id \
             order by k.root_sequence limit 200 offset $1",
        );
        (rows, opened.bind(known).fetch_all(self.store.pool()).await.unwrap())
    }

    async fn read_tags(&self) -> Vec<(TagNumber, Standing)> {
        let tags: Vec<ReadTag> = sqlx::query_as(
            "select s.name as stream, t.name, t.digest, t.reference, t.refers_to, t.deleted_at, fs.name as followed_stream, \
             f.name as followed, (select count(*) from holds h where h.tag_id = t.id and h.ended_at is null) as holds, t.event_number \
             from tags t join streams s on s.id = t.stream_id left join tags f on f.id = t.follows_tag_id \
             left join streams fs on fs.id = f.stream_id",
        )
        .fetch_all(self.store.pool())
        .await
        .unwrap();
        let rejected: Vec<(String, String, String)> = sqlx::query_as(
            "select s.name, t.name, r.digest from rejected_digests r join tags t on t.id = r.tag_id \
             join streams s on s.id = t.stream_id where r.ended_at is null",
        )
        .fetch_all(self.store.pool())
        .await
        .unwrap();
        let standing = |tag: ReadTag| {
            let of_tag = |(stream, name, _): &&(String, String, String)| (stream, name) == (&tag.stream, &tag.name);
            let images = rejected.iter().filter(of_tag).filter_map(|(.., digest)| image_of(Some(digest.clone())));
            let follows = tag.followed_stream.zip(tag.followed);
            let standing = Standing {
                image: image_of(tag.digest),
                place: place_of(tag.reference.as_deref()),
                name: tag.refers_to.as_deref().map(|name| place_of(Some(name))),
                deleted: tag.deleted_at.is_some(),
                follows: follows.map(|(stream, tag)| number_of(&stream, &tag)),
                held: tag.holds == 1,
                rejected: images.collect(),
                rows: usize::try_from(tag.event_number).unwrap(),
            };
            (number_of(&tag.stream, &tag.name), standing)
        };
        tags.into_iter().map(standing).collect()
    }
}
