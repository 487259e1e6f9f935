//! Build configs: their definition, and the inputs that tie them to tags.

use std::collections::{BTreeMap, BTreeSet};

use super::members::has_any_role;
use super::{Entry, Error, Result, Store, WriteTx, check_version, new_id};
use crate::model::{
    Actor, AppName, BuildConfig, BuildConfigSpec, ConfigInput, KnownInputs, NewConfigInput, StreamTag, now,
};
use crate::server::wake::Controller;

macro_rules! select_config {
    ($rest:literal) => {
        concat!(
            "select c.id, c.project_id, p.name as project, c.name, c.labels, c.annotations, c.spec, c.output_tag_id, \
             s.name as output_stream, t.name as output_tag, c.image_trigger, c.config_trigger, c.paused_at, c.generation, \
             c.inspected_generation, c.inspect_error, c.last_number, c.created_at, c.created_by, c.written_by, c.version \
             from build_configs c join projects p on p.id = c.project_id join tags t on t.id = c.output_tag_id \
             join streams s on s.id = t.stream_id ",
            $rest
        )
    };
}
pub(super) use select_config;

macro_rules! select_input {
    ($rest:literal) => {
        concat!(
            "select i.config_id, i.position, i.kind, i.stage, i.reference, i.input_project, i.input_stream, i.input_tag, i.short_name, \
             i.triggering, i.how, i.used_digest, i.used_at, t.id as tag_id, \
             case when t.refers_to is null then t.digest end as digest, t.event_sequence, t.reference as tag_reference, \
             t.reference_policy as tag_policy, coalesce(t.refers_to, case when t.source_kind = 'DockerImage' then t.source end) as tag_external, \
             cast(case when t.refers_to is null then 0 else 1 end as bigint) as tag_reference_only \
             from build_inputs i left join projects ip on ip.name = i.input_project \
             left join streams s on s.project_id = ip.id and s.name = i.input_stream \
             left join tags t on t.stream_id = s.id and t.name = i.input_tag and t.deleted_at is null ",
            $rest
        )
    };
}
pub(super) use select_input;

/// What of a build config its users may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFields {
    /// JSON object of text.
    pub labels: String,
    /// JSON object of text.
    pub annotations: String,
    pub spec: BuildConfigSpec,
    /// A move of an input's tag builds it.
    pub image_trigger: bool,
    /// Its creation builds it.
    pub config_trigger: bool,
    pub paused: bool,
    pub inputs: KnownInputs,
}

impl ConfigFields {
    /// A config that builds by itself: when it is made, and when an input's tag moves.
    pub fn new(spec: BuildConfigSpec, inputs: KnownInputs) -> Self {
        let nothing = || "{}".to_owned();
        let (labels, annotations) = (nothing(), nothing());
        Self { labels, annotations, spec, image_trigger: true, config_trigger: true, paused: false, inputs }
    }
}

impl Store {
    /// Makes a build config, and its output stream when there is none. Refuses a cycle with its path.
    pub async fn create_config(
        &self,
        project: &str,
        name: &AppName,
        fields: &ConfigFields,
        actor: &Actor,
    ) -> Result<BuildConfig> {
        let mut tx = self.write_tx().await?;
        if tx.find_config(project, name.as_str()).await?.is_some() {
            return Err(Error::Exists { kind: "buildconfigs", name: name.to_string() });
        }
        let owner = tx.project(project).await?;
        let output = tx.output_tag(project, &fields.spec, actor).await?;
        let entry =
            Entry { action: "config.create", project: Some(project), object: name.as_str(), ..Entry::default() };
        let version = tx.record(actor, entry).await?;
        let id = new_id();
        sqlx::query(
            "insert into build_configs (id, project_id, name, labels, annotations, spec, output_tag_id, image_trigger, config_trigger, \
             paused_at, created_at, spec_since, created_by, written_by, version, asked_sequence, spec_sequence) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $12, $13, $13, $13)",
        )
        .bind(&id)
        .bind(&owner.id)
        .bind(name.as_str())
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(serde_json::to_string(&fields.spec)?)
        .bind(output)
        .bind(i64::from(fields.image_trigger))
        .bind(i64::from(fields.config_trigger))
        .bind(fields.paused.then(now))
        .bind(now())
        .bind(&actor.name)
        .bind(version)
        .execute(&mut *tx)
        .await?;
        tx.take_inputs(&id, &fields.inputs).await?;
        tx.index_workload("build", &id).await?;
        tx.wake(Controller::Triggers);
        let config = tx.config(project, name.as_str()).await?;
        tx.commit().await?;
        Ok(config)
    }

    /// Changes a build config. Edits never build (OpenShift's rule); the next build uses them. With `version` given, refuses when the
    /// config changed since.
    pub async fn update_config(
        &self,
        project: &str,
        name: &str,
        fields: &ConfigFields,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<BuildConfig> {
        let mut tx = self.write_tx().await?;
        let config = tx.config(project, name).await?;
        check_version(config.version, version)?;
        let output = tx.output_tag(project, &fields.spec, actor).await?;
        tx.settle_config_spec(&config).await?;
        let entry = Entry { action: "config.update", project: Some(project), object: name, ..Entry::default() };
        let sequence = tx.record(actor, entry).await?;
        let spec = serde_json::to_string(&fields.spec)?;
        let changed = spec != config.spec;
        if changed {
            tx.keep_config_spec(&config).await?;
        }
        sqlx::query(
            "update build_configs set labels = $2, annotations = $3, spec = $4, output_tag_id = $5, image_trigger = $6, \
             config_trigger = $7, paused_at = $8, generation = generation + $9, version = $10, spec_sequence = $10, written_by = $11 where id = $1",
        )
        .bind(&config.id)
        .bind(&fields.labels)
        .bind(&fields.annotations)
        .bind(&spec)
        .bind(output)
        .bind(i64::from(fields.image_trigger))
        .bind(i64::from(fields.config_trigger))
        .bind(if fields.paused { config.paused_at.or_else(|| Some(now())) } else { None })
        .bind(i64::from(changed))
        .bind(sequence)
        .bind(&actor.name)
        .execute(&mut *tx)
        .await?;
        tx.take_inputs(&config.id, &fields.inputs).await?;
        tx.wake(Controller::Triggers);
        let config = tx.config(project, name).await?;
        tx.commit().await?;
        Ok(config)
    }

    /// Pauses or unpauses a config's triggers.
    pub async fn pause_config(&self, project: &str, name: &str, paused: bool, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let config = tx.config(project, name).await?;
        let action = if paused { "config.pause" } else { "config.resume" };
        let sequence =
            tx.record(actor, Entry { action, project: Some(project), object: name, ..Entry::default() }).await?;
        sqlx::query("update build_configs set paused_at = $2, version = $3 where id = $1")
            .bind(&config.id)
            .bind(paused.then(now))
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        tx.wake(Controller::Triggers);
        tx.commit().await
    }

    /// Records what a config's Dockerfile takes in, or why it could not be read. Refused quietly when the config changed meanwhile.
    pub async fn record_inspection(
        &self,
        config_id: &str,
        generation: i64,
        inputs: std::result::Result<&[NewConfigInput], &str>,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let config: Option<BuildConfig> = sqlx::query_as(select_config!("where c.id = $1 and c.generation = $2"))
            .bind(config_id)
            .bind(generation)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(config) = config else { return Ok(()) };
        let problem = match inputs {
            Ok(inputs) => match tx.write_inputs(&config.id, inputs).await {
                Ok(()) => None,
                Err(Error::Invalid { message, .. }) => Some(message),
                Err(error) => return Err(error),
            },
            Err(problem) => Some(problem.to_owned()),
        };
        if let Some(problem) = problem {
            sqlx::query("update build_configs set inspected_generation = generation, inspect_error = $2 where id = $1")
                .bind(&config.id)
                .bind(problem)
                .execute(&mut *tx)
                .await?;
        }
        tx.touch(&config.project);
        tx.wake(Controller::Triggers);
        tx.commit().await
    }

    /// Configs whose Dockerfile was not read yet as they are now.
    pub async fn list_uninspected_configs(&self) -> Result<Vec<BuildConfig>> {
        let configs =
            sqlx::query_as(select_config!("where c.inspected_generation < c.generation order by c.version limit 100"))
                .fetch_all(self.pool())
                .await?;
        Ok(configs)
    }

    /// Asks for the Dockerfile to be read again, after a failure.
    pub async fn reinspect_config(&self, project: &str, name: &str) -> Result<()> {
        let config = self.config(project, name).await?;
        sqlx::query("update build_configs set inspected_generation = 0, inspect_error = null where id = $1")
            .bind(&config.id)
            .execute(self.pool())
            .await?;
        self.wake().of(Controller::Inspect).notify_one();
        Ok(())
    }

    /// Removes a config with its builds. What they pushed stays.
    pub async fn delete_config(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let config = tx.config(project, name).await?;
        let running: Option<(i64,)> = sqlx::query_as(
            "select number from builds where config_id = $1 and phase in ('Pending', 'Running') limit 1",
        )
        .bind(&config.id)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((number,)) = running {
            return Err(Error::Conflict(format!("build {name}-{number} is running: cancel it first")));
        }
        tx.keep_config(&config, actor).await?;
        sqlx::query("delete from build_configs where id = $1").bind(&config.id).execute(&mut *tx).await?;
        tx.record(actor, Entry { action: "config.delete", project: Some(project), object: name, ..Entry::default() })
            .await?;
        tx.wake(Controller::Triggers);
        tx.commit().await
    }

    /// The config of that name.
    pub async fn find_config(&self, project: &str, name: &str) -> Result<Option<BuildConfig>> {
        let config = sqlx::query_as(select_config!("where p.name = $1 and c.name = $2"))
            .bind(project)
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(config)
    }

    /// The config of that name, or an error that says it is not there.
    pub async fn config(&self, project: &str, name: &str) -> Result<BuildConfig> {
        self.find_config(project, name).await?.ok_or_else(|| Error::not_found("buildconfigs", name))
    }

    /// Configs of a project by name, after `after`.
    pub async fn list_configs(&self, project: &str, after: &str, limit: i64) -> Result<Vec<BuildConfig>> {
        let configs = sqlx::query_as(select_config!("where p.name = $1 and c.name > $2 order by c.name limit $3"))
            .bind(project)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(configs)
    }

    /// Inputs of a config, in the order of its Dockerfile.
    pub async fn list_inputs(&self, config_id: &str) -> Result<Vec<ConfigInput>> {
        let inputs = sqlx::query_as(select_input!("where i.config_id = $1 order by i.position"))
            .bind(config_id)
            .fetch_all(self.pool())
            .await?;
        Ok(inputs)
    }

    /// Configs that take in a tag, with the input that does.
    pub async fn list_configs_using(&self, tag: &StreamTag) -> Result<Vec<BuildConfig>> {
        let configs = sqlx::query_as(select_config!(
            "where exists (select 1 from build_inputs i where i.config_id = c.id and i.input_project = $1 and i.input_stream = $2 \
             and i.input_tag = $3) order by p.name, c.name limit 500"
        ))
        .bind(&tag.project)
        .bind(&tag.stream)
        .bind(&tag.tag)
        .fetch_all(self.pool())
        .await?;
        Ok(configs)
    }
}

impl WriteTx {
    pub(super) async fn find_config(&mut self, project: &str, name: &str) -> Result<Option<BuildConfig>> {
        let config = sqlx::query_as(select_config!("where p.name = $1 and c.name = $2"))
            .bind(project)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?;
        Ok(config)
    }

    pub(super) async fn config(&mut self, project: &str, name: &str) -> Result<BuildConfig> {
        self.find_config(project, name).await?.ok_or_else(|| Error::not_found("buildconfigs", name))
    }

    pub(super) async fn config_by_id(&mut self, id: &str) -> Result<BuildConfig> {
        sqlx::query_as(select_config!("where c.id = $1"))
            .bind(id)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("buildconfigs", id))
    }

    pub(super) async fn inputs(&mut self, config_id: &str) -> Result<Vec<ConfigInput>> {
        let inputs = sqlx::query_as(select_input!("where i.config_id = $1 order by i.position"))
            .bind(config_id)
            .fetch_all(&mut **self)
            .await?;
        Ok(inputs)
    }

    async fn output_tag(&mut self, project: &str, spec: &BuildConfigSpec, actor: &Actor) -> Result<String> {
        let stream = self.ensure_stream(project, &spec.output_stream, actor).await?;
        Ok(self.ensure_tag(&stream, &spec.output_tag).await?.id)
    }

    /// Takes in what is known of the inputs of a config that was just written. Those of a Dockerfile that has still to be fetched stay
    /// as they were until it is: forgetting what they were built with would build them again.
    async fn take_inputs(&mut self, config_id: &str, known: &KnownInputs) -> Result<()> {
        match known {
            KnownInputs::All(inputs) => self.write_inputs(config_id, inputs).await,
            KnownInputs::Declared(declared) => {
                let config = self.config_by_id(config_id).await?;
                let found = self.inputs(config_id).await?;
                let found = found.iter().filter(|input| input.how == "found").filter_map(ConfigInput::stands_for);
                let named = declared.iter().filter_map(|input| input.stands_for.clone());
                self.refuse_build_cycle(&config, &named.chain(found).collect()).await?;
                self.refuse_foreign_images(&config, declared).await?;
                self.wake(Controller::Inspect);
                Ok(())
            }
        }
    }

    /// Replaces a config's inputs, keeping what was used of those that stay, and marks its Dockerfile as read.
    pub(super) async fn write_inputs(&mut self, config_id: &str, inputs: &[NewConfigInput]) -> Result<()> {
        let config = self.config_by_id(config_id).await?;
        let wanted = inputs.iter().filter_map(|input| input.stands_for.clone()).collect();
        self.refuse_build_cycle(&config, &wanted).await?;
        self.refuse_foreign_images(&config, inputs).await?;
        let before: BTreeMap<(String, String), ConfigInput> = self
            .inputs(config_id)
            .await?
            .into_iter()
            .map(|input| ((input.kind.clone(), input.reference.clone()), input))
            .collect();
        sqlx::query("delete from build_inputs where config_id = $1").bind(config_id).execute(&mut **self).await?;
        for (position, input) in (0_i64..).zip(inputs) {
            let kept = before.get(&(input.kind.as_str().to_owned(), input.reference.clone()));
            let triggering = kept.map_or(1, |kept| kept.triggering);
            sqlx::query(
                "insert into build_inputs (config_id, position, kind, stage, reference, input_project, input_stream, input_tag, \
                 short_name, triggering, how, used_digest, used_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            )
            .bind(config_id)
            .bind(position)
            .bind(input.kind.as_str())
            .bind(&input.stage)
            .bind(&input.reference)
            .bind(input.stands_for.as_ref().map(|tag| tag.project.as_str()))
            .bind(input.stands_for.as_ref().map(|tag| tag.stream.as_str()))
            .bind(input.stands_for.as_ref().map(|tag| tag.tag.as_str()))
            .bind(i64::from(input.short_name))
            .bind(triggering)
            .bind(if input.declared { "declared" } else { "found" })
            .bind(kept.and_then(|kept| kept.used_digest.as_deref()))
            .bind(kept.and_then(|kept| kept.used_at))
            .execute(&mut **self)
            .await?;
        }
        sqlx::query("update build_configs set inspected_generation = generation, inspect_error = null where id = $1")
            .bind(config_id)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// A config that would feed itself, through others or through tags that follow, would build for ever.
    async fn refuse_build_cycle(&mut self, config: &BuildConfig, wanted: &BTreeSet<StreamTag>) -> Result<()> {
        let edges = self.edges_without(&config.id).await?;
        let output = StreamTag {
            project: config.project.clone(),
            stream: config.output_stream.clone(),
            tag: config.output_tag.clone(),
        };
        let mut reached: BTreeMap<StreamTag, StreamTag> = BTreeMap::new();
        let mut queue = vec![output.clone()];
        while let Some(tag) = queue.pop() {
            if wanted.contains(&tag) {
                let mut path = vec![tag.clone()];
                let mut at = &tag;
                while let Some(before) = reached.get(at) {
                    path.push(before.clone());
                    at = before;
                }
                path.reverse();
                let text: Vec<String> =
                    path.iter().chain([&output]).map(|tag| format!("{}:{}", tag.stream, tag.tag)).collect();
                let message = format!("{} would build on its own output: {}", config.name, text.join(" → "));
                return Err(Error::invalid("spec.output.to.name", message));
            }
            for (from, to) in &edges {
                if *from == tag && *to != output && !reached.contains_key(to) {
                    reached.insert(to.clone(), tag.clone());
                    queue.push(to.clone());
                }
            }
        }
        Ok(())
    }

    /// A config may build on images of other projects only where who wrote it may pull.
    async fn refuse_foreign_images(&mut self, config: &BuildConfig, inputs: &[NewConfigInput]) -> Result<()> {
        for tag in inputs.iter().filter_map(|input| input.stands_for.as_ref()) {
            if tag.project != config.project && !has_any_role(&mut **self, &tag.project, &config.written_by).await? {
                let message = format!(
                    "{} builds on {tag}, and {}, who wrote {0} last, has no role in project {}: ask one of its admins for viewer",
                    config.name, config.written_by, tag.project
                );
                return Err(Error::invalid("spec.source", message));
            }
        }
        Ok(())
    }

    /// Which tag leads to which, by builds of all other configs and by following.
    async fn edges_without(&mut self, config_id: &str) -> Result<Vec<(StreamTag, StreamTag)>> {
        type Row = (String, String, String, String, String, String);
        let rows: Vec<Row> = sqlx::query_as(
            "select i.input_project, i.input_stream, i.input_tag, p.name, s.name, t.name from build_inputs i \
             join build_configs c on c.id = i.config_id join projects p on p.id = c.project_id join tags t on t.id = c.output_tag_id \
             join streams s on s.id = t.stream_id where c.id <> $1 and i.input_stream is not null \
             union all select fp.name, fs.name, f.name, p.name, s.name, t.name from tags t join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id join tags f on f.id = t.follows_tag_id join streams fs on fs.id = f.stream_id \
             join projects fp on fp.id = fs.project_id where t.deleted_at is null",
        )
        .bind(config_id)
        .fetch_all(&mut **self)
        .await?;
        let edge = |(a, b, c, d, e, f): Row| {
            (StreamTag { project: a, stream: b, tag: c }, StreamTag { project: d, stream: e, tag: f })
        };
        Ok(rows.into_iter().map(edge).collect())
    }
}
