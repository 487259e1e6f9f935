//! What repositories hold: the one place where links to blobs and manifests come and go, and where the figures that follow from them
//! are kept, the ones that pages show among them.
//!
//! ```text
//!  repository_blobs, repository_images      one row for each repository and blob or manifest, with its size
//!      │ link: a look at who else has it, then the sums of those it concerns
//!      │ leave: rows are marked, what becomes of whom is asked at once for all of them, then they go
//!      ▼
//!  streams, projects: bytes, own_bytes
//! ```
//!
//! A figure costs the same to read at ten blobs and at a million, and a link the same to make however many have the blob already.

use std::collections::BTreeSet;

use super::{Error, Result, WriteTx};
use crate::model::now;

/// What can be linked. The bytes of a manifest are in the database, and count like any others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Content {
    Blob,
    Manifest,
}

/// Whether a new link may be refused because its project is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// What comes in from outside has to fit.
    Needed,
    /// A tag that follows another, or goes back, only shares what is stored: one project's quota must not stop the move of another's
    /// tag, and none may stop the way back.
    Given,
}

/// Others that have the same content: enough of them to tell none, one and several apart.
#[derive(sqlx::FromRow)]
struct Others {
    stream: Option<String>,
    second_stream: Option<String>,
    in_project: Option<String>,
    below: Option<String>,
    far_below: Option<String>,
    above: Option<String>,
    far_above: Option<String>,
}

/// Sums that change.
#[derive(sqlx::FromRow)]
struct Loss {
    id: String,
    bytes: i64,
    own_bytes: i64,
}

/// The text of a query over one of the two tables of links.
macro_rules! over {
    ($content:expr, $text:ident) => {
        match $content {
            Content::Blob => $text!("repository_blobs"),
            Content::Manifest => $text!("repository_images"),
        }
    };
}

/// `$1` is the digest, `$2` the stream, `$3` its project. Each part is one look at the index.
macro_rules! others {
    ($table:literal) => {
        concat!(
            "select (select stream_id from ",
            $table,
            " where digest = $1 and stream_id <> $2 order by project_id, stream_id limit 1) as stream, \
             (select stream_id from ",
            $table,
            " where digest = $1 and stream_id <> $2 order by project_id, stream_id limit 1 offset 1) as second_stream, \
             (select stream_id from ",
            $table,
            " where digest = $1 and project_id = $3 and stream_id <> $2 order by stream_id limit 1) as in_project, \
             (select project_id from ",
            $table,
            " where digest = $1 and project_id < $3 order by project_id desc limit 1) as below, \
             (select project_id from ",
            $table,
            " where digest = $1 and project_id < $3 order by project_id limit 1) as far_below, \
             (select project_id from ",
            $table,
            " where digest = $1 and project_id > $3 order by project_id limit 1) as above, \
             (select project_id from ",
            $table,
            " where digest = $1 and project_id > $3 order by project_id desc limit 1) as far_above"
        )
    };
}

/// What streams, or projects, lose by the marked links: their own share of it, and what becomes the own of the only one that keeps it.
macro_rules! losses {
    ($table:literal, $holder:literal) => {
        concat!(
            "with held (digest, id, size, stays) as (select r.digest, r.",
            $holder,
            ", min(r.size), max(1 - r.leaving) from ",
            $table,
            " r \
               where r.digest in (select digest from ",
            $table,
            " where leaving = 1) group by r.digest, r.",
            $holder,
            "), \
             counted (size, holders, stay, first, keeper) as (select min(size), count(*), sum(stays), min(id), \
               min(case when stays = 1 then id end) from held group by digest) \
             select id, cast(sum(bytes) as bigint) as bytes, cast(sum(own) as bigint) as own_bytes from (\
               select id, size as bytes, 0 as own from held where stays = 0 \
               union all select first, 0, size from counted where holders = 1 \
               union all select keeper, 0, -size from counted where stay = 1) d group by id order by id"
        )
    };
}

macro_rules! stream_losses {
    ($table:literal) => {
        losses!($table, "stream_id")
    };
}

macro_rules! project_losses {
    ($table:literal) => {
        losses!($table, "project_id")
    };
}

macro_rules! remove {
    ($table:literal) => {
        concat!("delete from ", $table, " where leaving = 1")
    };
}

macro_rules! refresh {
    ($table:literal) => {
        concat!("update ", $table, " set at = $3 where stream_id = $1 and digest = $2")
    };
}

macro_rules! mark_one {
    ($table:literal) => {
        concat!("update ", $table, " set leaving = 1 where stream_id = $1 and digest = $2")
    };
}

macro_rules! mark_stream {
    ($table:literal) => {
        concat!("update ", $table, " set leaving = 1 where stream_id = $1")
    };
}

macro_rules! mark_project {
    ($table:literal) => {
        concat!("update ", $table, " set leaving = 1 where project_id = $1")
    };
}

impl Others {
    fn only_stream(&self) -> Option<&str> {
        self.stream.as_deref().filter(|_| self.second_stream.is_none())
    }

    fn projects(&self) -> BTreeSet<&str> {
        [&self.below, &self.far_below, &self.above, &self.far_above].into_iter().flatten().map(String::as_str).collect()
    }
}

impl WriteTx {
    /// Records a blob whose bytes are safe and links it to a repository.
    pub(super) async fn link_blob(&mut self, stream_id: &str, digest: &str, size: i64) -> Result<()> {
        sqlx::query("insert into blobs (digest, size, created_at) values ($1, $2, $3) on conflict (digest) do nothing")
            .bind(digest)
            .bind(size)
            .bind(now())
            .execute(&mut **self)
            .await?;
        let linked: Option<(String, i64)> = sqlx::query_as(
            "insert into repository_blobs (stream_id, digest, at, project_id, size) values ($1, $2, $3, \
               (select project_id from streams where id = $1), (select size from blobs where digest = $2)) \
             on conflict (stream_id, digest) do nothing returning project_id, size",
        )
        .bind(stream_id)
        .bind(digest)
        .bind(now())
        .fetch_optional(&mut **self)
        .await?;
        match linked {
            Some((project_id, size)) => {
                self.count_link(Content::Blob, stream_id, &project_id, digest, size, Room::Needed).await
            }
            None => self.refresh_link(Content::Blob, stream_id, digest).await,
        }
    }

    /// What comes again counts as fresh, as what is new does: who sent a blob is about to name it, and a manifest stands for itself.
    async fn refresh_link(&mut self, content: Content, stream_id: &str, digest: &str) -> Result<()> {
        sqlx::query(over!(content, refresh)).bind(stream_id).bind(digest).bind(now()).execute(&mut **self).await?;
        Ok(())
    }

    /// Lets a repository serve one manifest; with the repository of another registry as `source` while parts may be only there: for
    /// one that is served already this says nothing.
    pub(super) async fn serve_image(&mut self, stream_id: &str, digest: &str, source: Option<&str>) -> Result<()> {
        let linked: Option<(String, i64)> = sqlx::query_as(
            "insert into repository_images (stream_id, digest, at, project_id, size, source) values ($1, $2, $3, \
               (select project_id from streams where id = $1), (select octet_length(manifest) from images where digest = $2), $4) \
             on conflict (stream_id, digest) do nothing returning project_id, size",
        )
        .bind(stream_id)
        .bind(digest)
        .bind(now())
        .bind(source)
        .fetch_optional(&mut **self)
        .await?;
        self.unmark_manifest(stream_id, digest).await?;
        match linked {
            Some((project_id, size)) => {
                self.count_link(Content::Manifest, stream_id, &project_id, digest, size, Room::Needed).await
            }
            None => {
                if source.is_none() {
                    self.make_whole(stream_id, digest).await?;
                }
                self.refresh_link(Content::Manifest, stream_id, digest).await
            }
        }
    }

    /// Notes that a repository has all that a manifest of it names.
    pub(super) async fn make_whole(&mut self, stream_id: &str, digest: &str) -> Result<()> {
        sqlx::query(
            "update repository_images set source = null, more_from = null, more_at = null, complete_at = null \
             where stream_id = $1 and digest = $2 \
             and (source is not null or more_from is not null)",
        )
        .bind(stream_id)
        .bind(digest)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Keeps the sums right for a link that was just made, and lets a manifest be found.
    pub(super) async fn count_link(
        &mut self,
        content: Content,
        stream_id: &str,
        project_id: &str,
        digest: &str,
        size: i64,
        room: Room,
    ) -> Result<()> {
        let others: Others = sqlx::query_as(over!(content, others))
            .bind(digest)
            .bind(stream_id)
            .bind(project_id)
            .fetch_one(&mut **self)
            .await?;
        if content == Content::Manifest {
            self.index_image(stream_id, project_id, digest).await?;
            self.base_changed(digest).await?;
        }
        let own = if others.stream.is_none() { size } else { 0 };
        self.add_to_stream(stream_id, size, own).await?;
        if let Some(other) = others.only_stream() {
            self.add_to_stream(other, 0, -size).await?;
        }
        if others.in_project.is_some() {
            return Ok(());
        }
        let projects = others.projects();
        let own = if projects.is_empty() { size } else { 0 };
        let (name, bytes, quota) = self.add_to_project(project_id, size, own).await?;
        if let (1, Some(other)) = (projects.len(), projects.first()) {
            self.add_to_project(other, 0, -size).await?;
        }
        match quota {
            Some(quota) if room == Room::Needed && size > 0 && bytes > quota => {
                Err(Error::Quota { project: name, quota, holds: bytes - size })
            }
            _ => Ok(()),
        }
    }

    async fn add_to_stream(&mut self, id: &str, bytes: i64, own_bytes: i64) -> Result<()> {
        sqlx::query("update streams set bytes = bytes + $2, own_bytes = own_bytes + $3 where id = $1")
            .bind(id)
            .bind(bytes)
            .bind(own_bytes)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Gives the project's name, its sum as it is now, and its quota.
    async fn add_to_project(&mut self, id: &str, bytes: i64, own_bytes: i64) -> Result<(String, i64, Option<i64>)> {
        let project = sqlx::query_as(
            "update projects set bytes = bytes + $2, own_bytes = own_bytes + $3 where id = $1 returning name, bytes, quota_bytes",
        )
        .bind(id)
        .bind(bytes)
        .bind(own_bytes)
        .fetch_one(&mut **self)
        .await?;
        Ok(project)
    }

    /// Takes one link away; false when there is none.
    pub(super) async fn unlink(&mut self, content: Content, stream_id: &str, digest: &str) -> Result<bool> {
        let marked = sqlx::query(over!(content, mark_one)).bind(stream_id).bind(digest).execute(&mut **self).await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        self.remove_leaving(content).await?;
        Ok(true)
    }

    /// Takes all links of a stream away, before it goes itself.
    pub(super) async fn unlink_stream(&mut self, stream_id: &str) -> Result<()> {
        for content in [Content::Blob, Content::Manifest] {
            sqlx::query(over!(content, mark_stream)).bind(stream_id).execute(&mut **self).await?;
            self.remove_leaving(content).await?;
        }
        Ok(())
    }

    /// Takes all links of a project's streams away, before it goes itself.
    pub(super) async fn unlink_project(&mut self, project_id: &str) -> Result<()> {
        for content in [Content::Blob, Content::Manifest] {
            sqlx::query(over!(content, mark_project)).bind(project_id).execute(&mut **self).await?;
            self.remove_leaving(content).await?;
        }
        Ok(())
    }

    /// Takes away the links that are marked as `leaving`, however many and of whomever, and gives how many they were. Whoever wants
    /// links to go in bulk marks them in the same transaction, by any statement, and calls this; nothing else deletes them.
    pub(super) async fn remove_leaving(&mut self, content: Content) -> Result<u64> {
        let streams: Vec<Loss> = sqlx::query_as(over!(content, stream_losses)).fetch_all(&mut **self).await?;
        let projects: Vec<Loss> = sqlx::query_as(over!(content, project_losses)).fetch_all(&mut **self).await?;
        if content == Content::Manifest {
            self.bases_leave().await?;
        }
        for loss in streams {
            self.add_to_stream(&loss.id, -loss.bytes, -loss.own_bytes).await?;
        }
        for loss in projects {
            self.add_to_project(&loss.id, -loss.bytes, -loss.own_bytes).await?;
        }
        Ok(sqlx::query(over!(content, remove)).execute(&mut **self).await?.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A link that came or went anywhere else would make every figure a lie.
    #[test]
    fn links_come_and_go_here_alone() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let says =
                    |what: &str| ["blobs", "images"].iter().any(|of| text.contains(&format!("{what} repository_{of}")));
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(!says("delete from"), "{name} deletes links: mark them as leaving and call `remove_leaving`");
                // What a tag brings with it is linked at once for a whole tree, and counted by `count_link`.
                assert!(!says("insert into") || ["links.rs", "serving.rs"].contains(&name), "{name} makes links");
            }
        }
    }
}
