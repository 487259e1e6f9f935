//! What import rules do to tags: they make those that are not there, keep what they made as they say, and leave alone what somebody
//! else made or set. A tag they do not choose any more keeps its image and its history; it is only not checked on schedule.

use std::collections::{HashMap, HashSet};

use super::tag_specs::same_spec;
use super::tags::select_tag;
use super::{Error, Result, Store, TagSpec, WriteTx};
use crate::model::{Actor, ImportRule, ImportRuleSpec, SourceKind, Standing, Tag, TagName, Why};

/// What a rule has to do with a tag that it made.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
struct MadeTag {
    tag_id: String,
    rule_id: String,
    generation: i64,
    selected: i64,
}

/// What has to be done so that a stream's tags are as a rule wants them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulePlan {
    /// To be made, or to be set as the rule says now.
    pub take: Vec<String>,
    /// Made by the rule, and not chosen by it any more.
    pub let_go: Vec<String>,
    pub left_alone: usize,
}

/// A tag of the stream, as a rule looks at it.
struct Known {
    tag: Tag,
    /// Present when a rule made it.
    made: Option<MadeTag>,
    /// A build config builds it, or will.
    is_output: bool,
}

/// A stream's tags by name.
struct StreamTags(HashMap<String, Known>);

impl StreamTags {
    fn standing(&self, rule_id: &str, name: &str) -> Standing {
        standing(rule_id, self.0.get(name))
    }
}

impl Known {
    fn is_selected_by(&self, rule: &ImportRule) -> bool {
        self.made.as_ref().is_some_and(|made| made.rule_id == rule.id && made.selected == 1)
    }
}

fn standing(rule_id: &str, known: Option<&Known>) -> Standing {
    let Some(Known { tag, made, is_output }) = known else { return Standing::New };
    match made {
        Some(made) if made.rule_id != rule_id => Standing::LeftAlone(Why::OfAnotherRule),
        Some(_) if tag.deleted_at.is_some() => Standing::LeftAlone(Why::Deleted),
        Some(made) if *is_output || tag.has_spec == 0 || tag.generation != made.generation => {
            Standing::LeftAlone(Why::SetSince)
        }
        Some(_) => Standing::Own,
        // The output of builds is a name without anything, too, until the first of them ends.
        None if *is_output => Standing::LeftAlone(Why::WasThere),
        // A deleted one stands in nobody's way, nor does a name that another tag only waits for.
        None if tag.deleted_at.is_some() || (tag.has_spec == 0 && tag.digest.is_none()) => Standing::New,
        None => Standing::LeftAlone(Why::WasThere),
    }
}

impl Store {
    /// How tags of these names stand to a rule of the stream, which may be one that is only thought of (`""`).
    pub async fn rule_standings(&self, stream_id: &str, rule_id: &str, names: &[String]) -> Result<Vec<Standing>> {
        let tags = self.stream_tags(stream_id).await?;
        Ok(names.iter().map(|name| tags.standing(rule_id, name)).collect())
    }

    /// What is to be done for a rule that chooses these tags.
    pub async fn plan_import_rule(&self, rule: &ImportRule, chosen: &[String]) -> Result<RulePlan> {
        let tags = self.stream_tags(&rule.stream_id).await?;
        let mut plan = RulePlan::default();
        for name in chosen {
            match tags.standing(&rule.id, name) {
                Standing::New => plan.take.push(name.clone()),
                Standing::LeftAlone(_) => plan.left_alone += 1,
                Standing::Own => {
                    let is_right = tags.0.get(name).is_some_and(|known| {
                        known.is_selected_by(rule) && same_spec(&known.tag, &wanted(&rule.spec, name))
                    });
                    if !is_right {
                        plan.take.push(name.clone());
                    }
                }
            }
        }
        let chosen: HashSet<&str> = chosen.iter().map(String::as_str).collect();
        let own = tags.0.values().filter(|known| known.is_selected_by(rule)).map(|known| &known.tag.name);
        plan.let_go = own.filter(|name| !chosen.contains(name.as_str())).cloned().collect();
        plan.let_go.sort_unstable();
        Ok(plan)
    }

    /// Makes these tags, or sets them as the rule says now. Gives how many were new; `None` when the work is not ours any more. Of new ones
    /// that the stream has no room for none is made, and that is refused when all others are there.
    pub async fn take_rule_tags(&self, rule: &ImportRule, names: &[String], lease_ms: i64) -> Result<Option<usize>> {
        let mut tx = self.write_tx().await?;
        if !tx.keep_rule(rule, self.owner(), lease_ms).await? {
            return Ok(None);
        }
        let stream = tx.stream(&rule.project, &rule.stream).await?;
        let limited = tx.limited_tags(&stream).await?;
        let (mut made, mut beyond) = (0, None);
        for name in names {
            let known = tx.rule_tag(rule, name).await?;
            if standing(&rule.id, known.as_ref()) == Standing::New {
                beyond = limited.and_then(|limited| limited.beyond(&stream, made));
                if beyond.is_some() {
                    continue;
                }
                made += 1;
            }
            tx.take_rule_tag(rule, name, known).await?;
        }
        tx.commit().await?;
        beyond.map_or(Ok(Some(made)), |beyond| Err(beyond.into()))
    }

    /// Checks these tags no longer on schedule; those that never had an image go altogether. False when the work is not ours any more.
    pub async fn let_go_rule_tags(&self, rule: &ImportRule, names: &[String], lease_ms: i64) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        if !tx.keep_rule(rule, self.owner(), lease_ms).await? {
            return Ok(false);
        }
        for name in names {
            if let Some(known) = tx.rule_tag(rule, name).await? {
                tx.let_go_rule_tag(rule, &known).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn stream_tags(&self, stream_id: &str) -> Result<StreamTags> {
        let tags: Vec<Tag> =
            sqlx::query_as(select_tag!("where t.stream_id = $1")).bind(stream_id).fetch_all(self.pool()).await?;
        let made: Vec<MadeTag> = sqlx::query_as(
            "select m.tag_id, m.rule_id, m.generation, m.selected from import_rule_tags m join tags t on t.id = m.tag_id \
             where t.stream_id = $1",
        )
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        let outputs: Vec<(String,)> = sqlx::query_as(
            "select c.output_tag_id from build_configs c join tags t on t.id = c.output_tag_id where t.stream_id = $1",
        )
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        let mut made: HashMap<String, MadeTag> = made.into_iter().map(|made| (made.tag_id.clone(), made)).collect();
        let outputs: HashSet<String> = outputs.into_iter().map(|(id,)| id).collect();
        let known = |tag: Tag| {
            let (made, is_output) = (made.remove(&tag.id), outputs.contains(&tag.id));
            (tag.name.clone(), Known { tag, made, is_output })
        };
        Ok(StreamTags(tags.into_iter().map(known).collect()))
    }
}

impl WriteTx {
    async fn take_rule_tag(&mut self, rule: &ImportRule, name: &str, known: Option<Known>) -> Result<()> {
        let standing = standing(&rule.id, known.as_ref());
        let spec = wanted(&rule.spec, name);
        let tag = match (standing, known.map(|known| known.tag)) {
            (Standing::LeftAlone(_), _) => return Ok(()),
            (Standing::Own, Some(tag)) if is_only_rescheduled(&tag, &spec) => {
                if !same_spec(&tag, &spec) {
                    let reason = format!("{} chooses it", rule.title());
                    self.set_schedule(&tag, spec.scheduled, spec.interval_ms, &reason, &actor(rule)).await?;
                }
                tag
            }
            _ => {
                let name: TagName = name.parse().map_err(|error| Error::invalid("tag", format!("{error}")))?;
                let stream = self.stream(&rule.project, &rule.stream).await?;
                self.set_tag(&stream, &name, &spec, false, &actor(rule)).await?.tag
            }
        };
        self.mark_rule_tag(rule, &tag, tag.generation, true).await
    }

    async fn let_go_rule_tag(&mut self, rule: &ImportRule, known: &Known) -> Result<()> {
        let (tag, is_own) = (&known.tag, standing(&rule.id, Some(known)) == Standing::Own);
        if is_own && tag.digest.is_none() {
            match self.delete_tag(tag, &actor(rule)).await {
                // Nobody deleted it: the rule may choose it again.
                Ok(()) => return self.forget_rule_tag(tag).await,
                // Something waits for it, so that the name has to stay.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if is_own {
            let reason = format!("{} does not choose it any more", rule.title());
            self.set_schedule(tag, false, tag.interval_ms, &reason, &actor(rule)).await?;
        }
        let generation = known.made.as_ref().map_or(tag.generation, |made| made.generation);
        self.mark_rule_tag(rule, tag, generation, false).await
    }

    async fn rule_tag(&mut self, rule: &ImportRule, name: &str) -> Result<Option<Known>> {
        let tag: Option<Tag> = sqlx::query_as(select_tag!("where t.stream_id = $1 and t.name = $2"))
            .bind(&rule.stream_id)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?;
        let Some(tag) = tag else { return Ok(None) };
        let made =
            sqlx::query_as("select tag_id, rule_id, generation, selected from import_rule_tags where tag_id = $1")
                .bind(&tag.id)
                .fetch_optional(&mut **self)
                .await?;
        let output: Option<(String,)> = sqlx::query_as("select id from build_configs where output_tag_id = $1 limit 1")
            .bind(&tag.id)
            .fetch_optional(&mut **self)
            .await?;
        Ok(Some(Known { tag, made, is_output: output.is_some() }))
    }

    async fn forget_rule_tag(&mut self, tag: &Tag) -> Result<()> {
        sqlx::query("delete from import_rule_tags where tag_id = $1").bind(&tag.id).execute(&mut **self).await?;
        Ok(())
    }

    async fn mark_rule_tag(&mut self, rule: &ImportRule, tag: &Tag, generation: i64, is_selected: bool) -> Result<()> {
        sqlx::query(
            "insert into import_rule_tags (tag_id, rule_id, generation, selected) values ($1, $2, $3, $4) on conflict (tag_id) \
             do update set rule_id = excluded.rule_id, generation = excluded.generation, selected = excluded.selected",
        )
        .bind(&tag.id)
        .bind(&rule.id)
        .bind(generation)
        .bind(i64::from(is_selected))
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

/// What a tag of that name is to be.
fn wanted(rule: &ImportRuleSpec, name: &str) -> TagSpec {
    TagSpec {
        source: Some((SourceKind::DockerImage, rule.source(name))),
        insecure: rule.insecure == 1,
        scheduled: true,
        interval_ms: rule.interval_ms,
        import_mode: rule.import_mode.clone(),
        reference_policy: rule.reference_policy.clone(),
        ..TagSpec::default()
    }
}

/// Whether it differs at the most in when it is checked.
fn is_only_rescheduled(tag: &Tag, spec: &TagSpec) -> bool {
    same_spec(tag, &TagSpec { scheduled: tag.scheduled != 0, interval_ms: tag.interval_ms, ..spec.clone() })
}

/// Who made and set the tag, as its history tells.
fn actor(rule: &ImportRule) -> Actor {
    Actor::system(format!("import rule {}", rule.name))
}
