//! Projects.

use super::{Entry, Error, Result, Store, new_id};
use crate::model::{Actor, Moment, Project, ProjectName, now};
use crate::server::wake::Controller;

macro_rules! select_project {
    ($rest:literal) => {
        concat!("select p.id, p.name, p.display_name, p.description, p.created_at, p.created_by, p.version from projects p ", $rest)
    };
}

impl Store {
    /// Makes a project; its maker becomes its admin when `owner` is a user's id.
    pub async fn create_project(
        &self,
        name: &ProjectName,
        display_name: &str,
        description: &str,
        owner: Option<&str>,
        actor: &Actor,
    ) -> Result<Project> {
        let mut tx = self.write_tx().await?;
        let taken: Option<(String,)> = sqlx::query_as("select id from projects where name = $1")
            .bind(name.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if taken.is_some() {
            return Err(Error::Exists { kind: "projects", name: name.to_string() });
        }
        let entry =
            Entry { action: "project.create", project: Some(name.as_str()), object: name.as_str(), ..Entry::default() };
        let version = tx.record(actor, entry).await?;
        let project: Project = sqlx::query_as(
            "insert into projects (id, name, display_name, description, created_at, created_by, version) \
             values ($1, $2, $3, $4, $5, $6, $7) \
             returning id, name, display_name, description, created_at, created_by, version",
        )
        .bind(new_id())
        .bind(name.as_str())
        .bind(display_name)
        .bind(description)
        .bind(now())
        .bind(&actor.name)
        .bind(version)
        .fetch_one(&mut *tx)
        .await?;
        if let Some(owner) = owner {
            sqlx::query(
                "insert into role_bindings (project_id, user_id, role, created_at) values ($1, $2, 'admin', $3)",
            )
            .bind(&project.id)
            .bind(owner)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(project)
    }

    /// The project of that name.
    pub async fn find_project(&self, name: &str) -> Result<Option<Project>> {
        Ok(sqlx::query_as(select_project!("where p.name = $1")).bind(name).fetch_optional(self.pool()).await?)
    }

    /// The project of that name, or an error that says it is not there.
    pub async fn project(&self, name: &str) -> Result<Project> {
        self.find_project(name).await?.ok_or_else(|| Error::not_found("projects", name))
    }

    /// Projects a user has a role in, by name; all of them for `user_id` = `None`. Pages by name.
    pub async fn list_projects(&self, user_id: Option<&str>, after: &str, limit: i64) -> Result<Vec<Project>> {
        let projects = sqlx::query_as(select_project!(
            "where p.name > $1 and ($2 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $2)) \
             order by p.name limit $3"
        ))
        .bind(after)
        .bind(user_id.unwrap_or_default())
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(projects)
    }

    /// Projects of [`Store::list_projects`] that were there at a moment. Those deleted since are gone with all that was in them, and with who
    /// might see them.
    pub async fn list_projects_then(
        &self,
        user_id: Option<&str>,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Project>> {
        let projects = sqlx::query_as(select_project!(
            "where p.name > $1 and ($2 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $2)) \
             and p.created_at < $4 order by p.name limit $3"
        ))
        .bind(after)
        .bind(user_id.unwrap_or_default())
        .bind(limit)
        .bind(moment.end)
        .fetch_all(self.pool())
        .await?;
        Ok(projects)
    }

    /// Removes a project with everything in it. Images stay until nothing needs their bytes.
    pub async fn delete_project(&self, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let project: Project = sqlx::query_as(select_project!("where p.name = $1"))
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("projects", name))?;
        tx.unlink_project(&project.id).await?;
        tx.let_go_followers(&project.id).await?;
        // Configs and apps point to tags, which go with their streams: they have to go first.
        for statement in [
            "delete from build_configs where project_id = $1",
            "delete from apps where project_id = $1",
            "delete from projects where id = $1",
        ] {
            sqlx::query(statement).bind(&project.id).execute(&mut *tx).await?;
        }
        tx.record(actor, Entry { action: "project.delete", project: Some(name), object: name, ..Entry::default() })
            .await?;
        // What ran there is on the engine still; the rollout controller compares the engine with the table.
        tx.wake(Controller::Rollouts);
        tx.commit().await
    }
}
