//! The ledger: every change of state, in order, each row sealed to the one before.

use sha2::{Digest as _, Sha256};

use super::{Result, Store, WriteTx};
use crate::model::{Actor, LedgerRow, NoticeKind, now};
use crate::server::wake::Controller;

macro_rules! select_ledger {
    ($($rest:tt)+) => {
        concat!(
            "select sequence, at, actor_kind, actor, action, project, object, from_value, to_value, reason, cause, cascade_id, \
             previous_hash, hash from ledger ",
            $($rest)+
        )
    };
}
pub(super) use select_ledger;

/// The last row of the ledger that is of a former project of that name, 0 when there was none: who may see the present one may not read what
/// was done there.
macro_rules! former_end {
    ($name:literal) => {
        concat!(
            "coalesce((select max(d.sequence) from ledger d where d.action = 'project.delete' and d.project = ",
            $name,
            "), 0)"
        )
    };
}
pub(super) use former_end;

/// A page of the rows of project $1.
const OF_PROJECT: &str = select_ledger!(
    "where project = $1 and sequence < $2 and sequence > ",
    former_end!("$1"),
    " order by sequence desc limit $3"
);

/// What a ledger row says, besides who and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<'a> {
    /// `noun.verb`
    pub action: &'a str,
    pub project: Option<&'a str>,
    pub object: &'a str,
    pub from: Option<&'a str>,
    pub to: Option<&'a str>,
    pub reason: Option<&'a str>,
    /// The row that led to this one.
    pub cause: Option<i64>,
    pub cascade: Option<&'a str>,
}

/// A row as it is sealed. Its words are not read: also a row that says what no Weir ever wrote is one to look at.
#[derive(sqlx::FromRow)]
struct Sealed {
    sequence: i64,
    at: i64,
    actor_kind: String,
    actor: String,
    action: String,
    project: Option<String>,
    object: String,
    from_value: Option<String>,
    to_value: Option<String>,
    reason: Option<String>,
    cause: Option<i64>,
    cascade_id: Option<String>,
    previous_hash: String,
    hash: String,
}

/// Where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFault {
    pub sequence: i64,
    pub problem: &'static str,
}

impl WriteTx {
    /// Appends a row and gives its sequence. Open pages of its project are told when this commits.
    pub async fn record(&mut self, actor: &Actor, entry: Entry<'_>) -> Result<i64> {
        let last: Option<(i64, String, i64)> =
            sqlx::query_as("select sequence, hash, sorted_at from ledger order by sequence desc limit 1")
                .fetch_optional(&mut **self)
                .await?;
        let (last_sequence, previous_hash, last_sorted_at) = last.unwrap_or_default();
        let mut row = Sealed {
            sequence: last_sequence + 1,
            at: now(),
            actor_kind: actor.kind.as_str().to_owned(),
            actor: actor.name.clone(),
            action: entry.action.to_owned(),
            project: entry.project.map(str::to_owned),
            object: entry.object.to_owned(),
            from_value: entry.from.map(str::to_owned),
            to_value: entry.to.map(str::to_owned),
            reason: entry.reason.map(str::to_owned),
            cause: entry.cause,
            cascade_id: entry.cascade.map(str::to_owned),
            previous_hash,
            hash: String::new(),
        };
        row.hash = seal(&row);
        sqlx::query(
            "insert into ledger (sequence, at, actor_kind, actor, action, project, object, from_value, to_value, reason, cause, \
             cascade_id, previous_hash, hash, sorted_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(row.sequence)
        .bind(row.at)
        .bind(&row.actor_kind)
        .bind(&row.actor)
        .bind(&row.action)
        .bind(row.project.as_deref())
        .bind(&row.object)
        .bind(row.from_value.as_deref())
        .bind(row.to_value.as_deref())
        .bind(row.reason.as_deref())
        .bind(row.cause)
        .bind(row.cascade_id.as_deref())
        .bind(&row.previous_hash)
        .bind(&row.hash)
        // The clock may have been set back; the order of the rows stands.
        .bind(row.at.max(last_sorted_at))
        .execute(&mut **self)
        .await?;
        if let Some(project) = entry.project {
            self.touch(project);
            if NoticeKind::concerns(entry.action) {
                self.wake(Controller::Notices);
            }
        }
        Ok(row.sequence)
    }
}

impl Store {
    /// A page of the ledger, newest first, older than `before`; of one project that is there, or of everything.
    pub async fn list_ledger(&self, project: Option<&str>, before: Option<i64>, limit: i64) -> Result<Vec<LedgerRow>> {
        // Two texts: with one for both, neither database would read the index by project.
        let text = match project {
            Some(_) => OF_PROJECT,
            None => select_ledger!("where $1 = '' and sequence < $2 order by sequence desc limit $3"),
        };
        let rows = sqlx::query_as(text)
            .bind(project.unwrap_or_default())
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(rows)
    }

    /// Walks the whole chain and reports its last sequence and every row that does not fit the one before it.
    pub async fn verify_ledger(&self) -> Result<(i64, Vec<LedgerFault>)> {
        let mut faults = Vec::new();
        let (mut sequence, mut hash) = (0, String::new());
        loop {
            let page: Vec<Sealed> = sqlx::query_as(select_ledger!("where sequence > $1 order by sequence limit 1000"))
                .bind(sequence)
                .fetch_all(self.pool())
                .await?;
            if page.is_empty() {
                faults.extend(self.find_missing_end(sequence).await?);
                return Ok((sequence, faults));
            }
            for row in page {
                let problem = if row.sequence != sequence + 1 {
                    Some("a row before this one is missing")
                } else if row.previous_hash != hash {
                    Some("it does not continue the row before it")
                } else if seal(&row) != row.hash {
                    Some("its content is not what was written")
                } else {
                    None
                };
                faults.extend(problem.map(|problem| LedgerFault { sequence: row.sequence, problem }));
                (sequence, hash) = (row.sequence, row.hash);
            }
        }
    }

    /// No row tells that rows after it were removed. What those rows did tells it.
    async fn find_missing_end(&self, last: i64) -> Result<Option<LedgerFault>> {
        // Both ends in one statement: others go on writing. A build's version also counts what is not written in the ledger.
        let (known, end): (Option<i64>, Option<i64>) = sqlx::query_as(
            "select (select max(sequence) from (select max(sequence) as sequence from tag_events \
             union all select max(sequence) from ended_tag_events union all select max(version) from projects \
             union all select max(version) from streams union all select max(sequence) from builds \
             union all select max(version) from apps union all select max(sequence) from rollouts) known), \
             (select max(sequence) from ledger)",
        )
        .fetch_one(self.pool())
        .await?;
        let missing = known.filter(|known| *known > end.unwrap_or(0).max(last));
        Ok(missing.map(|sequence| LedgerFault { sequence, problem: "it is missing, and what it did is there" }))
    }
}

/// The row's hash: sha256 over the JSON array of its columns, so that no two different rows read alike.
fn seal(row: &Sealed) -> String {
    let columns = serde_json::json!([
        row.sequence,
        row.at,
        row.actor_kind,
        row.actor,
        row.action,
        row.project,
        row.object,
        row.from_value,
        row.to_value,
        row.reason,
        row.cause,
        row.cascade_id,
        row.previous_hash,
    ]);
    hex::encode(Sha256::digest(columns.to_string()))
}

#[cfg(test)]
mod tests;
