//! Makes searchable what nobody made so when it was written: what was there before an upgrade (`search_pending`), and what a server of an
//! older version writes while servers are exchanged one by one. Both go on while doors are open, a few things at a time, may be cut short
//! anywhere, and go on where they were.

use super::search_bases::chain_of;
use super::{Result, Store, WriteTx};

/// The kinds of things, in the order in which they are read: the layers' names first, since bases are found by them.
const KINDS: [&str; 6] = ["chain", "stream", "tag", "build", "app", "image"];

/// What is read once after an upgrade: images whose layers had no names when they were indexed are looked at again behind all else.
const PENDING: [&str; 7] = ["chain", "stream", "tag", "build", "app", "image", "base"];

/// What is missing is written so many things at a time: pushes wait no longer than that takes.
const IN_ONE_GO: usize = 50;

/// What people are told meanwhile.
pub const SEARCH_FILLING: &str =
    "The search is being filled after an upgrade: what it does not find now, it may find in a few minutes.";

/// How far a walk through all things has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillPlace {
    kind: usize,
    id: String,
    digest: String,
}

/// Some things of each kind behind a place, each with whether it has no entry.
const WALKS: [&str; 6] = [
    "select i.digest as id, '' as digest, cast(case when i.config is not null and not exists (select 1 from image_chains c where c.digest = i.digest) \
       then 1 else 0 end as bigint) as missing from images i where i.digest > $1 and $2 = $2 order by i.digest limit $3",
    "select s.id, '' as digest, cast(case when exists (select 1 from search_entries e where e.stream_id = s.id and e.digest is null) \
       then 0 else 1 end as bigint) as missing from streams s where s.id > $1 and $2 = $2 order by s.id limit $3",
    "select t.id, '' as digest, cast(case when t.deleted_at is not null or exists (select 1 from search_entries e where e.tag_id = t.id) \
       then 0 else 1 end as bigint) as missing from tags t where t.id > $1 and $2 = $2 order by t.id limit $3",
    "select c.id, '' as digest, cast(case when exists (select 1 from search_entries e where e.config_id = c.id) \
       then 0 else 1 end as bigint) as missing from build_configs c where c.id > $1 and $2 = $2 order by c.id limit $3",
    "select a.id, '' as digest, cast(case when a.deleted_at is not null or exists (select 1 from search_entries e where e.app_id = a.id) \
       then 0 else 1 end as bigint) as missing from apps a where a.id > $1 and $2 = $2 order by a.id limit $3",
    "select r.stream_id as id, r.digest, cast(case when exists (select 1 from search_entries e \
       where e.stream_id = r.stream_id and e.digest = r.digest) then 0 else 1 end as bigint) as missing from repository_images r \
       where (r.stream_id, r.digest) > ($1, $2) order by r.stream_id, r.digest limit $3",
];

impl Store {
    /// Whether things of before an upgrade have still to be read, so that a search does not find them yet.
    pub async fn is_search_filling(&self) -> Result<bool> {
        let pending = sqlx::query("select 1 from search_pending limit 1").fetch_optional(self.pool()).await?;
        Ok(pending.is_some())
    }

    /// Reads up to `limit` things of before an upgrade; tells how many there were.
    pub async fn index_some_pending(&self, limit: i64) -> Result<usize> {
        if !self.is_search_filling().await? {
            return Ok(0);
        }
        for kind in PENDING {
            let read = self.index_pending_of(kind, limit).await?;
            if read > 0 {
                return Ok(read);
            }
        }
        Ok(0)
    }

    async fn index_pending_of(&self, kind: &str, limit: i64) -> Result<usize> {
        let mut tx = self.write_tx().await?;
        let pending: Vec<(String, String)> =
            sqlx::query_as("select id, digest from search_pending where kind = $1 order by id, digest limit $2")
                .bind(kind)
                .bind(limit)
                .fetch_all(&mut *tx)
                .await?;
        for (id, digest) in &pending {
            tx.index_anew(kind, id, digest).await?;
            sqlx::query("delete from search_pending where kind = $1 and id = $2 and digest = $3")
                .bind(kind)
                .bind(id)
                .bind(digest)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(pending.len())
    }

    /// Looks at up to `limit` things behind a place and makes those searchable that are not; tells how many they were, and where to go
    /// on: nowhere at the end.
    pub async fn index_missing(&self, place: &FillPlace, limit: i64) -> Result<(usize, Option<FillPlace>)> {
        let Some((kind, walk)) = KINDS.iter().zip(WALKS).nth(place.kind) else { return Ok((0, None)) };
        let some: Vec<(String, String, i64)> =
            sqlx::query_as(walk).bind(&place.id).bind(&place.digest).bind(limit).fetch_all(self.pool()).await?;
        let next = match some.last() {
            Some((id, digest, _)) => FillPlace { kind: place.kind, id: id.clone(), digest: digest.clone() },
            None => FillPlace { kind: place.kind + 1, ..FillPlace::default() },
        };
        let missing: Vec<_> = some.iter().filter(|(_, _, missing)| *missing == 1).collect();
        let mut indexed = 0;
        for some in missing.chunks(IN_ONE_GO) {
            let mut tx = self.write_tx().await?;
            for (id, digest, _) in some {
                indexed += usize::from(tx.index_anew(kind, id, digest).await?);
            }
            tx.commit().await?;
        }
        Ok((indexed, Some(next).filter(|next| next.kind < KINDS.len())))
    }
}

impl WriteTx {
    /// Makes a thing searchable as it is now; false when that changed nothing.
    async fn index_anew(&mut self, kind: &str, id: &str, digest: &str) -> Result<bool> {
        if kind == "chain" {
            return self.set_chain(id).await;
        }
        if kind != "base" && self.is_indexed(kind, id, digest).await? {
            return Ok(false);
        }
        match kind {
            "stream" => self.index_stream(id).await?,
            "tag" => self.index_tag(id).await?,
            "build" => self.index_workload("build", id).await?,
            "app" => self.index_workload("app", id).await?,
            _ => {
                let project: Option<(String,)> =
                    sqlx::query_as("select project_id from repository_images where stream_id = $1 and digest = $2")
                        .bind(id)
                        .bind(digest)
                        .fetch_optional(&mut **self)
                        .await?;
                let Some((project_id,)) = project else { return Ok(false) };
                match kind {
                    "base" => self.index_bases(id, &project_id, digest).await?,
                    _ => self.index_image(id, &project_id, digest).await?,
                }
            }
        }
        Ok(true)
    }

    /// Somebody may have been quicker.
    async fn is_indexed(&mut self, kind: &str, id: &str, digest: &str) -> Result<bool> {
        let entry = match kind {
            "stream" => "select 1 from search_entries where stream_id = $1 and digest is null and $2 = $2 limit 1",
            "tag" => "select 1 from search_entries where tag_id = $1 and $2 = $2 limit 1",
            "build" => "select 1 from search_entries where config_id = $1 and $2 = $2 limit 1",
            "app" => "select 1 from search_entries where app_id = $1 and $2 = $2 limit 1",
            _ => "select 1 from search_entries where stream_id = $1 and digest = $2 limit 1",
        };
        Ok(sqlx::query(entry).bind(id).bind(digest).fetch_optional(&mut **self).await?.is_some())
    }

    async fn set_chain(&mut self, digest: &str) -> Result<bool> {
        let config: Option<(Option<String>,)> = sqlx::query_as("select config from images where digest = $1")
            .bind(digest)
            .fetch_optional(&mut **self)
            .await?;
        let config = config.and_then(|(config,)| config);
        let Some(chain) = chain_of(config.as_deref()) else { return Ok(false) };
        self.write_chains(digest, config.as_deref()).await?;
        sqlx::query("update images set chain_id = $2 where digest = $1")
            .bind(digest)
            .bind(chain)
            .execute(&mut **self)
            .await?;
        // Whoever wrote it knew no base by layers, nor what is built on this.
        sqlx::query(
            "insert into search_pending (kind, id, digest) select 'base', stream_id, digest from repository_images where digest = $1 \
             on conflict do nothing",
        )
        .bind(digest)
        .execute(&mut **self)
        .await?;
        self.base_changed(digest).await?;
        Ok(true)
    }
}
