//! Where a project's notices go: the targets, each with a secret that is sealed with the server's key and never shown again.

use secrecy::{ExposeSecret as _, SecretString};

use super::{Entry, Error, Result, Store, WriteTx, check_version, members, new_id};
use crate::model::{Actor, AppName, NoticeKind, NoticeTarget, now};
use crate::server::wake::Controller;

const KIND: &str = "notices";
/// The most targets of a project: each change makes a notice for each of them.
const AT_MOST: i64 = 50;

macro_rules! select_target {
    ($rest:literal) => {
        concat!(
            "select t.id, t.name, t.url, t.kinds, t.off_at, t.created_at, t.created_by, t.version, \
             (select count(*) from notices w where w.target_id = t.id and w.next_at is not null) as waiting, \
             n.state as last_state, n.last_answer, nullif(t.tried_at, 0) as last_at from notice_targets t \
             left join notices n on n.id = t.tried_id ",
            $rest
        )
    };
}

/// What may be set of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeTargetFields {
    pub url: String,
    pub kinds: Vec<NoticeKind>,
    pub is_off: bool,
}

impl NoticeTargetFields {
    fn check(&self) -> Result<()> {
        if self.kinds.is_empty() {
            return Err(Error::invalid("kinds", "choose at least one kind of notice"));
        }
        if self.kinds.contains(&NoticeKind::Test) {
            return Err(Error::invalid("kinds", "tests are sent when somebody asks for one; they cannot be chosen"));
        }
        Ok(())
    }

    fn kinds_json(&self) -> Result<String> {
        let mut kinds = self.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        Ok(serde_json::to_string(&kinds)?)
    }

    /// The host alone: whoever may see the ledger is not meant to see what else an address may hold.
    fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }
}

impl Store {
    /// Makes a target. It is told of what happens from now on.
    pub async fn create_notice_target(
        &self,
        project: &str,
        name: &AppName,
        fields: &NoticeTargetFields,
        secret: &SecretString,
        actor: &Actor,
    ) -> Result<NoticeTarget> {
        fields.check()?;
        if name.as_str() == "new" {
            return Err(Error::invalid(
                "name",
                "new is the address of the form that makes targets: choose another name",
            ));
        }
        let mut tx = self.write_tx().await?;
        let project_id = members::project_id(&mut tx, project).await?;
        if tx.find_notice_target(project, name.as_str()).await?.is_some() {
            return Err(Error::Exists { kind: KIND, name: name.to_string() });
        }
        let (targets,): (i64,) = sqlx::query_as("select count(*) from notice_targets where project_id = $1")
            .bind(&project_id)
            .fetch_one(&mut *tx)
            .await?;
        if targets >= AT_MOST {
            return Err(Error::invalid("name", format!("a project has at most {AT_MOST} targets: delete one first")));
        }
        let id = new_id();
        let sealed = self.seal_notice_secret(&id, secret)?;
        let version = record(&mut tx, "notice.create", project, name.as_str(), Some(fields.host()), actor).await?;
        sqlx::query(
            "insert into notice_targets (id, project_id, name, url, secret, kinds, since, off_at, created_at, created_by, version) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $7)",
        )
        .bind(&id)
        .bind(&project_id)
        .bind(name.as_str())
        .bind(&fields.url)
        .bind(sealed)
        .bind(fields.kinds_json()?)
        .bind(version)
        .bind(fields.is_off.then(now))
        .bind(now())
        .bind(&actor.name)
        .execute(&mut *tx)
        .await?;
        let target = tx.notice_target(project, name.as_str()).await?;
        tx.commit().await?;
        Ok(target)
    }

    /// Changes a target. Turned off, what waits for it is dropped; turned on again, it is told of what happens from then on.
    pub async fn update_notice_target(
        &self,
        project: &str,
        name: &str,
        fields: &NoticeTargetFields,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<NoticeTarget> {
        fields.check()?;
        let mut tx = self.write_tx().await?;
        let target = tx.notice_target(project, name).await?;
        check_version(target.version, version)?;
        let action = match (target.off_at.is_some(), fields.is_off) {
            (false, true) => "notice.turn-off",
            (true, false) => "notice.turn-on",
            _ => "notice.update",
        };
        let sequence = record(&mut tx, action, project, name, Some(fields.host()), actor).await?;
        let off_at = if fields.is_off { target.off_at.or_else(|| Some(now())) } else { None };
        sqlx::query(
            "update notice_targets set url = $2, kinds = $3, off_at = $4, version = $5, since = case when $6 = 1 then $5 else since end \
             where id = $1",
        )
        .bind(&target.id)
        .bind(&fields.url)
        .bind(fields.kinds_json()?)
        .bind(off_at)
        .bind(sequence)
        .bind(i64::from(action == "notice.turn-on"))
        .execute(&mut *tx)
        .await?;
        if fields.is_off {
            sqlx::query(
                "update notices set state = 'dropped', next_at = null, ended_at = $2 where target_id = $1 and next_at is not null",
            )
            .bind(&target.id)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        }
        let target = tx.notice_target(project, name).await?;
        tx.wake(Controller::Notices);
        tx.commit().await?;
        Ok(target)
    }

    /// Gives a target another secret: attempts from now on are signed with it.
    pub async fn replace_notice_secret(
        &self,
        project: &str,
        name: &str,
        secret: &SecretString,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let target = tx.notice_target(project, name).await?;
        let sealed = self.seal_notice_secret(&target.id, secret)?;
        let sequence = record(&mut tx, "notice.replace-secret", project, name, None, actor).await?;
        sqlx::query("update notice_targets set secret = $2, version = $3 where id = $1")
            .bind(&target.id)
            .bind(sealed)
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Forgets a target, with all that was told to it.
    pub async fn delete_notice_target(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let target = tx.notice_target(project, name).await?;
        record(&mut tx, "notice.delete", project, name, None, actor).await?;
        sqlx::query("delete from notice_targets where id = $1").bind(&target.id).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Somebody wants to know whether notices arrive there.
    pub async fn request_test_notice(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let target = tx.notice_target(project, name).await?;
        if target.off_at.is_some() {
            return Err(off(name));
        }
        record(&mut tx, "notice.test", project, name, None, actor).await?;
        tx.commit().await
    }

    /// A project's targets by name.
    pub async fn list_notice_targets(&self, project: &str) -> Result<Vec<NoticeTarget>> {
        let targets = sqlx::query_as(select_target!(
            "join projects p on p.id = t.project_id where p.name = $1 order by t.name limit 500"
        ))
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        Ok(targets)
    }

    /// A target by name.
    pub async fn load_notice_target(&self, project: &str, name: &str) -> Result<NoticeTarget> {
        let target: Option<NoticeTarget> =
            sqlx::query_as(select_target!("join projects p on p.id = t.project_id where p.name = $1 and t.name = $2"))
                .bind(project)
                .bind(name)
                .fetch_optional(self.pool())
                .await?;
        target.ok_or_else(|| Error::not_found(KIND, name))
    }

    fn seal_notice_secret(&self, id: &str, secret: &SecretString) -> Result<String> {
        let sealed = self.seal(&purpose(id), secret.expose_secret().as_bytes());
        sealed.ok_or_else(|| Error::invalid("secret", "the secret is too long"))
    }

    /// The secret of a target; `None` when it was sealed with another key.
    pub(super) fn unseal_notice_secret(&self, id: &str, sealed: &str) -> Option<SecretString> {
        Some(String::from_utf8(self.unseal(&purpose(id), sealed)?).ok()?.into())
    }
}

impl WriteTx {
    async fn find_notice_target(&mut self, project: &str, name: &str) -> Result<Option<NoticeTarget>> {
        let target =
            sqlx::query_as(select_target!("join projects p on p.id = t.project_id where p.name = $1 and t.name = $2"))
                .bind(project)
                .bind(name)
                .fetch_optional(&mut **self)
                .await?;
        Ok(target)
    }

    pub(super) async fn notice_target(&mut self, project: &str, name: &str) -> Result<NoticeTarget> {
        self.find_notice_target(project, name).await?.ok_or_else(|| Error::not_found(KIND, name))
    }
}

/// Why nothing is sent to a target.
pub(super) fn off(name: &str) -> Error {
    Error::Conflict(format!("{name} is turned off: turn it on first"))
}

pub(super) async fn record(
    tx: &mut WriteTx,
    action: &str,
    project: &str,
    name: &str,
    to: Option<&str>,
    actor: &Actor,
) -> Result<i64> {
    tx.record(actor, Entry { action, project: Some(project), object: name, to, ..Entry::default() }).await
}

/// The id is part of what is authenticated: a secret moved from one row to another does not open.
fn purpose(id: &str) -> String {
    format!("notice-target:{id}")
}
