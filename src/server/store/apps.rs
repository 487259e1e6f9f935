//! Apps and their rollouts: what should run, and what was observed running.

use super::holds::{Held, check_until};
use super::rollouts::RolloutRequest;
use super::{Entry, Error, Result, Store, WriteTx, check_version, new_id};
use crate::model::{Actor, App, AppName, AppSpec, Hold, HoldUntil, StreamTag, now};
use crate::server::wake::Controller;

macro_rules! select_app {
    ($rest:literal) => {
        concat!(
            "select a.id, a.project_id, p.name as project, a.name, a.labels, a.annotations, a.spec, a.tag_id, ip.name as image_project, \
             s.name as image_stream, t.name as image_tag, case when t.refers_to is null then t.digest end as tag_digest, a.automatic, a.generation, a.last_number, \
             r.digest as wanted_digest, r.phase as wanted_phase, r.message as wanted_message, a.observed, a.observed_at, \
             a.observe_error, h.since as held_since, a.created_at, a.created_by, a.deleted_at, a.version \
             from apps a join projects p on p.id = a.project_id join tags t on t.id = a.tag_id join streams s on s.id = t.stream_id \
             join projects ip on ip.id = s.project_id left join rollouts r on r.app_id = a.id and r.number = a.last_number \
             left join holds h on h.app_id = a.id and h.ended_at is null ",
            $rest
        )
    };
}
pub(super) use select_app;

/// What of an app its users may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFields {
    /// JSON object of text.
    pub labels: String,
    /// JSON object of text.
    pub annotations: String,
    pub spec: AppSpec,
    /// The tag whose image it runs; it must exist.
    pub image: StreamTag,
    /// A move of the tag rolls it out.
    pub automatic: bool,
}

impl Store {
    /// Makes an app. Its first rollout starts as soon as its tag points to an image.
    pub async fn create_app(&self, project: &str, name: &AppName, fields: &AppFields, actor: &Actor) -> Result<App> {
        check_spec(&fields.spec)?;
        let mut tx = self.write_tx().await?;
        let owner = tx.project(project).await?;
        match tx.find_app(project, name.as_str()).await? {
            Some(app) if app.deleted_at.is_none() => {
                return Err(Error::Exists { kind: "deployments", name: name.to_string() });
            }
            // Deleted, but the engine has not forgotten it yet: the new app takes its place there.
            Some(app) => {
                sqlx::query("delete from apps where id = $1").bind(&app.id).execute(&mut *tx).await?;
            }
            None => {}
        }
        let tag_id = tx.app_tag(&fields.image).await?;
        let entry = Entry { action: "app.create", project: Some(project), object: name.as_str(), ..Entry::default() };
        let version = tx.record(actor, entry).await?;
        sqlx::query(
            "insert into apps (id, project_id, name, labels, annotations, spec, tag_id, automatic, created_at, created_by, version, \
             asked_sequence) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        )
        .bind(new_id())
        .bind(&owner.id)
        .bind(name.as_str())
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(serde_json::to_string(&fields.spec)?)
        .bind(tag_id)
        .bind(i64::from(fields.automatic))
        .bind(now())
        .bind(&actor.name)
        .bind(version)
        .execute(&mut *tx)
        .await?;
        tx.wake(Controller::Triggers);
        let app = tx.app(project, name.as_str()).await?;
        tx.index_workload("app", &app.id).await?;
        tx.commit().await?;
        Ok(app)
    }

    /// Changes an app. A change of how it runs rolls it out with the image it has.
    pub async fn update_app(
        &self,
        project: &str,
        name: &str,
        fields: &AppFields,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<App> {
        check_spec(&fields.spec)?;
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        check_version(app.version, version)?;
        let tag_id = tx.app_tag(&fields.image).await?;
        let entry = Entry { action: "app.update", project: Some(project), object: name, ..Entry::default() };
        let sequence = tx.record(actor, entry).await?;
        let spec = serde_json::to_string(&fields.spec)?;
        sqlx::query(
            "update apps set labels = $2, annotations = $3, spec = $4, tag_id = $5, automatic = $6, generation = generation + 1, \
             version = $7 where id = $1",
        )
        .bind(&app.id)
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(&spec)
        .bind(tag_id)
        .bind(i64::from(fields.automatic))
        .bind(sequence)
        .execute(&mut *tx)
        .await?;
        if spec != app.spec
            && let Some(newest) = tx.newest_rollout(&app).await?
        {
            let request = RolloutRequest {
                kind: "config",
                digest: newest.digest,
                repository: newest.repository,
                spec,
                to_number: None,
                actor: actor.clone(),
                reason: None,
                cause: Some(sequence),
                cascade: None,
            };
            tx.request_rollout(&app, request).await?;
        }
        tx.wake(Controller::Triggers);
        let app = tx.app(project, name).await?;
        tx.commit().await?;
        Ok(app)
    }

    /// Marks an app as deleted; its row goes once the engine has forgotten it.
    pub async fn delete_app(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        let entry = Entry { action: "app.delete", project: Some(project), object: name, ..Entry::default() };
        let sequence = tx.record(actor, entry).await?;
        tx.keep_app(&app, actor).await?;
        sqlx::query("delete from search_entries where app_id = $1").bind(&app.id).execute(&mut *tx).await?;
        sqlx::query("update apps set deleted_at = $2, version = $3 where id = $1")
            .bind(&app.id)
            .bind(now())
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        tx.wake(Controller::Rollouts);
        tx.commit().await
    }

    /// The engine has forgotten the app: so does the table.
    pub async fn forget_app(&self, app_id: &str) -> Result<()> {
        sqlx::query("delete from apps where id = $1 and deleted_at is not null")
            .bind(app_id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The app of that name.
    pub async fn find_app(&self, project: &str, name: &str) -> Result<Option<App>> {
        let app = sqlx::query_as(select_app!("where p.name = $1 and a.name = $2 and a.deleted_at is null"))
            .bind(project)
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(app)
    }

    /// The app of that name, or an error that says it is not there.
    pub async fn app(&self, project: &str, name: &str) -> Result<App> {
        self.find_app(project, name).await?.ok_or_else(|| Error::not_found("deployments", name))
    }

    /// Apps of a project by name, after `after`.
    pub async fn list_apps(&self, project: &str, after: &str, limit: i64) -> Result<Vec<App>> {
        let apps = sqlx::query_as(select_app!(
            "where p.name = $1 and a.name > $2 and a.deleted_at is null order by a.name limit $3"
        ))
        .bind(project)
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(apps)
    }

    /// Every app of every project, deleted ones included: what the rollout controller looks after.
    pub async fn list_all_apps(&self) -> Result<Vec<App>> {
        Ok(sqlx::query_as(select_app!("order by a.id")).fetch_all(self.pool()).await?)
    }

    /// Apps that run a tag's image.
    pub async fn list_apps_using(&self, tag_id: &str) -> Result<Vec<App>> {
        let apps = sqlx::query_as(select_app!(
            "where a.tag_id = $1 and a.deleted_at is null order by p.name, a.name limit 500"
        ))
        .bind(tag_id)
        .fetch_all(self.pool())
        .await?;
        Ok(apps)
    }

    /// What keeps the app where it is, if anything.
    pub async fn app_hold(&self, app_id: &str) -> Result<Option<Hold>> {
        let hold = sqlx::query_as(
            "select id, actor, reason, since, sequence, cascade_id, until_newer, until_at from holds where app_id = $1 and ended_at is null limit 1",
        )
        .bind(app_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(hold)
    }

    /// Keeps automation from rolling the app out until somebody resumes it, or until what is said.
    pub async fn hold_app(
        &self,
        project: &str,
        name: &str,
        reason: Option<&str>,
        until: HoldUntil,
        actor: &Actor,
    ) -> Result<()> {
        check_until(until)?;
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        tx.hold(&held(&app), reason, until, None, actor).await?;
        tx.commit().await
    }

    /// Lets automation roll the app out again; what waited follows at once.
    pub async fn resume_app(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        let reason = tx.reason_in_freeze(&app.project_id, None).await?;
        let Some((_, sequence)) = tx.end_hold_for(&held(&app), reason.as_deref(), actor).await? else {
            return Err(Error::Conflict(format!("{name} is not held")));
        };
        sqlx::query("update apps set asked_sequence = $2 where id = $1")
            .bind(&app.id)
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Takes an app for one step of work; false when another worker has it.
    pub async fn claim_app(&self, app_id: &str, owner: &str, lease_ms: i64) -> Result<bool> {
        let claimed = sqlx::query(
            "update apps set lease_owner = $2, lease_until = $3 where id = $1 \
             and (lease_owner is null or lease_owner = $2 or lease_until < $4)",
        )
        .bind(app_id)
        .bind(owner)
        .bind(now() + lease_ms)
        .bind(now())
        .execute(self.pool())
        .await?
        .rows_affected();
        Ok(claimed == 1)
    }

    /// Gives an app back.
    pub async fn release_app(&self, app_id: &str, owner: &str) -> Result<()> {
        sqlx::query("update apps set lease_owner = null, lease_until = null where id = $1 and lease_owner = $2")
            .bind(app_id)
            .bind(owner)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// What the engine said, as JSON, or why it could not be asked. Writes only differences; open pages are told of them.
    pub async fn observe_app(&self, app: &App, observed: std::result::Result<&str, &str>) -> Result<()> {
        let (seen, error) = match observed {
            Ok(seen) => (Some(seen), None),
            Err(error) => (app.observed.as_deref(), Some(error)),
        };
        let changed = seen != app.observed.as_deref() || error != app.observe_error.as_deref();
        let observed_at = if error.is_some() { app.observed_at } else { Some(now()) };
        if !changed {
            sqlx::query("update apps set observed_at = $2 where id = $1")
                .bind(&app.id)
                .bind(observed_at)
                .execute(self.pool())
                .await?;
            return Ok(());
        }
        let mut tx = self.write_tx().await?;
        sqlx::query("update apps set observed = $2, observed_at = $3, observe_error = $4 where id = $1")
            .bind(&app.id)
            .bind(seen)
            .bind(observed_at)
            .bind(error)
            .execute(&mut *tx)
            .await?;
        tx.touch(&app.project);
        tx.commit().await
    }
}

fn check_spec(spec: &AppSpec) -> Result<()> {
    spec.check().map_err(|error| Error::invalid("spec", error.to_string()))
}

pub(super) fn held(app: &App) -> Held<'_> {
    Held::App { id: &app.id, project: &app.project, name: &app.name }
}

impl WriteTx {
    async fn find_app(&mut self, project: &str, name: &str) -> Result<Option<App>> {
        let app = sqlx::query_as(select_app!("where p.name = $1 and a.name = $2"))
            .bind(project)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?;
        Ok(app)
    }

    pub(super) async fn app(&mut self, project: &str, name: &str) -> Result<App> {
        self.find_app(project, name)
            .await?
            .filter(|app| app.deleted_at.is_none())
            .ok_or_else(|| Error::not_found("deployments", name))
    }

    pub(super) async fn app_by_id(&mut self, id: &str) -> Result<App> {
        sqlx::query_as(select_app!("where a.id = $1"))
            .bind(id)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("deployments", id))
    }

    async fn app_tag(&mut self, image: &StreamTag) -> Result<String> {
        match self.live_tag(&image.project, &image.stream, &image.tag).await {
            Ok(tag) => Ok(tag.id),
            Err(Error::NotFound { .. }) => {
                let near: Vec<(String,)> = sqlx::query_as(
                    "select s.name || ':' || t.name from tags t join streams s on s.id = t.stream_id \
                     join projects p on p.id = s.project_id where p.name = $1 and t.deleted_at is null \
                     order by case when s.name = $2 then 0 else 1 end, s.name, t.name limit 5",
                )
                .bind(&image.project)
                .bind(&image.stream)
                .fetch_all(&mut **self)
                .await?;
                let near: Vec<String> = near.into_iter().map(|(name,)| name).collect();
                let hint = if near.is_empty() {
                    "push, import or build an image first".to_owned()
                } else {
                    format!("there are {}", near.join(", "))
                };
                let message =
                    format!("{}:{} does not exist in project {}: {hint}", image.stream, image.tag, image.project);
                Err(Error::invalid("image", message))
            }
            Err(error) => Err(error),
        }
    }
}
