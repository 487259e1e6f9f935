//! The schedule by which tags follow other registries, and what became of each check.

use super::moves::Move;
use super::tag_specs::FIRST_CHECK_WITHIN_MS;
use super::tags::select_tag;
use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{Actor, EventKind, SourceKind, Tag, TagImport, counted, now};
use crate::server::wake::Controller;

macro_rules! select_import {
    ($rest:literal) => {
        concat!(
            "select i.tag_id, i.next_at, i.requested_at, i.requested_by, i.last_try_at, i.last_ok_at, i.outcome, i.reason, i.message, \
             i.failing_since, i.failures, i.upstream_digest, i.generation, i.overdue_at, b.rest_until as rests_until, \
             coalesce(b.least_interval_ms, 0) as least_interval_ms, z.paused_by, i.passed_digest, i.found_at, \
             (select w.digest from cooling_digests w where w.tag_id = i.tag_id order by w.first_seen_at desc, w.digest desc limit 1) \
               as cooling_digest, \
             (select max(w.first_seen_at) from cooling_digests w where w.tag_id = i.tag_id) as cooling_since, \
             (select w.adopt_by from cooling_digests w where w.tag_id = i.tag_id order by w.first_seen_at desc, w.digest desc limit 1) \
               as cooling_adopt_by from tag_imports i left join registry_budgets b on b.id = i.budget \
             left join paused_registries z on z.host = b.host ",
            $rest
        )
    };
}
pub(super) use select_import;

/// A check that should have been made long before `$1`. While its registry is paused it should not.
macro_rules! overdue {
    () => {
        "i.next_at is not null and i.overdue_at <= $1 and not exists \
         (select 1 from registry_budgets b join paused_registries z on z.host = b.host where b.id = i.budget)"
    };
}

/// A tag whose source is to be checked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueImport {
    pub tag: Tag,
    pub import: TagImport,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEnd<'a> {
    /// The registry still has this digest under that reference.
    Unchanged {
        digest: &'a str,
    },
    /// A digest that was not seen before waits for the tag's cool-down.
    Waiting {
        digest: &'a str,
    },
    /// A digest that was not seen before arrived; whether the tag moved its history tells.
    Fetched {
        digest: &'a str,
    },
    Failed {
        reason: &'a str,
        message: &'a str,
    },
}

/// The most characters of why a check failed: the words may quote what another registry said.
const LONGEST_MESSAGE: usize = 500;

/// As much of a message as is kept.
pub(super) fn shortened(message: &str) -> String {
    let mut short: String = message.chars().take(LONGEST_MESSAGE).collect();
    if short.len() < message.len() {
        short.pop();
        short.push('…');
    }
    short
}

/// The earlier of two plans: what moved the next check forward while this one ran still counts.
fn earlier(meanwhile: Option<NextCheck>, next: Option<NextCheck>) -> Option<NextCheck> {
    match (meanwhile, next) {
        (Some(meanwhile), Some(next)) if meanwhile.at >= next.at => Some(next),
        (meanwhile, next) => meanwhile.or(next),
    }
}

/// What is known of an import when its check ends.
struct SinceClaimed {
    /// When its next check was planned for meanwhile, if it was.
    planned: Option<NextCheck>,
    /// Whether it counts as failing, which whatever else moved the tag may have ended.
    failed: bool,
    failures: i64,
}

impl WriteTx {
    /// What became of a claimed tag's import since it was claimed; `None` when the claim has ended.
    async fn since_claimed(&mut self, due: &DueImport, owner: &str) -> Result<Option<SinceClaimed>> {
        let row: Option<(Option<i64>, Option<i64>, String, i64)> = sqlx::query_as(
            "select next_at, overdue_at, outcome, failures from tag_imports where tag_id = $1 and lease_owner = $2",
        )
        .bind(&due.tag.id)
        .bind(owner)
        .fetch_optional(&mut **self)
        .await?;
        Ok(row.map(|(at, overdue_at, outcome, failures)| {
            let at = at.filter(|at| due.import.next_at != Some(*at));
            let planned = at.map(|at| NextCheck { at, overdue_at: overdue_at.unwrap_or(at) });
            SinceClaimed { planned, failed: outcome == "failed", failures }
        }))
    }

    /// Notes that somebody wants the tag's source checked now. Refused while a site admin has paused its registry.
    pub(super) async fn want_check(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        let asked: Option<(Option<String>,)> = sqlx::query_as(
            "update tag_imports set requested_at = $2, requested_by = $3 where tag_id = $1 \
             returning (select b.host from registry_budgets b where b.id = tag_imports.budget)",
        )
        .bind(&tag.id)
        .bind(now())
        .bind(&actor.name)
        .fetch_optional(&mut **self)
        .await?;
        let Some((host,)) = asked else {
            return Err(Error::Conflict(format!(
                "{} does not follow an image in another registry: there is nothing to check",
                tag.title()
            )));
        };
        match self.pause_of(host.as_deref().unwrap_or_default()).await? {
            Some(pause) => Err(Error::Conflict(pause.in_words())),
            None => Ok(()),
        }
    }

    /// Ends the checks of a tag's source. Who was told that they fail is told that they do not any more.
    pub(super) async fn end_import(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        let ended: Option<(String,)> = sqlx::query_as("delete from tag_imports where tag_id = $1 returning outcome")
            .bind(&tag.id)
            .fetch_optional(&mut **self)
            .await?;
        match ended {
            Some((outcome,)) if outcome == "failed" => {
                self.record_recovery(tag, "it is not imported any more", actor).await
            }
            _ => Ok(()),
        }
    }

    /// A push answers what a pending import was to bring (SEMANTICS 5): whoever fetches that at this moment has lost its lease, and a tag
    /// on a schedule is looked at when that says so.
    pub(super) async fn satisfy_import(&mut self, tag: &Tag) -> Result<()> {
        if tag.source_kind.as_deref() != Some(SourceKind::DockerImage.as_str()) {
            return Ok(());
        }
        let within = tag.interval_ms.unwrap_or(FIRST_CHECK_WITHIN_MS);
        let next_at = (tag.scheduled == 1 && self.schedules).then(|| now().saturating_add(within));
        sqlx::query(
            "update tag_imports set outcome = 'unchanged', reason = null, message = null, failing_since = null, failures = 0, \
             generation = $4, next_at = $2, overdue_at = $3, requested_at = null, lease_owner = null, lease_until = null, \
             downloading_at = null, found_at = null where tag_id = $1 and generation < $4",
        )
        .bind(&tag.id)
        .bind(next_at)
        .bind(next_at.map(|at| at.saturating_add(within)))
        .bind(tag.generation)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// The tag was moved, or confirmed, by something else than its import: that this failed is nothing that is to be told of what the tag
    /// is now. Whether it goes on failing its next check tells. A check tells itself how it went.
    pub(super) async fn clear_failure(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<()> {
        if movement.kind == EventKind::Import {
            return Ok(());
        }
        let cleared = sqlx::query(
            "update tag_imports set outcome = 'unchanged', reason = null, message = null, failing_since = null, failures = 0 \
             where tag_id = $1 and outcome = 'failed'",
        )
        .bind(&tag.id)
        .execute(&mut **self)
        .await?
        .rows_affected();
        if cleared > 0 {
            self.record_recovery(tag, "the tag got its image otherwise", movement.actor).await?;
        }
        Ok(())
    }

    /// Tells that the checks of a tag do not fail any more, although none went well.
    pub(super) async fn record_recovery(&mut self, tag: &Tag, reason: &str, actor: &Actor) -> Result<()> {
        let entry = Entry {
            action: "import.recover",
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.source.as_deref(),
            reason: Some(reason),
            ..Entry::default()
        };
        self.record(actor, entry).await.map(drop)
    }
}

/// When a tag is checked again, and from when on it counts as overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextCheck {
    pub at: i64,
    pub overdue_at: i64,
}

impl NextCheck {
    /// The same, but not after that time.
    fn by(self, at: i64) -> Self {
        Self { at: self.at.min(at), ..self }
    }

    /// The same, but not before that time.
    #[must_use]
    pub fn not_before(self, at: i64) -> Self {
        let later = (at - self.at).max(0);
        Self { at: self.at + later, overdue_at: self.overdue_at + later }
    }
}

impl DueImport {
    /// Whether its check has to download something, as far as is known.
    pub fn is_sure_to_download(&self) -> bool {
        self.import.found_at.is_some() || self.import.upstream_digest.is_none()
    }

    /// When the tag was to be checked, as its row has it.
    pub fn planned(&self) -> Option<NextCheck> {
        let at = self.import.next_at?;
        Some(NextCheck { at, overdue_at: self.import.overdue_at.unwrap_or(at) })
    }
}

/// A tag whose last check failed: what was wrong, and how old what it has is.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImportTrouble {
    pub message: Option<String>,
    pub last_ok_at: Option<i64>,
}

impl Store {
    /// Takes one tag to check it now; `None` when a worker is at it already, or the tag follows no other registry.
    pub async fn claim_import(&self, tag_id: &str, owner: &str, lease_ms: i64) -> Result<Option<DueImport>> {
        let mut tx = self.write_tx().await?;
        let claimed = sqlx::query(
            "update tag_imports set lease_owner = $2, lease_until = $4, downloading_at = null where tag_id = $1 \
             and (lease_until is null or lease_until < $3)",
        )
        .bind(tag_id)
        .bind(owner)
        .bind(now())
        .bind(now() + lease_ms)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if claimed == 0 {
            return Ok(None);
        }
        let import = sqlx::query_as(select_import!("where i.tag_id = $1")).bind(tag_id).fetch_one(&mut *tx).await?;
        let tag = tx.tag_by_id(tag_id).await?;
        tx.commit().await?;
        Ok(Some(DueImport { tag, import }))
    }

    /// Gives back a tag that was claimed and turned out to need no check.
    pub async fn release_import(&self, tag_id: &str, owner: &str) -> Result<()> {
        sqlx::query(
            "update tag_imports set lease_owner = null, lease_until = null, downloading_at = null where tag_id = $1 and lease_owner = $2",
        )
        .bind(tag_id)
        .bind(owner)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Records how a check ended and when the next one is due (`None`: only when asked). The tag's history is not touched here. What
    /// moved the next check forward meanwhile still counts. Whoever has lost its lease records nothing.
    pub async fn record_check(&self, due: &DueImport, end: &CheckEnd<'_>, next: Option<NextCheck>) -> Result<()> {
        let (outcome, digest, reason, message) = match end {
            CheckEnd::Unchanged { digest } => ("unchanged", Some(*digest), None, None),
            CheckEnd::Waiting { digest } => ("waiting", Some(*digest), None, None),
            CheckEnd::Fetched { digest } => ("ok", Some(*digest), None, None),
            CheckEnd::Failed { reason, message } => ("failed", None, Some(*reason), Some(*message)),
        };
        let message = message.map(shortened);
        let message = message.as_deref();
        let failed = outcome == "failed";
        let mut tx = self.write_tx().await?;
        // None: another server has taken it over, and records how it went there.
        let Some(before) = tx.since_claimed(due, self.owner()).await? else { return Ok(()) };
        if let CheckEnd::Fetched { digest } = end {
            tx.note_passed(&due.tag.id, digest).await?;
        }
        let next = earlier(before.planned, next);
        let next = match tx.next_passage_at(&due.tag.id).await? {
            Some(at) => Some(next.map_or(NextCheck { at, overdue_at: at + FIRST_CHECK_WITHIN_MS }, |next| next.by(at))),
            None => next,
        };
        sqlx::query(
            "update tag_imports set outcome = $2, reason = $3, message = $4, last_try_at = $5, \
             last_ok_at = case when $6 = 1 then last_ok_at else $5 end, \
             failing_since = case when $6 = 1 then coalesce(failing_since, $5) else null end, \
             failures = case when $6 = 1 then failures + 1 else 0 end, \
             upstream_digest = case when $6 = 1 and generation <> $9 then null else coalesce($7, upstream_digest) end, \
             next_at = $8, overdue_at = $11, generation = $9, lease_owner = null, lease_until = null, downloading_at = null, \
             found_at = null, requested_at = case when requested_at > $10 then requested_at else null end where tag_id = $1",
        )
        .bind(&due.tag.id)
        .bind(outcome)
        .bind(reason)
        .bind(message)
        .bind(now())
        .bind(i64::from(failed))
        .bind(digest)
        .bind(next.map(|next| next.at))
        .bind(due.tag.generation)
        .bind(due.import.requested_at.unwrap_or(0))
        .bind(next.map(|next| next.overdue_at))
        .execute(&mut *tx)
        .await?;
        // Only a change of state is news: the ledger is no log of checks.
        if failed != before.failed {
            let entry = Entry {
                action: if failed { "import.fail" } else { "import.recover" },
                project: Some(&due.tag.project),
                object: &due.tag.title(),
                from: due.tag.source.as_deref(),
                reason: message,
                ..Entry::default()
            };
            if failed || before.failures > 0 {
                tx.record(&Actor::schedule(), entry).await?;
            }
        }
        tx.touch(&due.tag.project);
        // That nothing changed is found out again if it is lost.
        match end {
            CheckEnd::Unchanged { .. } | CheckEnd::Waiting { .. } => tx.commit_soon().await,
            _ => tx.commit().await,
        }
    }

    /// Somebody wants the tag's source checked now.
    pub async fn request_check(&self, project: &str, stream: &str, tag: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        tx.want_check(&tag, actor).await?;
        let entry =
            Entry { action: "import.request", project: Some(project), object: &tag.title(), ..Entry::default() };
        tx.record(actor, entry).await?;
        tx.wake(Controller::Imports);
        tx.commit().await
    }

    /// How the checks of a tag go; `None` when it follows no other registry.
    pub async fn find_import(&self, tag_id: &str) -> Result<Option<TagImport>> {
        let import =
            sqlx::query_as(select_import!("where i.tag_id = $1")).bind(tag_id).fetch_optional(self.pool()).await?;
        Ok(import)
    }

    /// How many tags of all projects should have been checked long ago.
    pub async fn count_all_overdue_imports(&self) -> Result<i64> {
        let (count,) = sqlx::query_as(concat!("select count(*) from tag_imports i where ", overdue!()))
            .bind(now())
            .fetch_one(self.pool())
            .await?;
        Ok(count)
    }

    /// Writes down for which projects checks have become overdue, and for which none is any more.
    pub async fn record_overdue(&self) -> Result<()> {
        let changed: Vec<(String, Option<i64>, i64)> = sqlx::query_as(concat!(
            "select p.name, p.imports_overdue_at, coalesce(o.n, 0) from projects p left join \
               (select i.project_id, count(*) as n from tag_imports i where ",
            overdue!(),
            " group by i.project_id) o on o.project_id = p.id \
             where (p.imports_overdue_at is null) = (o.n is not null) order by p.id limit 100"
        ))
        .bind(now())
        .fetch_all(self.pool())
        .await?;
        for (project, since, count) in changed {
            let mut tx = self.write_tx().await?;
            let is_overdue = since.is_none();
            let still = sqlx::query(
                "update projects set imports_overdue_at = $2 where name = $1 and (imports_overdue_at is null) = ($3 = 1)",
            )
            .bind(&project)
            .bind(is_overdue.then(now))
            .bind(i64::from(is_overdue))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if still == 1 {
                let action = if is_overdue { "import.overdue" } else { "import.on-time" };
                let reason = is_overdue.then(|| format!("{} not made in time", counted(count, "check")));
                let (object, reason) = (project.as_str(), reason.as_deref());
                let entry = Entry { action, project: Some(&project), object, reason, ..Entry::default() };
                tx.record(&Actor::schedule(), entry).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// How many of a project's tags should have been checked long ago.
    pub async fn count_overdue_imports(&self, project_id: &str) -> Result<i64> {
        let (count,) =
            sqlx::query_as(concat!("select count(*) from tag_imports i where i.project_id = $2 and ", overdue!()))
                .bind(now())
                .bind(project_id)
                .fetch_one(self.pool())
                .await?;
        Ok(count)
    }

    /// Whether any tag's last check failed.
    pub async fn is_any_import_failing(&self) -> Result<bool> {
        let failing: Option<(i64,)> = sqlx::query_as("select 1 from tag_imports where outcome = 'failed' limit 1")
            .fetch_optional(self.pool())
            .await?;
        Ok(failing.is_some())
    }

    /// What was wrong at the last check of a repository's tag; `None` when it went well.
    pub async fn find_import_trouble(&self, stream_id: &str, tag: &str) -> Result<Option<ImportTrouble>> {
        let trouble = sqlx::query_as(
            "select i.message, i.last_ok_at from tags t join tag_imports i on i.tag_id = t.id \
             where t.stream_id = $1 and t.name = $2 and i.outcome = 'failed'",
        )
        .bind(stream_id)
        .bind(tag)
        .fetch_optional(self.pool())
        .await?;
        Ok(trouble)
    }

    /// Tags of a project that follow other registries, by id after `after`: all, or those `failed`, `overdue`, `limited` by what the registry
    /// or a site admin lets them, or `waiting` for their cool-down.
    pub async fn list_imports(&self, project: &str, only: &str, after: &str, limit: i64) -> Result<Vec<DueImport>> {
        let imports: Vec<TagImport> = sqlx::query_as(select_import!(
            "join tags t on t.id = i.tag_id join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
             where p.name = $1 and ($2 not in ('failed', 'overdue', 'limited', 'waiting') or ($2 = 'failed' and i.outcome = 'failed') \
               or ($2 = 'overdue' and i.next_at is not null and i.overdue_at <= $5 and z.host is null) \
               or ($2 = 'limited' and (b.rest_until > $5 or z.host is not null)) \
               or ($2 = 'waiting' and exists (select 1 from cooling_digests w where w.tag_id = i.tag_id))) \
             and i.tag_id > $3 order by i.tag_id limit $4"
        ))
        .bind(project)
        .bind(only)
        .bind(after)
        .bind(limit)
        .bind(now())
        .fetch_all(self.pool())
        .await?;
        let mut listed = Vec::with_capacity(imports.len());
        for import in imports {
            let tag =
                sqlx::query_as(select_tag!("where t.id = $1")).bind(&import.tag_id).fetch_one(self.pool()).await?;
            listed.push(DueImport { tag, import });
        }
        Ok(listed)
    }
}
