//! Which configs build by themselves: the rule that lets a change flow through the graph without glitches.
//!
//! A config is *stale* when the digest of any of its triggering inputs differs from the one used by its last request. It is *ready* when
//! it is stale and none of the configs upstream of it is stale, queued or running. Only ready configs are requested, so the bottom of a
//! diamond builds once. An upstream that failed or was cancelled used its inputs up and counts as settled.
//!
//! What a freeze of its project holds up stays stale, and holds nobody up: a rollback below it, or another project, goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::{BuildRequest, resolve};
use super::configs::{select_config, select_input};
use super::freezes::{is_decided_in, may_go_on};
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, Build, BuildConfig, ConfigInput, now};

/// A config that is stale and may build by itself, with its inputs and the move that made it so.
struct Stale {
    config: BuildConfig,
    inputs: Vec<ConfigInput>,
    /// Sequence and cascade of the newest move among its stale inputs.
    cause: i64,
    cascade: String,
    /// The tag whose move it is.
    moved: String,
}

/// Upstream relations between configs: to each config those whose output it takes in, directly or through tags that follow.
#[derive(Default)]
struct Upstream(BTreeMap<String, BTreeSet<String>>);

impl Upstream {
    /// Whether any config in `blocking` is upstream of `config`, transitively.
    fn is_blocked(&self, config: &str, blocking: &BTreeSet<String>) -> bool {
        let mut seen = BTreeSet::new();
        let mut queue = vec![config];
        while let Some(at) = queue.pop() {
            for upstream in self.0.get(at).into_iter().flatten() {
                if blocking.contains(upstream) {
                    return true;
                }
                if seen.insert(upstream.as_str()) {
                    queue.push(upstream);
                }
            }
        }
        false
    }
}

impl Store {
    /// Requests a build of every ready config, and the first build of new configs that ask for one. Safe to run any number of times.
    pub async fn request_ready_builds(&self) -> Result<Vec<Build>> {
        if !self.may_have_work().await? {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let mut requested = Vec::new();
        for config in tx.new_configs().await? {
            let inputs = tx.inputs(&config.id).await?;
            // A config whose base has no image yet waits: its image trigger builds it when that comes.
            let Ok(resolved) = resolve(&config, &inputs) else { continue };
            let request = BuildRequest {
                kind: "config",
                text: "Build configuration change".to_owned(),
                cause: Some(config.version),
                ..BuildRequest::manual(Actor::person(config.created_by.clone()))
            };
            requested.push(tx.request_build(&config, resolved, request).await?);
        }
        let stale = tx.stale_configs().await?;
        if !stale.is_empty() {
            let upstream = tx.upstream().await?;
            let mut blocking = tx.configs_under_way().await?;
            blocking.extend(stale.iter().map(|stale| stale.config.id.clone()));
            let active = tx.configs_under_way().await?;
            for stale in stale {
                if active.contains(&stale.config.id) || upstream.is_blocked(&stale.config.id, &blocking) {
                    continue;
                }
                let resolved = resolve(&stale.config, &stale.inputs)?;
                let request = BuildRequest {
                    kind: "image",
                    text: format!("Image change: {}", stale.moved),
                    cause: Some(stale.cause),
                    cascade: Some(stale.cascade),
                    ..BuildRequest::manual(Actor::system("image change"))
                };
                requested.push(tx.request_build(&stale.config, resolved, request).await?);
            }
        }
        tx.commit().await?;
        Ok(requested)
    }

    /// A cheap look without the write lock.
    async fn may_have_work(&self) -> Result<bool> {
        let found: Option<(i64,)> = sqlx::query_as(concat!(
            "select 1 from build_configs c where c.paused_at is null and c.inspected_generation = c.generation \
             and c.inspect_error is null and ((c.last_number = 0 and c.config_trigger = 1) or (c.image_trigger = 1 and exists (\
               select 1 from build_inputs i join projects ip on ip.name = i.input_project \
               join streams s on s.project_id = ip.id and s.name = i.input_stream \
               join tags t on t.stream_id = s.id and t.name = i.input_tag and t.deleted_at is null \
               where i.config_id = c.id and i.triggering = 1 and t.digest is not null and t.refers_to is null \
               and (i.used_digest is null or i.used_digest <> t.digest) and ",
            may_go_on!("c.project_id", "c.asked_sequence", "$1"),
            "))) limit 1"
        ))
        .bind(now())
        .fetch_optional(self.pool())
        .await?;
        Ok(found.is_some())
    }
}

impl WriteTx {
    async fn new_configs(&mut self) -> Result<Vec<BuildConfig>> {
        let configs = sqlx::query_as(select_config!(
            "where c.last_number = 0 and c.config_trigger = 1 and c.paused_at is null and c.inspected_generation = c.generation \
             and c.inspect_error is null and not exists (select 1 from build_inputs i where i.config_id = c.id and i.input_stream is not null)"
        ))
        .fetch_all(&mut **self)
        .await?;
        Ok(configs)
    }

    /// Stale configs that can and may build by themselves. One that waits for a base without an image, or for the end of a freeze, holds
    /// nobody up.
    async fn stale_configs(&mut self) -> Result<Vec<Stale>> {
        let stale = concat!(
            "where c.image_trigger = 1 and c.paused_at is null and c.inspected_generation = c.generation and c.inspect_error is null \
             and exists (select 1 from build_inputs i join projects ip on ip.name = i.input_project \
               join streams x on x.project_id = ip.id and x.name = i.input_stream \
               join tags t on t.stream_id = x.id and t.name = i.input_tag and t.deleted_at is null \
               where i.config_id = c.id and i.triggering = 1 and t.digest is not null and t.refers_to is null \
               and (i.used_digest is null or i.used_digest <> t.digest) and ",
            may_go_on!("c.project_id", "c.asked_sequence", "$1"),
            ") order by c.id"
        );
        let configs: Vec<BuildConfig> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{}{stale}", select_config!(""))))
            .bind(now())
            .fetch_all(&mut **self)
            .await?;
        let mut stale = Vec::new();
        for config in configs {
            let mut inputs = self.inputs(&config.id).await?;
            if resolve(&config, &inputs).is_err() {
                continue;
            }
            let Some(sequence) = self.newest_cause(&config, &mut inputs).await? else { continue };
            let Some(input) = inputs.iter().find(|input| input.event_sequence == Some(sequence)) else { continue };
            let moved =
                input.stands_for().map_or_else(|| input.reference.clone(), |tag| format!("{}:{}", tag.stream, tag.tag));
            let cascade: (String,) = sqlx::query_as("select cascade_id from tag_events where sequence = $1")
                .bind(sequence)
                .fetch_one(&mut **self)
                .await?;
            stale.push(Stale { config, inputs, cause: sequence, cascade: cascade.0, moved });
        }
        Ok(stale)
    }

    /// The newest move that a stale config may be built for. In a freeze these are what somebody decided, and other inputs are left at what was
    /// used of them: they are not brought along, and stay stale.
    async fn newest_cause(&mut self, config: &BuildConfig, inputs: &mut [ConfigInput]) -> Result<Option<i64>> {
        let stale = inputs.iter_mut().filter(|input| input.is_stale());
        if !self.is_frozen(&config.project_id).await? {
            return Ok(stale.filter_map(|input| input.event_sequence).max());
        }
        let (mut newest, mut kept) = (None, Vec::new());
        for input in stale {
            match input.event_sequence {
                Some(sequence) if self.is_asked_for(config, sequence).await? => newest = newest.max(Some(sequence)),
                _ => kept.push(input),
            }
        }
        // What was never used cannot be left at that.
        for input in kept.into_iter().filter(|input| newest.is_some() && input.used_digest.is_some()) {
            input.digest.clone_from(&input.used_digest);
        }
        Ok(newest)
    }

    /// Whether a tag's move is what somebody decided in the config's project, or was there when the config was made.
    async fn is_asked_for(&mut self, config: &BuildConfig, sequence: i64) -> Result<bool> {
        let asked: Option<(i64,)> = sqlx::query_as(concat!(
            "select 1 from tag_events e join cascades k on k.id = e.cascade_id join build_configs c on c.id = $2 \
             where e.sequence = $1 and (c.asked_sequence > e.sequence or ",
            is_decided_in!("c.project_id"),
            ")"
        ))
        .bind(sequence)
        .bind(&config.id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(asked.is_some())
    }

    /// Configs with a build that is queued or running.
    async fn configs_under_way(&mut self) -> Result<BTreeSet<String>> {
        let ids: Vec<(String,)> =
            sqlx::query_as("select distinct config_id from builds where phase in ('New', 'Pending', 'Running')")
                .fetch_all(&mut **self)
                .await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    async fn upstream(&mut self) -> Result<Upstream> {
        let makers: Vec<(String, String)> =
            sqlx::query_as("select output_tag_id, id from build_configs").fetch_all(&mut **self).await?;
        let mut makers_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (tag, config) in makers {
            makers_of.entry(tag).or_default().insert(config);
        }
        let follows: Vec<(String, String)> = sqlx::query_as(
            "select id, follows_tag_id from tags where follows_tag_id is not null and deleted_at is null",
        )
        .fetch_all(&mut **self)
        .await?;
        let follows: BTreeMap<String, String> = follows.into_iter().collect();
        let inputs: Vec<ConfigInput> =
            sqlx::query_as(select_input!("where i.input_stream is not null")).fetch_all(&mut **self).await?;
        let mut upstream = Upstream::default();
        for input in inputs {
            let mut tag = input.tag_id;
            let mut steps = 0;
            while let Some(id) = tag {
                if let Some(makers) = makers_of.get(&id) {
                    upstream.0.entry(input.config_id.clone()).or_default().extend(makers.iter().cloned());
                }
                // Follows form no cycles; the bound only guards against a database edited by hand.
                steps += 1;
                tag = follows.get(&id).filter(|_| steps < 64).cloned();
            }
        }
        Ok(upstream)
    }

    /// Accepts, without a build, what a cascade moved the inputs of these configs to. What another one changed stays stale.
    pub(super) async fn settle_configs(&mut self, config_ids: &BTreeSet<String>, cascade: &str) -> Result<()> {
        for id in config_ids {
            sqlx::query(
                "update build_inputs set used_digest = m.digest, used_at = $3 from (select i.config_id, i.position, t.digest \
                   from build_inputs i join projects ip on ip.name = i.input_project \
                   join streams s on s.project_id = ip.id and s.name = i.input_stream \
                   join tags t on t.stream_id = s.id and t.name = i.input_tag and t.deleted_at is null \
                   join tag_events e on e.sequence = t.event_sequence \
                   where i.config_id = $1 and e.cascade_id = $2 and t.digest is not null and t.refers_to is null) m \
                 where m.config_id = build_inputs.config_id and m.position = build_inputs.position",
            )
            .bind(id)
            .bind(cascade)
            .bind(now())
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    /// What an input was last built with, or accepted at: it is stale once its tag points elsewhere.
    pub(super) async fn note_used(&mut self, config_id: &str, position: i64, digest: Option<&str>) -> Result<()> {
        sqlx::query("update build_inputs set used_digest = $3, used_at = $4 where config_id = $1 and position = $2")
            .bind(config_id)
            .bind(position)
            .bind(digest)
            .bind(now())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Ids of configs that take in one of these tags.
    pub(super) async fn configs_fed_by(&mut self, tag_ids: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut configs = BTreeSet::new();
        for tag_id in tag_ids {
            let ids: Vec<(String,)> = sqlx::query_as(
                "select distinct i.config_id from build_inputs i join tags t on t.id = $1 join streams s on s.id = t.stream_id \
                 join projects p on p.id = s.project_id \
                 where i.input_project = p.name and i.input_stream = s.name and i.input_tag = t.name",
            )
            .bind(tag_id)
            .fetch_all(&mut **self)
            .await?;
            configs.extend(ids.into_iter().map(|(id,)| id));
        }
        Ok(configs)
    }

    /// Tags downstream of a tag: by following and by builds, transitively, in the order they are reached, without the tag itself.
    pub(super) async fn downstream_tags(&mut self, tag_id: &str) -> Result<(Vec<String>, BTreeSet<String>)> {
        let mut tags = Vec::new();
        let mut configs = BTreeSet::new();
        let mut seen = BTreeSet::from([tag_id.to_owned()]);
        let mut queue = std::collections::VecDeque::from([tag_id.to_owned()]);
        while let Some(at) = queue.pop_front() {
            let mut next: Vec<String> = Vec::new();
            let followers: Vec<(String,)> =
                sqlx::query_as("select id from tags where follows_tag_id = $1 and deleted_at is null order by id")
                    .bind(&at)
                    .fetch_all(&mut **self)
                    .await?;
            next.extend(followers.into_iter().map(|(id,)| id));
            for config in self.configs_fed_by(&BTreeSet::from([at.clone()])).await? {
                if configs.insert(config.clone()) {
                    next.push(self.config_by_id(&config).await?.output_tag_id);
                }
            }
            for tag in next {
                if seen.insert(tag.clone()) {
                    tags.push(tag.clone());
                    queue.push_back(tag);
                }
            }
        }
        Ok((tags, configs))
    }

    /// Records in the ledger that a cascade changed state.
    pub(super) async fn record_cascade(
        &mut self,
        action: &str,
        project: &str,
        number: i64,
        id: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<i64> {
        let object = format!("cascade {number}");
        let entry =
            Entry { action, project: Some(project), object: &object, reason, cascade: Some(id), ..Entry::default() };
        self.record(actor, entry).await
    }
}

#[cfg(test)]
mod tests;
