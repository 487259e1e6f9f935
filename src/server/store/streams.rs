//! Streams.

use super::platforms::chosen_platforms;
use super::{Entry, Error, Result, Store, WriteTx, check_version, new_id};
use crate::model::{Actor, Project, Stream, StreamName, check_repository, now};
use crate::server::wake::Controller;

macro_rules! select_stream {
    ($rest:literal) => {
        concat!(
            "select s.id, s.project_id, p.name as project, s.name, s.description, s.labels, s.annotations, s.local_lookup, \
             s.immutable_tags, s.kind_changes, \
             s.generation, s.created_at, s.created_by, s.version, r.repository as image_repository \
             from streams s join projects p on p.id = s.project_id \
             left join import_rules r on r.stream_id = s.id and r.name = 'docker-image-repository' ",
            $rest
        )
    };
}

/// What of a stream its users may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFields {
    pub description: String,
    /// JSON object of text.
    pub labels: String,
    /// JSON object of text.
    pub annotations: String,
    pub local_lookup: bool,
}

impl Default for StreamFields {
    fn default() -> Self {
        Self { description: String::new(), labels: "{}".to_owned(), annotations: "{}".to_owned(), local_lookup: false }
    }
}

impl Store {
    /// Makes a stream.
    pub async fn create_stream(
        &self,
        project: &str,
        name: &StreamName,
        fields: &StreamFields,
        actor: &Actor,
    ) -> Result<Stream> {
        let mut tx = self.write_tx().await?;
        let project = tx.project(project).await?;
        if tx.find_stream(&project.name, name.as_str()).await?.is_some() {
            return Err(Error::Exists { kind: "imagestreams", name: name.to_string() });
        }
        let stream = tx.insert_stream(&project, name, fields, actor).await?;
        tx.commit().await?;
        Ok(stream)
    }

    /// The stream of that name, made if there was none: what a first push does.
    pub async fn ensure_stream(&self, project: &str, name: &StreamName, actor: &Actor) -> Result<Stream> {
        if let Some(stream) = self.find_stream(project, name.as_str()).await? {
            return Ok(stream);
        }
        let mut tx = self.write_tx().await?;
        let stream = tx.ensure_stream(project, name, actor).await?;
        tx.commit().await?;
        Ok(stream)
    }

    /// The stream of that name.
    pub async fn find_stream(&self, project: &str, name: &str) -> Result<Option<Stream>> {
        let stream = sqlx::query_as(select_stream!("where p.name = $1 and s.name = $2"))
            .bind(project)
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(stream)
    }

    /// The stream of that name, or an error that says it is not there.
    pub async fn stream(&self, project: &str, name: &str) -> Result<Stream> {
        self.find_stream(project, name).await?.ok_or_else(|| Error::not_found("imagestreams", name))
    }

    /// Streams of a project by name, after `after`.
    pub async fn list_streams(&self, project: &str, after: &str, limit: i64) -> Result<Vec<Stream>> {
        let streams = sqlx::query_as(select_stream!("where p.name = $1 and s.name > $2 order by s.name limit $3"))
            .bind(project)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(streams)
    }

    /// Sets what may be set of a stream. With `version` given, refuses when the stream changed since.
    pub async fn update_stream(
        &self,
        project: &str,
        name: &str,
        fields: &StreamFields,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<Stream> {
        let mut tx = self.write_tx().await?;
        let stream = tx.stream(project, name).await?;
        check_version(stream.version, version)?;
        tx.change_stream(&stream, fields, actor).await?;
        tx.follow_choice(&stream, &fields.annotations, actor).await?;
        let stream = tx.stream(project, name).await?;
        tx.commit().await?;
        Ok(stream)
    }

    /// Removes a stream with its tags and their history. Refused while a build config puts its image there or an app runs a tag of it.
    pub async fn delete_stream(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let stream = tx.stream(project, name).await?;
        tx.check_no_immutable(&stream).await?;
        let user: Option<(String,)> = sqlx::query_as(
            "select 'build config ' || c.name from build_configs c join tags t on t.id = c.output_tag_id where t.stream_id = $1 \
             union all select 'app ' || a.name from apps a join tags t on t.id = a.tag_id where t.stream_id = $1 and a.deleted_at is null \
             limit 1",
        )
        .bind(&stream.id)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((user,)) = user {
            return Err(Error::Conflict(format!("the {user} uses stream {name}: delete or change it first")));
        }
        // Apps that are deleted but not yet forgotten by the engine still point to a tag; the engine's own list tells what to remove.
        sqlx::query(
            "delete from apps where deleted_at is not null and tag_id in (select id from tags where stream_id = $1)",
        )
        .bind(&stream.id)
        .execute(&mut *tx)
        .await?;
        tx.keep_past(&stream, actor).await?;
        tx.unlink_stream(&stream.id).await?;
        tx.let_go_followers(&stream.id).await?;
        sqlx::query("delete from streams where id = $1").bind(&stream.id).execute(&mut *tx).await?;
        tx.record(actor, Entry { action: "stream.delete", project: Some(project), object: name, ..Entry::default() })
            .await?;
        tx.commit().await
    }
}

impl WriteTx {
    pub(super) async fn project(&mut self, name: &str) -> Result<Project> {
        sqlx::query_as(
            "select id, name, display_name, description, created_at, created_by, version from projects where name = $1",
        )
        .bind(name)
        .fetch_optional(&mut **self)
        .await?
        .ok_or_else(|| Error::not_found("projects", name))
    }

    pub(super) async fn find_stream(&mut self, project: &str, name: &str) -> Result<Option<Stream>> {
        let stream = sqlx::query_as(select_stream!("where p.name = $1 and s.name = $2"))
            .bind(project)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?;
        Ok(stream)
    }

    pub(super) async fn stream(&mut self, project: &str, name: &str) -> Result<Stream> {
        self.find_stream(project, name).await?.ok_or_else(|| Error::not_found("imagestreams", name))
    }

    pub(super) async fn ensure_stream(&mut self, project: &str, name: &StreamName, actor: &Actor) -> Result<Stream> {
        match self.find_stream(project, name.as_str()).await? {
            Some(stream) => Ok(stream),
            None => {
                let project = self.project(project).await?;
                self.insert_stream(&project, name, &StreamFields::default(), actor).await
            }
        }
    }

    async fn insert_stream(
        &mut self,
        project: &Project,
        name: &StreamName,
        fields: &StreamFields,
        actor: &Actor,
    ) -> Result<Stream> {
        check_repository(&project.name, name.as_str())
            .map_err(|error| Error::invalid("metadata.name", error.to_string()))?;
        chosen_platforms(&fields.annotations)?;
        let entry =
            Entry { action: "stream.create", project: Some(&project.name), object: name.as_str(), ..Entry::default() };
        let version = self.record(actor, entry).await?;
        sqlx::query(
            "insert into streams (id, project_id, name, description, labels, annotations, local_lookup, created_at, created_by, version) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(new_id())
        .bind(&project.id)
        .bind(name.as_str())
        .bind(&fields.description)
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(i64::from(fields.local_lookup))
        .bind(now())
        .bind(&actor.name)
        .bind(version)
        .execute(&mut **self)
        .await?;
        // A short name in some Dockerfile may stand for this stream from now on.
        self.wake(Controller::Triggers);
        let stream = self.stream(&project.name, name.as_str()).await?;
        self.index_stream(&stream.id).await?;
        Ok(stream)
    }
}
