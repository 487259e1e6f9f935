//! Which checks may download: what they found is fetched by few of a registry's checks at a time, and by no project alone.
//!
//! ```text
//!   claimed: asks ──> nothing new: recorded
//!               └──> something new: downloads ──> recorded
//!                        └──> no place: given back, and claimed again when there is one
//! ```
//!
//! A check that downloads does not count among those that ask. One that is sure to download, as its tag has nothing yet, is given out only
//! when there is a place for that.

use super::{DueImport, Result, Store, WriteTx};
use crate::model::now;
use crate::server::wake::Controller;

/// Checks that download from one registry at a time.
pub(super) const AT_ONE_REGISTRY: i64 = 12;
/// Of these, those of one project.
pub(super) const OF_ONE_PROJECT: i64 = 9;

/// That a check `i` is sure to download, as far as is known.
macro_rules! sure_to_download {
    () => {
        "(i.found_at is not null or i.upstream_digest is null)"
    };
}
pub(super) use sure_to_download;

/// That a claimed check `l` downloads, or is sure to.
macro_rules! downloads {
    () => {
        "(l.downloading_at is not null or l.found_at is not null or l.upstream_digest is null)"
    };
}
pub(super) use downloads;

/// How many more checks a server may take up, and how many of them may be such as download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    pub questions: usize,
    pub downloads: usize,
}

impl Store {
    /// Notes that a claimed check downloads from now on, with all that are claimed for the same question; false when enough of them do.
    pub async fn begin_download(&self, due: &DueImport) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let claim: Option<(Option<String>, Option<String>, Option<String>)> = sqlx::query_as(
            "select budget, question, project_id from tag_imports where tag_id = $1 and lease_owner = $2",
        )
        .bind(&due.tag.id)
        .bind(self.owner())
        .fetch_optional(&mut *tx)
        .await?;
        // Whose claim has ended, or whose tag was changed meanwhile, records nothing in the end.
        let Some((Some(budget), Some(question), project)) = claim else { return Ok(true) };
        let project = project.unwrap_or_default();
        let (all, its) = tx.downloads_beside(&budget, &question, &project).await?;
        if all >= AT_ONE_REGISTRY || its >= OF_ONE_PROJECT {
            return Ok(false);
        }
        sqlx::query(
            "update tag_imports set downloading_at = $3, found_at = null where question = $1 and lease_owner = $2",
        )
        .bind(&question)
        .bind(self.owner())
        .bind(now())
        .execute(&mut *tx)
        .await?;
        // It asks no more: another may.
        tx.wake(Controller::Imports);
        tx.commit_soon().await?;
        Ok(true)
    }

    /// Gives back a tag whose check found something new when there was no place to download it.
    pub async fn postpone_download(&self, due: &DueImport) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "update tag_imports set found_at = $3, downloading_at = null, lease_owner = null, lease_until = null \
             where tag_id = $1 and lease_owner = $2",
        )
        .bind(&due.tag.id)
        .bind(self.owner())
        .bind(now())
        .execute(&mut *tx)
        .await?;
        tx.commit_soon().await
    }
}

impl WriteTx {
    /// How many other questions of a budget download or are sure to, and how many of these are the project's.
    async fn downloads_beside(&mut self, budget: &str, question: &str, project: &str) -> Result<(i64, i64)> {
        let counts = sqlx::query_as(concat!(
            "select count(distinct l.question), count(distinct case when l.project_id = $4 then l.question else null end) \
             from tag_imports l where l.budget = $1 and l.lease_until >= $2 and l.question <> $3 and ",
            downloads!()
        ))
        .bind(budget)
        .bind(now())
        .bind(question)
        .bind(project)
        .fetch_one(&mut **self)
        .await?;
        Ok(counts)
    }
}
