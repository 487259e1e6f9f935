//! Manifests that a repository need not serve any more. Only a retention rule makes any.

use sqlx::AnyConnection;

use super::{DAY, Moment};
use crate::model::{Actor, Garbage, RetentionRule};
use crate::server::store::{Entry, Result, WriteTx};

/// What of a repository is needed, as `kept`: what tags point to, what the rule keeps of their histories, what apps may go back to, what
/// builds under way use, what never had a tag, what is young, what somebody keeps; of all these what they list, their subjects, and
/// their referrers.
///
/// `$1` stream, `$2` repository, `$3` now, `$4` young since, `$5` rows since, `$6` 1 when the newest rows count, `$7` how many before the
/// last of them, `$8` untagged since, `$9` rollouts since, `$10` 1 when apps count, `$11` how many versions of theirs.
macro_rules! with_kept {
    ($rest:expr) => {
        concat!(
            "with recursive \
             bounds (tag_id, number) as (select t.id, coalesce((select v.number from tag_events v where v.tag_id = t.id \
                 and v.outcome = 'moved' order by v.number desc limit 1 offset $7), 0) from tags t where t.stream_id = $1), \
             roots (digest) as (\
               select t.digest from tags t where t.stream_id = $1 and t.digest is not null \
               union select e.digest from bounds b join tag_events e on e.tag_id = b.tag_id \
                 where e.digest is not null and (e.at > $5 or ($6 = 1 and e.number >= b.number)) \
               union select r.digest from rollouts r join apps a on a.id = r.app_id \
                 where $10 = 1 and r.repository = $2 and a.deleted_at is null and (r.created_at > $9 or r.digest in (\
                   select x.digest from rollouts x where x.app_id = r.app_id group by x.digest order by max(x.number) desc limit $11)) \
               union select m.digest from repository_images m join builds b on b.inputs like '%' || m.digest || '%' \
                 where m.stream_id = $1 and b.phase in ('New', 'Pending', 'Running') \
               union select m.digest from repository_images m where m.stream_id = $1 and m.at > $4 \
               union select k.digest from kept_digests k where k.until > $3 \
               union select m.digest from repository_images m where m.stream_id = $1 and m.at > $8 \
                 and not exists (select 1 from tag_events e join tags t on t.id = e.tag_id where t.stream_id = $1 and e.digest = m.digest) \
                 and not exists (select 1 from image_children c join repository_images o on o.digest = c.digest and o.stream_id = $1 \
                   where c.child_digest = m.digest) \
                 and not exists (select 1 from images i join repository_images o on o.digest = i.subject and o.stream_id = $1 \
                   where i.digest = m.digest) \
                 and not exists (select 1 from garbage g where g.kind = 'manifest' and g.stream_id = $1 and g.digest = m.digest \
                   and g.part = 1)), \
             edges (needs, needed) as (\
               select c.digest, c.child_digest from repository_images m join image_children c on c.digest = m.digest where m.stream_id = $1 \
               union all select i.subject, i.digest from repository_images m join images i on i.digest = m.digest \
                 where m.stream_id = $1 and i.subject is not null \
               union all select i.digest, i.subject from repository_images m join images i on i.digest = m.digest \
                 where m.stream_id = $1 and i.subject is not null), \
             kept (digest) as (select digest from roots union select e.needed from kept k join edges e on e.needs = k.digest) ",
            $rest
        )
    };
}

macro_rules! bind_kept {
    ($query:expr, $kept:expr) => {{
        let kept: &Kept<'_> = $kept;
        $query
            .bind(kept.stream_id)
            .bind(kept.repository)
            .bind(kept.now)
            .bind(kept.young_since)
            .bind(kept.rows_since())
            .bind(i64::from(kept.rule.keep_versions.is_some_and(|versions| versions > 0)))
            .bind(kept.rule.keep_versions.unwrap_or(1).max(1) - 1)
            .bind(kept.untagged_since())
            .bind(kept.rollouts_since)
            .bind(i64::from(kept.apps))
            .bind(kept.versions)
    }};
}

/// What decides what a repository keeps.
struct Kept<'a> {
    stream_id: &'a str,
    repository: &'a str,
    rule: &'a RetentionRule,
    now: i64,
    young_since: i64,
    rollouts_since: i64,
    versions: i64,
    apps: bool,
}

impl<'a> Kept<'a> {
    fn new(stream: &'a RuledStream, moment: &Moment) -> Self {
        Self {
            stream_id: &stream.stream_id,
            repository: &stream.repository,
            rule: &stream.rule,
            now: moment.now,
            young_since: moment.cutoff(),
            rollouts_since: moment.rollouts_since(),
            versions: moment.depth.versions,
            apps: true,
        }
    }

    /// Rows of histories are kept that are younger than this.
    fn rows_since(&self) -> i64 {
        match (self.rule.keep_versions, self.rule.keep_days) {
            (None, None) => -1,
            (Some(_), None) => i64::MAX,
            (_, Some(days)) => self.now.saturating_sub(days.saturating_mul(DAY)),
        }
    }

    fn untagged_since(&self) -> i64 {
        self.rule.untagged_days.map_or(-1, |days| self.now.saturating_sub(days.saturating_mul(DAY)))
    }
}

/// A stream that does not keep everything.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct RuledStream {
    pub stream_id: String,
    pub project: String,
    pub stream: String,
    pub repository: String,
    #[sqlx(flatten)]
    pub rule: RetentionRule,
}

/// Streams with a rule; one of them, or all where `stream_id` is empty.
async fn ruled_streams(connection: &mut AnyConnection, stream_id: &str) -> Result<Vec<RuledStream>> {
    let streams = sqlx::query_as(
        "select r.stream_id, p.name as project, s.name as stream, p.name || '/' || s.name as repository, r.keep_versions, r.keep_days, \
         r.untagged_days from retention_rules r join streams s on s.id = r.stream_id join projects p on p.id = s.project_id \
         where $1 = '' or r.stream_id = $1 order by r.stream_id",
    )
    .bind(stream_id)
    .fetch_all(connection)
    .await?;
    Ok(streams)
}

pub(super) async fn unneeded(
    connection: &mut AnyConnection,
    stream_id: &str,
    moment: &Moment,
    limit: i64,
) -> Result<Vec<Garbage>> {
    let Some(stream) = ruled_streams(connection, stream_id).await?.pop() else { return Ok(Vec::new()) };
    let query = sqlx::query_as(with_kept!(
        "select 'manifest' as kind, m.stream_id, m.digest, coalesce(i.size, 0) as size, \
         cast(case when exists (select 1 from image_children c join repository_images o on o.digest = c.digest and o.stream_id = $1 \
             where c.child_digest = m.digest) \
           or exists (select 1 from repository_images o where o.digest = i.subject and o.stream_id = $1) then 1 else 0 end as bigint) as part \
         from repository_images m left join images i on i.digest = m.digest \
         where m.stream_id = $1 and m.digest not in (select digest from kept) \
         and not exists (select 1 from garbage g where g.kind = 'manifest' and g.stream_id = $1 and g.digest = m.digest) \
         order by m.digest limit $12"
    ));
    Ok(bind_kept!(query, &Kept::new(&stream, moment)).bind(limit).fetch_all(connection).await?)
}

impl WriteTx {
    pub(super) async fn unmark_manifests(&mut self, moment: &Moment) -> Result<u64> {
        let mut unmarked = sqlx::query(
            "delete from garbage where kind = 'manifest' and (stream_id not in (select stream_id from retention_rules) \
             or not exists (select 1 from repository_images m where m.stream_id = garbage.stream_id and m.digest = garbage.digest))",
        )
        .execute(&mut **self)
        .await?
        .rows_affected();
        for stream in ruled_streams(self, "").await? {
            let query = sqlx::query(with_kept!(
                "delete from garbage where kind = 'manifest' and stream_id = $1 and digest in (select digest from kept)"
            ));
            let query = bind_kept!(query, &Kept::new(&stream, moment));
            unmarked += query.execute(&mut **self).await?.rows_affected();
        }
        Ok(unmarked)
    }

    /// All of a repository that may go, at once: an index goes with what it lists, or not at all. What stays for now, as its mark is
    /// young, keeps all below it, whatever is marked between.
    pub(super) async fn sweep_manifests(&mut self, stream_id: &str, moment: &Moment) -> Result<Vec<Garbage>> {
        let Some(stream) = ruled_streams(self, stream_id).await?.pop() else { return Ok(Vec::new()) };
        let query = sqlx::query_as(with_kept!(
            ", stays (digest) as (\
               select o.digest from repository_images o where o.stream_id = $1 and not exists (select 1 from garbage p \
                 where p.kind = 'manifest' and p.stream_id = $1 and p.digest = o.digest and p.marked_at <= $4) \
               union select c.child_digest from stays s join image_children c on c.digest = s.digest) \
             select g.kind, g.stream_id, g.digest, g.size, g.part from garbage g \
             join repository_images m on m.stream_id = g.stream_id and m.digest = g.digest \
             where g.kind = 'manifest' and g.stream_id = $1 and g.marked_at <= $4 and g.digest not in (select digest from kept) \
             and g.digest not in (select digest from stays) order by g.digest"
        ));
        let rows: Vec<Garbage> = bind_kept!(query, &Kept::new(&stream, moment)).fetch_all(&mut **self).await?;
        if rows.is_empty() {
            return Ok(rows);
        }
        for row in &rows {
            self.take_away(row).await?;
        }
        let count = format!("{} manifests", rows.len());
        let entry = Entry {
            action: "image.collect",
            project: Some(&stream.project),
            object: &stream.stream,
            from: Some(&count),
            reason: Some("the stream's retention rule"),
            ..Entry::default()
        };
        self.record(&Actor::system("collection"), entry).await?;
        Ok(rows)
    }

    /// Apps that could not go back any more if nothing but the stream's rule counted: their names, each once.
    pub(in crate::server::store) async fn apps_broken_by_rule(
        &mut self,
        stream_id: &str,
        moment: &Moment,
    ) -> Result<Vec<String>> {
        let Some(stream) = ruled_streams(self, stream_id).await?.pop() else { return Ok(Vec::new()) };
        let kept = Kept { apps: false, young_since: i64::MAX, ..Kept::new(&stream, moment) };
        let query = sqlx::query_as(with_kept!(
            "select distinct a.name from rollouts r join apps a on a.id = r.app_id \
             join repository_images m on m.digest = r.digest and m.stream_id = $1 \
             where r.repository = $2 and a.deleted_at is null and (r.created_at > $9 or r.digest in (\
               select x.digest from rollouts x where x.app_id = r.app_id group by x.digest order by max(x.number) desc limit $11)) \
             and r.digest not in (select digest from kept) order by 1"
        ));
        let names: Vec<(String,)> = bind_kept!(query, &kept).fetch_all(&mut **self).await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }
}
