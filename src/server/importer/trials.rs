//! Trying an import rule: what it would choose now, with nothing kept.

use std::time::{Duration, Instant};

use super::{ImportError, Importer};
use crate::model::{Actor, ImportRuleSpec, RuleTrial, Stream, TagName};
use crate::server::oci::Error as OciError;
use crate::server::store;

/// How long somebody waits for a trial, and how many pages it reads at the most; then it tells what it has.
const PATIENCE: Duration = Duration::from_secs(20);
const MOST_PAGES: usize = 100;

impl Importer {
    /// What such a rule of the stream would do, as the repository is now. `rule_id` is that of the rule it would take the place of, or
    /// empty.
    pub async fn try_rule(
        &self,
        stream: &Stream,
        spec: &ImportRuleSpec,
        rule_id: &str,
        actor: &Actor,
    ) -> Result<RuleTrial, ImportError> {
        self.store.check_import_rule(spec, actor).await?;
        let (tags, is_whole) = self.list_for_a_while(&stream.project, spec).await?;
        let tags = tags.into_iter().filter(|tag| tag.parse::<TagName>().is_ok()).collect();
        let spec = spec.clone();
        let choice = tokio::task::spawn_blocking(move || spec.choose(tags)).await.map_err(|_| ImportError::Stopping)?;
        let choice = choice.map_err(|error| store::Error::invalid("pattern", error.to_string()))?;
        let standings = self.store.rule_standings(&stream.id, rule_id, &choice.tags).await?;
        let tags = choice.tags.into_iter().zip(standings).collect();
        Ok(RuleTrial { seen: choice.seen, is_whole, fitting: choice.fitting, tags })
    }

    /// The repository's tags, as far as they are told in time, and whether these are all.
    async fn list_for_a_while(&self, project: &str, spec: &ImportRuleSpec) -> Result<(Vec<String>, bool), ImportError> {
        let began = Instant::now();
        let (mut tags, mut after) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let page = self.list_tags_page(project, &spec.repository, spec.insecure == 1, after.as_deref());
            let page = match tokio::time::timeout(left, page).await {
                Ok(page) => page?,
                Err(_) if tags.is_empty() => {
                    return Err(OciError::Timeout { registry: spec.repository.clone() }.into());
                }
                Err(_) => return Ok((tags, false)),
            };
            tags.extend(page.tags);
            after = page.next;
            if after.is_none() {
                return Ok((tags, true));
            }
        }
        Ok((tags, false))
    }
}
