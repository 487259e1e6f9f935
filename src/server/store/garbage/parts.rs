//! Images, links of blobs to repositories, and blobs: what is needed only by what is above it.

use sqlx::AnyConnection;

use super::Moment;
use crate::model::{Garbage, GarbageKind};
use crate::server::store::{Result, WriteTx};

/// That a tag points to the image `i`, or that the history which a tag's stream retains has it. `$1` now.
macro_rules! kept_by_tags {
    () => {
        "(exists (select 1 from tags t where t.digest = i.digest) \
          or exists (select 1 from tag_events e join tags t on t.id = e.tag_id left join retention_rules p on p.stream_id = t.stream_id \
            where e.digest = i.digest and (p.stream_id is null or (p.keep_versions is null and p.keep_days is null) \
              or e.at > $1 - coalesce(p.keep_days, 0) * 86400000 \
              or (select count(*) from (select 1 as one from tag_events v where v.tag_id = e.tag_id and v.outcome = 'moved' \
                    and v.number > e.number limit 1000) newer) < coalesce(p.keep_versions, 0))))"
    };
}
pub(in crate::server::store) use kept_by_tags;

/// That the app `a`, which is there, may go back to the image of its rollout `r`. `$2` rollouts since, `$3` how many versions of apps.
macro_rules! kept_by_app {
    () => {
        "a.deleted_at is null and (r.created_at > $2 or r.digest in (select x.digest from rollouts x where x.app_id = r.app_id \
           group by x.digest order by max(x.number) desc limit $3))"
    };
}
pub(in crate::server::store) use kept_by_app;

/// That something keeps the image `i` whatever repositories serve: a tag, the history that a tag's stream retains, an app, a build under
/// way, somebody. `$1` now, `$2` rollouts since, `$3` how many versions of apps.
macro_rules! rooted {
    () => {
        concat!(
            "(",
            kept_by_tags!(),
            " or exists (select 1 from rollouts r join apps a on a.id = r.app_id where r.digest = i.digest and ",
            kept_by_app!(),
            ") or exists (select 1 from builds b where b.phase in ('New', 'Pending', 'Running') and b.inputs like '%' || i.digest || '%') \
          or exists (select 1 from kept_digests k where k.digest = i.digest and k.until > $1))"
        )
    };
}

/// That nothing unmarked needs the image `i`; `$4` young since.
macro_rules! image_unneeded {
    () => {
        concat!(
            "i.first_seen_at <= $4 \
             and not exists (select 1 from repository_images r where r.digest = i.digest and not exists (select 1 from garbage g \
               where g.kind = 'manifest' and g.stream_id = r.stream_id and g.digest = r.digest)) \
             and not exists (select 1 from image_children c where c.child_digest = i.digest and not exists (select 1 from garbage g \
               where g.kind = 'image' and g.stream_id = '' and g.digest = c.digest)) and not ",
            rooted!()
        )
    };
}

/// That nothing at all needs the image `i`.
macro_rules! image_unreferenced {
    () => {
        concat!(
            "i.first_seen_at <= $4 and not exists (select 1 from repository_images r where r.digest = i.digest) \
             and not exists (select 1 from image_children c where c.child_digest = i.digest) and not ",
            rooted!()
        )
    };
}

/// That no manifest which the repository of the link `r` serves names the blob, and nobody keeps it; `$1` now, `$2` young since.
macro_rules! link_unreferenced {
    () => {
        "r.at <= $2 \
         and not exists (select 1 from repository_images m join image_layers l on l.digest = m.digest \
           where m.stream_id = r.stream_id and l.layer_digest = r.digest) \
         and not exists (select 1 from repository_images m join images i on i.digest = m.digest \
           where m.stream_id = r.stream_id and i.config_digest = r.digest) \
         and not exists (select 1 from repository_images m join image_children c on c.digest = m.digest \
           where m.stream_id = r.stream_id and c.child_digest = r.digest) \
         and not exists (select 1 from kept_digests k where k.digest = r.digest and k.until > $1)"
    };
}

/// Blobs that the manifests which the repository `$3` serves, but for marked ones, name.
macro_rules! named_in_repository {
    () => {
        "select l.layer_digest from served m join image_layers l on l.digest = m.digest \
         union select i.config_digest from served m join images i on i.digest = m.digest where i.config_digest is not null \
         union select c.child_digest from served m join image_children c on c.digest = m.digest"
    };
}

/// That no unmarked link and no unmarked image needs the blob `b`, and nobody keeps it; `$1` now, `$2` young since.
macro_rules! blob_unneeded {
    () => {
        "b.created_at <= $2 \
         and not exists (select 1 from repository_blobs r where r.digest = b.digest and not exists (select 1 from garbage g \
           where g.kind = 'link' and g.stream_id = r.stream_id and g.digest = r.digest)) \
         and not exists (select 1 from image_layers l where l.layer_digest = b.digest and not exists (select 1 from garbage g \
           where g.kind = 'image' and g.stream_id = '' and g.digest = l.digest)) \
         and not exists (select 1 from images i where i.config_digest = b.digest and not exists (select 1 from garbage g \
           where g.kind = 'image' and g.stream_id = '' and g.digest = i.digest)) \
         and not exists (select 1 from image_children c where c.child_digest = b.digest and not exists (select 1 from garbage g \
           where g.kind = 'image' and g.stream_id = '' and g.digest = c.digest)) \
         and not exists (select 1 from kept_digests k where k.digest = b.digest and k.until > $1)"
    };
}

/// That nothing at all needs the blob `b`.
macro_rules! blob_unreferenced {
    () => {
        "b.created_at <= $2 and not exists (select 1 from repository_blobs r where r.digest = b.digest) \
         and not exists (select 1 from image_layers l where l.layer_digest = b.digest) \
         and not exists (select 1 from images i where i.config_digest = b.digest) \
         and not exists (select 1 from image_children c where c.child_digest = b.digest) \
         and not exists (select 1 from kept_digests k where k.digest = b.digest and k.until > $1)"
    };
}

const UNNEEDED_IMAGES: &str = concat!(
    "select 'image' as kind, '' as stream_id, i.digest, i.size, cast(0 as bigint) as part from images i where ",
    image_unneeded!(),
    " and not exists (select 1 from garbage g where g.kind = 'image' and g.stream_id = '' and g.digest = i.digest) \
     order by i.digest limit $5"
);
// One repository at a time: asked the other way round, every repository with a common base layer would look through all the others.
const UNNEEDED_LINKS: &str = concat!(
    "with served (digest) as (select m.digest from repository_images m where m.stream_id = $3 and not exists (select 1 from garbage g \
       where g.kind = 'manifest' and g.stream_id = $3 and g.digest = m.digest)) \
     select 'link' as kind, r.stream_id, r.digest, coalesce(b.size, 0) as size, cast(0 as bigint) as part \
     from repository_blobs r left join blobs b on b.digest = r.digest where r.stream_id = $3 and r.at <= $2 and r.digest not in (",
    named_in_repository!(),
    ") and not exists (select 1 from kept_digests k where k.digest = r.digest and k.until > $1) \
     and not exists (select 1 from garbage g where g.kind = 'link' and g.stream_id = $3 and g.digest = r.digest) \
     order by r.digest limit $4"
);
const UNNEEDED_BLOBS: &str = concat!(
    "select 'blob' as kind, '' as stream_id, b.digest, b.size, cast(0 as bigint) as part from blobs b where ",
    blob_unneeded!(),
    " and not exists (select 1 from garbage g where g.kind = 'blob' and g.stream_id = '' and g.digest = b.digest) \
     order by b.digest limit $3"
);
const UNMARK_IMAGES: &str = concat!(
    "delete from garbage where kind = 'image' and not exists (select 1 from images i where i.digest = garbage.digest and ",
    image_unneeded!(),
    ")"
);
const UNMARK_LINKS: &str = "delete from garbage where kind = 'link' and not exists (select 1 from repository_blobs r \
     where r.stream_id = garbage.stream_id and r.digest = garbage.digest and r.at <= $2 \
     and not exists (select 1 from repository_images m join image_layers l on l.digest = m.digest \
       where m.stream_id = r.stream_id and l.layer_digest = r.digest and not exists (select 1 from garbage g \
         where g.kind = 'manifest' and g.stream_id = m.stream_id and g.digest = m.digest)) \
     and not exists (select 1 from repository_images m join images i on i.digest = m.digest \
       where m.stream_id = r.stream_id and i.config_digest = r.digest and not exists (select 1 from garbage g \
         where g.kind = 'manifest' and g.stream_id = m.stream_id and g.digest = m.digest)) \
     and not exists (select 1 from repository_images m join image_children c on c.digest = m.digest \
       where m.stream_id = r.stream_id and c.child_digest = r.digest and not exists (select 1 from garbage g \
         where g.kind = 'manifest' and g.stream_id = m.stream_id and g.digest = m.digest)) \
     and not exists (select 1 from kept_digests k where k.digest = r.digest and k.until > $1))";
const UNMARK_BLOBS: &str = concat!(
    "delete from garbage where kind = 'blob' and not exists (select 1 from blobs b where b.digest = garbage.digest and ",
    blob_unneeded!(),
    ")"
);
const SWEEPABLE_IMAGES: &str = concat!(
    "select g.kind, g.stream_id, g.digest, g.size, g.part from garbage g join images i on i.digest = g.digest \
     where g.kind = 'image' and g.marked_at <= $4 and g.digest > $5 and ",
    image_unreferenced!(),
    " order by g.digest limit $6"
);
const SWEEPABLE_LINKS: &str = concat!(
    "select g.kind, g.stream_id, g.digest, g.size, g.part from garbage g \
     join repository_blobs r on r.stream_id = g.stream_id and r.digest = g.digest \
     where g.kind = 'link' and g.marked_at <= $2 and g.digest > $3 and ",
    link_unreferenced!(),
    " order by g.digest limit $4"
);
const SWEEPABLE_BLOBS: &str = concat!(
    "select g.kind, g.stream_id, g.digest, g.size, g.part from garbage g join blobs b on b.digest = g.digest \
     where g.kind = 'blob' and g.marked_at <= $2 and g.digest > $3 and ",
    blob_unreferenced!(),
    " order by g.digest limit $4"
);
const SWEEPABLE_BLOB: &str = concat!(
    "select g.kind, g.stream_id, g.digest, g.size, g.part from garbage g join blobs b on b.digest = g.digest \
     where g.kind = 'blob' and g.stream_id = '' and g.digest = $3 and g.marked_at <= $2 and ",
    blob_unreferenced!()
);

pub(super) async fn unneeded(
    connection: &mut AnyConnection,
    kind: GarbageKind,
    stream_id: &str,
    moment: &Moment,
    limit: i64,
) -> Result<Vec<Garbage>> {
    let rows = match kind {
        GarbageKind::Image => {
            let query = sqlx::query_as(UNNEEDED_IMAGES).bind(moment.now).bind(moment.rollouts_since());
            query.bind(moment.depth.versions).bind(moment.cutoff()).bind(limit).fetch_all(connection).await?
        }
        GarbageKind::Link => {
            let query = sqlx::query_as(UNNEEDED_LINKS).bind(moment.now).bind(moment.cutoff()).bind(stream_id);
            query.bind(limit).fetch_all(connection).await?
        }
        GarbageKind::Manifest | GarbageKind::Blob => {
            let query = sqlx::query_as(UNNEEDED_BLOBS).bind(moment.now).bind(moment.cutoff());
            query.bind(limit).fetch_all(connection).await?
        }
    };
    Ok(rows)
}

/// What may go now, after `after`.
pub(super) async fn sweepable(
    connection: &mut AnyConnection,
    kind: GarbageKind,
    moment: &Moment,
    after: &str,
    limit: i64,
) -> Result<Vec<Garbage>> {
    let rows = match kind {
        GarbageKind::Image => {
            let query = sqlx::query_as(SWEEPABLE_IMAGES).bind(moment.now).bind(moment.rollouts_since());
            let query = query.bind(moment.depth.versions).bind(moment.cutoff()).bind(after).bind(limit);
            query.fetch_all(connection).await?
        }
        _ => {
            let statement = if kind == GarbageKind::Link { SWEEPABLE_LINKS } else { SWEEPABLE_BLOBS };
            let query = sqlx::query_as(statement).bind(moment.now).bind(moment.cutoff());
            query.bind(after).bind(limit).fetch_all(connection).await?
        }
    };
    Ok(rows)
}

impl WriteTx {
    pub(super) async fn unmark_parts(&mut self, kind: GarbageKind, moment: &Moment) -> Result<u64> {
        let done = match kind {
            GarbageKind::Image => {
                let query = sqlx::query(UNMARK_IMAGES).bind(moment.now).bind(moment.rollouts_since());
                query.bind(moment.depth.versions).bind(moment.cutoff()).execute(&mut **self).await?
            }
            _ => {
                let statement = if kind == GarbageKind::Link { UNMARK_LINKS } else { UNMARK_BLOBS };
                sqlx::query(statement).bind(moment.now).bind(moment.cutoff()).execute(&mut **self).await?
            }
        };
        Ok(done.rows_affected())
    }

    /// The blob's mark, if it may go now.
    pub(in crate::server::store) async fn sweepable_blob(
        &mut self,
        digest: &str,
        moment: &Moment,
    ) -> Result<Option<Garbage>> {
        let query = sqlx::query_as(SWEEPABLE_BLOB).bind(moment.now).bind(moment.cutoff()).bind(digest);
        Ok(query.fetch_optional(&mut **self).await?)
    }
}
