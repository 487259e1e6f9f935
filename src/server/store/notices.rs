//! Notices are made from the ledger, in its order. How they are delivered is in `notice_delivery`.
//!
//! Rows of the ledger never change and have no gaps (one writer at a time), so a cursor over them misses nothing. Notice and cursor are
//! written together, and a notice is unique for its target and row: whoever dies in between, or does it twice, makes the same ones.

use std::collections::BTreeMap;

use super::ledger::{former_end, select_ledger};
use super::{Result, Store, new_id};
use crate::model::{ImageConfig, LedgerRow, News, NoticeKind, now};

/// Rows of the ledger looked at together; a notice of each for each target of its project is written in one transaction.
const PAGE: i64 = 100;
/// The cursor is written at least every so many rows. In between it is enough to look again at rows that told nothing.
const CURSOR_STEP: i64 = PAGE;

/// Rows of the ledger that somebody wants to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsPage {
    pub news: Vec<News>,
    /// The last row that was looked at.
    pub upto: i64,
    /// Whether there are rows after it.
    pub more: bool,
}

/// A notice that was put into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    pub target_id: String,
    pub sequence: i64,
    pub kind: NoticeKind,
    pub object: String,
    pub body: String,
}

/// A target that is on.
#[derive(sqlx::FromRow)]
struct Wanting {
    id: String,
    name: String,
    project: String,
    kinds: String,
    since: i64,
}

impl Wanting {
    fn hears(&self, row: &LedgerRow) -> bool {
        row.project.as_deref() == Some(self.project.as_str()) && self.since < row.sequence
    }

    fn wants(&self, row: &LedgerRow, kind: NoticeKind) -> bool {
        let chosen: Vec<String> = serde_json::from_str(&self.kinds).unwrap_or_default();
        let asked =
            if kind == NoticeKind::Test { self.name == row.object } else { chosen.iter().any(|k| k == kind.as_str()) };
        asked && self.hears(row)
    }
}

impl Store {
    /// The next rows of the ledger, and who wants to be told of which; `None` when there is no new row, or nobody wants anything.
    pub async fn next_news(&self) -> Result<Option<NewsPage>> {
        // Before the targets: a row that comes behind them may be for a target that is not among them, and waits for the next look.
        let (end,): (Option<i64>,) = sqlx::query_as("select max(sequence) from ledger").fetch_one(self.pool()).await?;
        let targets: Vec<Wanting> = sqlx::query_as(
            "select t.id, t.name, p.name as project, t.kinds, t.since from notice_targets t join projects p on p.id = t.project_id \
             where t.off_at is null order by t.id",
        )
        .fetch_all(self.pool())
        .await?;
        let Some(first) = targets.iter().map(|target| target.since).min() else { return Ok(None) };
        let (cursor,): (i64,) =
            sqlx::query_as("select sequence from notice_cursor where id = 1").fetch_one(self.pool()).await?;
        let rows: Vec<LedgerRow> =
            sqlx::query_as(select_ledger!("where sequence > $1 and sequence <= $3 order by sequence limit $2"))
                .bind(cursor.max(first))
                .bind(PAGE)
                .bind(end.unwrap_or(0))
                .fetch_all(self.pool())
                .await?;
        let Some(upto) = rows.last().map(|row| row.sequence) else { return Ok(None) };
        let more = i64::try_from(rows.len()).is_ok_and(|rows| rows == PAGE);
        let mut news = Vec::new();
        let somebody_hears = |row: &&LedgerRow| targets.iter().any(|target| target.hears(row));
        for row in rows.iter().filter(|row| NoticeKind::concerns(&row.action)).filter(somebody_hears) {
            let kinds = self.kinds_of(row).await?;
            let mut told = None;
            for target in &targets {
                let Some(kind) = kinds.iter().copied().find(|kind| target.wants(row, *kind)) else { continue };
                let item = match &told {
                    None => told.insert(self.with_circumstances(row).await?),
                    Some(item) => item,
                };
                news.push(News { target_id: target.id.clone(), kind, ..item.clone() });
            }
        }
        let is_far = upto - cursor >= CURSOR_STEP;
        Ok((is_far || !news.is_empty()).then_some(NewsPage { news, upto, more }))
    }

    /// What a row tells, the more telling first.
    async fn kinds_of(&self, row: &LedgerRow) -> Result<Vec<NoticeKind>> {
        let (failing, recovered) = match row.action.as_str() {
            "build.finish" => (NoticeKind::BuildFailing, NoticeKind::BuildRecovered),
            "rollout.finish" => (NoticeKind::RolloutFailing, NoticeKind::RolloutRecovered),
            action => return Ok(NoticeKind::of_action(action).into_iter().collect()),
        };
        let (before, kind) = if failing == NoticeKind::BuildFailing {
            (self.build_before(row).await?, None)
        } else {
            self.rollout_before(row).await?
        };
        let is_well = |phase: &str| phase == "Complete";
        let was_well = before.as_deref().is_none_or(is_well);
        Ok(match row.to_value.as_deref() {
            Some("Failed" | "Error") if was_well => vec![failing],
            Some("Complete") => {
                let rolled_back = matches!(kind.as_deref(), Some("rollback" | "restore"));
                let rolled_back = rolled_back.then_some(NoticeKind::AppRolledBack);
                rolled_back.into_iter().chain((!was_well).then_some(recovered)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// How the build before this one ended, of those that came to an end of their own.
    async fn build_before(&self, row: &LedgerRow) -> Result<Option<String>> {
        let Some((config, number)) = row.object.rsplit_once('-') else { return Ok(None) };
        let phase: Option<(String,)> = sqlx::query_as(
            "select b.phase from projects p join build_configs c on c.project_id = p.id join builds b on b.config_id = c.id \
             where p.name = $1 and c.name = $2 and b.number < $3 and b.phase in ('Complete', 'Failed', 'Error') \
             order by b.number desc limit 1",
        )
        .bind(row.project.as_deref())
        .bind(config)
        .bind(number.parse::<i64>().unwrap_or_default())
        .fetch_optional(self.pool())
        .await?;
        Ok(phase.map(|(phase,)| phase))
    }

    /// How the rollout before this one ended, and the kind of this one.
    async fn rollout_before(&self, row: &LedgerRow) -> Result<(Option<String>, Option<String>)> {
        let Some((app, number)) = row.object.split_once(" rollout ") else { return Ok((None, None)) };
        let number = number.parse::<i64>().unwrap_or_default();
        let rollouts: Vec<(i64, String, String)> = sqlx::query_as(
            "select r.number, r.phase, r.kind from projects p join apps a on a.project_id = p.id join rollouts r on r.app_id = a.id \
             where p.name = $1 and a.name = $2 and r.number <= $3 and (r.number = $3 or r.phase in ('Complete', 'Failed')) \
             order by r.number desc limit 2",
        )
        .bind(row.project.as_deref())
        .bind(app)
        .bind(number)
        .fetch_all(self.pool())
        .await?;
        let kind = rollouts.iter().find(|(at, ..)| *at == number).map(|(_, _, kind)| kind.clone());
        let before = rollouts.into_iter().find(|(at, ..)| *at < number).map(|(_, phase, _)| phase);
        Ok((before, kind))
    }

    /// What is told beside a row: the images' versions, what led to it, and its cascade. Of other projects nothing is told: what happens
    /// there is for those who may see them.
    async fn with_circumstances(&self, row: &LedgerRow) -> Result<News> {
        let cause = match row.cause {
            None => None,
            Some(cause) => {
                sqlx::query_as(select_ledger!(
                    "where sequence = $1 and project = $2 and sequence > ",
                    former_end!("$2")
                ))
                .bind(cause)
                .bind(row.project.as_deref())
                .fetch_optional(self.pool())
                .await?
            }
        };
        let cascade: Option<(i64,)> = match &row.cascade_id {
            None => None,
            Some(id) => {
                sqlx::query_as(
                    "select c.number from cascades c join projects p on p.id = c.project_id where c.id = $1 and p.name = $2",
                )
                .bind(id)
                .bind(row.project.as_deref())
                .fetch_optional(self.pool())
                .await?
            }
        };
        Ok(News {
            target_id: String::new(),
            kind: NoticeKind::Test,
            from_version: self.version_of(row.from_value.as_deref()).await?,
            to_version: self.version_of(row.to_value.as_deref()).await?,
            row: row.clone(),
            cause,
            cascade_number: cascade.map(|(number,)| number),
        })
    }

    /// What an image calls its own version.
    async fn version_of(&self, digest: Option<&str>) -> Result<Option<String>> {
        let Some(digest) = digest.filter(|digest| digest.contains(':')) else { return Ok(None) };
        let image: Option<(Option<String>, String)> =
            sqlx::query_as("select config, annotations from images where digest = $1")
                .bind(digest)
                .fetch_optional(self.pool())
                .await?;
        let Some((config, annotations)) = image else { return Ok(None) };
        let label = "org.opencontainers.image.version";
        let config: ImageConfig = config.and_then(|config| serde_json::from_str(&config).ok()).unwrap_or_default();
        let annotations: BTreeMap<String, String> = serde_json::from_str(&annotations).unwrap_or_default();
        Ok(config.config.labels.get(label).or_else(|| annotations.get(label)).cloned())
    }

    /// Keeps the notices made of rows up to `upto`. Those that another process made first, and those whose target is gone or off, are
    /// left out.
    pub async fn add_notices(&self, notices: &[NewNotice], upto: i64) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for notice in notices {
            sqlx::query(
                "insert into notices (id, target_id, sequence, kind, object, body, created_at, state, next_at) \
                 select $1, t.id, $3, $4, $5, $6, $7, 'waiting', $7 from notice_targets t where t.id = $2 and t.off_at is null \
                 on conflict (target_id, sequence) do nothing",
            )
            .bind(new_id())
            .bind(&notice.target_id)
            .bind(notice.sequence)
            .bind(notice.kind.as_str())
            .bind(&notice.object)
            .bind(&notice.body)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("update notice_cursor set sequence = $1 where id = 1 and sequence < $1")
            .bind(upto)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests;
