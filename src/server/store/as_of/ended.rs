//! What is about to go or to change, kept for the past: only lists and pages of a moment read these tables. What keeps images alive does
//! not look here.

use crate::model::{Actor, App, BuildConfig, Stream, now};
use crate::server::store::{Result, WriteTx};

/// Columns of rollouts that the past shows.
const ROLLOUT: &str = "number, digest, repository, kind, spec, to_number, actor_kind, actor, reason, sequence, cause, cascade_id, phase, message, \
     created_at, started_at, finished_at";

/// Columns of builds that the past shows.
const BUILD: &str = "config_id, project_id, number, phase, reason, message, spec, inputs, revision, commit_requested, trigger_kind, trigger_text, \
     actor_kind, actor, sequence, cause, cascade_id, rebuild_of, attempt, steps, output_digest, output_sequence, queued_at, started_at, finished_at, \
     cancel_requested_at, cancel_requested_by, version";

/// Columns of histories.
const EVENT: &str = "sequence, tag_id, stream_id, number, outcome, digest, reference, from_digest, generation, kind, actor_kind, actor, reason, cause, \
     cascade_id, build_id, to_sequence, at, sorted_at, repeats, repeated_at, renewed_at, request_id";

impl WriteTx {
    /// Keeps the description of a stream, which is about to get another one.
    pub(in crate::server::store) async fn keep_description(&mut self, stream: &Stream) -> Result<()> {
        sqlx::query(
            "insert into former_descriptions (stream_id, project_id, until, description) values ($1, $2, $3, $4)",
        )
        .bind(&stream.id)
        .bind(&stream.project_id)
        .bind(now())
        .bind(&stream.description)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Keeps what the past has to know of a stream that is about to be deleted.
    pub(in crate::server::store) async fn keep_past(&mut self, stream: &Stream, actor: &Actor) -> Result<()> {
        sqlx::query(
            "insert into ended_streams (id, project_id, name, description, created_at, created_by, deleted_at, deleted_by) \
             select id, project_id, name, description, created_at, created_by, $2, $3 from streams where id = $1",
        )
        .bind(&stream.id)
        .bind(now())
        .bind(&actor.name)
        .execute(&mut **self)
        .await?;
        for statement in [
            "insert into ended_tags (id, stream_id, name, name_key, version_key) \
             select id, stream_id, name, name_key, version_key from tags where stream_id = $1"
                .to_owned(),
            format!("insert into ended_tag_events ({EVENT}) select {EVENT} from tag_events where stream_id = $1"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(&stream.id).execute(&mut **self).await?;
        }
        sqlx::query(
            "insert into ended_holds (owner_id, project_id, actor, reason, since, sequence, ended_at) \
             select h.tag_id, $2, h.actor, h.reason, h.since, h.sequence, coalesce(h.ended_at, $3) from holds h \
             join tags t on t.id = h.tag_id where t.stream_id = $1",
        )
        .bind(&stream.id)
        .bind(&stream.project_id)
        .bind(now())
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Keeps an app that is deleted, with its rollouts and holds.
    pub(in crate::server::store) async fn keep_app(&mut self, app: &App, actor: &Actor) -> Result<()> {
        sqlx::query(
            "insert into ended_apps (id, project_id, name, created_at, created_by, deleted_at, deleted_by) \
             select id, project_id, name, created_at, created_by, $2, $3 from apps where id = $1",
        )
        .bind(&app.id)
        .bind(now())
        .bind(&actor.name)
        .execute(&mut **self)
        .await?;
        let rollouts = format!(
            "insert into ended_rollouts (id, app_id, {ROLLOUT}) select id, app_id, {ROLLOUT} from rollouts where app_id = $1"
        );
        sqlx::query(sqlx::AssertSqlSafe(rollouts)).bind(&app.id).execute(&mut **self).await?;
        sqlx::query(
            "insert into ended_holds (owner_id, project_id, actor, reason, since, sequence, ended_at) \
             select app_id, $2, actor, reason, since, sequence, coalesce(ended_at, $3) from holds where app_id = $1",
        )
        .bind(&app.id)
        .bind(&app.project_id)
        .bind(now())
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Where an older server beside this one changed a build config, it says since when the config says what it does: what it said before
    /// is not known.
    pub(in crate::server::store) async fn settle_config_spec(&mut self, config: &BuildConfig) -> Result<()> {
        sqlx::query(
            "update build_configs set spec_since = (select max(l.at) from ledger l where l.action = 'config.update' and l.project = $2 \
               and l.object = $3 and l.sequence > build_configs.spec_sequence) where id = $1 and exists (select 1 from ledger l \
               where l.action = 'config.update' and l.project = $2 and l.object = $3 and l.sequence > build_configs.spec_sequence)",
        )
        .bind(&config.id)
        .bind(&config.project)
        .bind(&config.name)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Keeps what a build config said, which is about to say something else.
    pub(in crate::server::store) async fn keep_config_spec(&mut self, config: &BuildConfig) -> Result<()> {
        let at = now();
        sqlx::query(
            "insert into former_configs (config_id, project_id, since, until, spec) \
             select id, project_id, spec_since, $2, $3 from build_configs where id = $1",
        )
        .bind(&config.id)
        .bind(at)
        .bind(kept_spec(config)?)
        .execute(&mut **self)
        .await?;
        sqlx::query("update build_configs set spec_since = $2 where id = $1")
            .bind(&config.id)
            .bind(at)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Keeps a build config that is about to be deleted, with its builds.
    pub(in crate::server::store) async fn keep_config(&mut self, config: &BuildConfig, actor: &Actor) -> Result<()> {
        self.settle_config_spec(config).await?;
        sqlx::query(
            "insert into ended_configs (id, project_id, name, spec, spec_since, last_number, created_at, created_by, deleted_at, deleted_by) \
             select id, project_id, name, $4, spec_since, last_number, created_at, created_by, $2, $3 from build_configs where id = $1",
        )
        .bind(&config.id)
        .bind(now())
        .bind(&actor.name)
        .bind(kept_spec(config)?)
        .execute(&mut **self)
        .await?;
        self.keep_builds("config_id", &config.id, &config.name).await
    }

    /// Keeps a build that is about to be deleted.
    pub(in crate::server::store) async fn keep_build(&mut self, id: &str, config: &str) -> Result<()> {
        self.keep_builds("id", id, config).await
    }

    async fn keep_builds(&mut self, column: &str, id: &str, config: &str) -> Result<()> {
        let statement = format!(
            "insert into ended_builds (id, config, deleted_at, {BUILD}) select id, $2, $3, {BUILD} from builds where {column} = $1"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id).bind(config).bind(now()).execute(&mut **self).await?;
        Ok(())
    }
}

/// JSON of what is kept of a config's spec.
fn kept_spec(config: &BuildConfig) -> Result<String> {
    Ok(serde_json::to_string(&config.spec()?.without_values())?)
}
