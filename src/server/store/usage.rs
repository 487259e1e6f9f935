//! How much room projects and streams take, and how much projects may take. The sums themselves are kept where links come and go
//! (`links.rs`); here they are read.

use super::{Entry, Error, Result, Store};
use crate::model::{Actor, ProjectUsage, StreamUsage, TRAFFIC_DAYS, day_of, now};

macro_rules! select_stream_usage {
    ($rest:literal) => {
        concat!(
            "select s.name, s.bytes, s.own_bytes, \
             (select cast(coalesce(sum(x.pulls), 0) as bigint) from stream_traffic x where x.stream_id = s.id and x.day > $1) as pulls, \
             (select cast(coalesce(sum(x.pushes), 0) as bigint) from stream_traffic x where x.stream_id = s.id and x.day > $1) as pushes \
             from streams s ",
            $rest
        )
    };
}

/// A project is short of room from so many tenths of its quota on, and has enough again below so many.
const SHORT: (i64, i64) = (9, 8);

/// The last day that is not counted any more.
pub(super) fn traffic_before() -> i64 {
    day_of(now()) - TRAFFIC_DAYS
}

/// A stream or a project whose figures are not what its links add up to.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct UsageFault {
    /// `<project>` or `<project>/<stream>`
    pub name: String,
    pub bytes: i64,
    pub own_bytes: i64,
    pub counted: i64,
    pub counted_own: i64,
}

/// A project with a quota, as it stands.
#[derive(sqlx::FromRow)]
struct Limited {
    project: String,
    project_id: String,
    bytes: i64,
    quota: i64,
}

impl Store {
    /// What a project holds and may hold.
    pub async fn project_usage(&self, project: &str) -> Result<ProjectUsage> {
        sqlx::query_as("select bytes, own_bytes, quota_bytes from projects where name = $1")
            .bind(project)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("projects", project))
    }

    /// What a stream holds, and what is done with it.
    pub async fn stream_usage(&self, stream_id: &str) -> Result<StreamUsage> {
        sqlx::query_as(select_stream_usage!("where s.id = $2"))
            .bind(traffic_before())
            .bind(stream_id)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("imagestreams", stream_id))
    }

    /// What the streams of a project hold, by name, after `after`.
    pub async fn list_stream_usage(&self, project: &str, after: &str, limit: i64) -> Result<Vec<StreamUsage>> {
        let streams = sqlx::query_as(select_stream_usage!(
            "join projects p on p.id = s.project_id where p.name = $2 and s.name > $3 order by s.name limit $4"
        ))
        .bind(traffic_before())
        .bind(project)
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(streams)
    }

    /// Counts everything anew and gives what is not as it is told. It reads every link there is.
    pub async fn list_usage_faults(&self) -> Result<Vec<UsageFault>> {
        let faults = sqlx::query_as(
            "with links (content, stream_id, project_id, size) as (\
               select r.digest, s.id, s.project_id, b.size from repository_blobs r join streams s on s.id = r.stream_id \
                 join blobs b on b.digest = r.digest \
               union all select 'manifest ' || r.digest, s.id, s.project_id, octet_length(i.manifest) from repository_images r \
                 join streams s on s.id = r.stream_id join images i on i.digest = r.digest), \
             holders (content, streams, projects) as (\
               select content, count(*), count(distinct project_id) from links group by content), \
             sums (id, counted, counted_own) as (\
               select l.stream_id, sum(l.size), sum(case when h.streams = 1 then l.size else 0 end) \
                 from links l join holders h on h.content = l.content group by l.stream_id \
               union all select l.project_id, sum(l.size), sum(case when h.projects = 1 then l.size else 0 end) \
                 from (select distinct content, project_id, size from links) l join holders h on h.content = l.content group by l.project_id), \
             told (id, name, bytes, own_bytes) as (\
               select s.id, p.name || '/' || s.name, s.bytes, s.own_bytes from streams s join projects p on p.id = s.project_id \
               union all select id, name, bytes, own_bytes from projects) \
             select t.name, t.bytes, t.own_bytes, cast(coalesce(c.counted, 0) as bigint) as counted, \
               cast(coalesce(c.counted_own, 0) as bigint) as counted_own from told t left join sums c on c.id = t.id \
             where t.bytes <> coalesce(c.counted, 0) or t.own_bytes <> coalesce(c.counted_own, 0) order by t.name",
        )
        .fetch_all(self.pool())
        .await?;
        Ok(faults)
    }

    /// Says how much a project may hold; `None` as much as there is room for. What it holds already stays, even when that is more.
    pub async fn set_quota(&self, project: &str, quota: Option<i64>, actor: &Actor) -> Result<()> {
        if quota.is_some_and(|quota| quota < 0) {
            return Err(Error::invalid("bytes", "a quota cannot be less than nothing"));
        }
        let mut tx = self.write_tx().await?;
        let before: Option<(String, Option<i64>)> =
            sqlx::query_as("select id, quota_bytes from projects where name = $1")
                .bind(project)
                .fetch_optional(&mut *tx)
                .await?;
        let (id, before) = before.ok_or_else(|| Error::not_found("projects", project))?;
        if before == quota {
            return Ok(());
        }
        let words = |quota: Option<i64>| quota.map(|bytes| format!("{bytes} bytes"));
        let (from, to) = (words(before), words(quota));
        let entry = Entry {
            action: "project.quota",
            project: Some(project),
            object: project,
            from: from.as_deref(),
            to: to.as_deref(),
            ..Entry::default()
        };
        let sequence = tx.record(actor, entry).await?;
        sqlx::query("update projects set quota_bytes = $2, version = $3 where id = $1")
            .bind(&id)
            .bind(quota)
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Refuses when the project of a stream is full: nothing more need be sent then.
    pub async fn check_not_full(&self, stream_id: &str) -> Result<()> {
        match self.find_limited(stream_id).await? {
            Some(Limited { project, bytes, quota, .. }) if bytes >= quota => {
                Err(Error::Quota { project, quota, holds: bytes })
            }
            _ => Ok(()),
        }
    }

    /// Refuses when these blobs and manifests, by digest and size, would be more than the project of a stream may hold. What it holds
    /// already costs nothing. It is asked before bytes are kept; the links themselves are refused in any case.
    pub async fn check_room(&self, stream_id: &str, parts: &[(&str, i64)]) -> Result<()> {
        let Some(Limited { project, project_id, bytes, quota }) = self.find_limited(stream_id).await? else {
            return Ok(());
        };
        let mut more = 0_i64;
        for (digest, size) in parts {
            let held: Option<(i64,)> = sqlx::query_as(
                "select 1 from repository_blobs where digest = $1 and project_id = $2 \
                 union all select 1 from repository_images where digest = $1 and project_id = $2 limit 1",
            )
            .bind(*digest)
            .bind(&project_id)
            .fetch_optional(self.pool())
            .await?;
            if held.is_none() {
                more = more.saturating_add(*size);
            }
        }
        if more > 0 && bytes.saturating_add(more) > quota {
            return Err(Error::Quota { project, quota, holds: bytes });
        }
        Ok(())
    }

    /// Writes down for which projects room has become short, and for which it has not been any more.
    pub async fn record_shortages(&self) -> Result<()> {
        let changed: Vec<(String, Option<i64>)> = sqlx::query_as(
            "select name, quota_short_at from projects where (quota_short_at is null and bytes >= quota_bytes / 10 * $1) \
             or (quota_short_at is not null and (quota_bytes is null or bytes < quota_bytes / 10 * $2)) order by id limit 100",
        )
        .bind(SHORT.0)
        .bind(SHORT.1)
        .fetch_all(self.pool())
        .await?;
        for (project, was_short) in changed {
            let mut tx = self.write_tx().await?;
            let is_short = was_short.is_none();
            let still = sqlx::query(
                "update projects set quota_short_at = $2 where name = $1 and (quota_short_at is null) = ($3 = 1)",
            )
            .bind(&project)
            .bind(is_short.then(now))
            .bind(i64::from(is_short))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if still == 1 {
                let action = if is_short { "project.quota-short" } else { "project.quota-enough" };
                let entry = Entry { action, project: Some(&project), object: &project, ..Entry::default() };
                tx.record(&Actor::system("quota"), entry).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    async fn find_limited(&self, stream_id: &str) -> Result<Option<Limited>> {
        let limited = sqlx::query_as(
            "select p.name as project, p.id as project_id, p.bytes, p.quota_bytes as quota from streams s \
             join projects p on p.id = s.project_id where s.id = $1 and p.quota_bytes is not null",
        )
        .bind(stream_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(limited)
    }
}

#[cfg(test)]
mod tests;
