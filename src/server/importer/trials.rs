//! Trying an import rule: what it would choose now, with nothing kept.

use std::time::{Duration, Instant};

use super::{ImportError, Importer, MOST_SEEN};
use crate::model::{Actor, ImportRule, ImportRuleSpec, RuleTrial, Stream, TagName};
use crate::server::oci::Error as OciError;
use crate::server::store;

/// How long somebody waits for a trial, and how many pages it reads at the most; then it tells what it has.
const PATIENCE: Duration = Duration::from_secs(20);
const MOST_PAGES: usize = 100;
/// Trials at a time: each holds a whole list in memory.
pub(super) const AT_ONCE: usize = 2;

impl Importer {
    /// What such a rule of the stream would do, as the repository is now. `rule` is the one that it would take the place of.
    pub async fn try_rule(
        &self,
        stream: &Stream,
        spec: &ImportRuleSpec,
        rule: Option<&ImportRule>,
        actor: &Actor,
    ) -> Result<RuleTrial, ImportError> {
        self.store.check_import_rule(spec, rule.map(|rule| &rule.spec), actor).await?;
        let place = tokio::time::timeout(PATIENCE, self.shared.trials.acquire()).await;
        let _place = place.map_err(|_| ImportError::Crowded)?.map_err(|_| ImportError::Stopping)?;
        let (tags, is_whole) = self.list_for_a_while(&stream.project, spec).await?;
        let spec = spec.clone();
        let choice = tokio::task::spawn_blocking(move || spec.choose(tags)).await.map_err(|_| ImportError::Stopping)?;
        let choice = choice.map_err(|error| store::Error::invalid("pattern", error.to_string()))?;
        let rule_id = rule.map(|rule| rule.id.as_str()).unwrap_or_default();
        let standings = self.store.rule_standings(&stream.id, rule_id, &choice.tags).await?;
        let tags = choice.tags.into_iter().zip(standings).collect();
        Ok(RuleTrial { seen: choice.seen, is_whole, fitting: choice.fitting, tags })
    }

    /// The repository's tags, as far as they are told in time and can be tags here, and whether these are all.
    async fn list_for_a_while(&self, project: &str, spec: &ImportRuleSpec) -> Result<(Vec<String>, bool), ImportError> {
        let began = Instant::now();
        let (mut tags, mut after, mut told) = (Vec::new(), None::<String>, 0);
        for _ in 0..MOST_PAGES {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let page = self.list_tags_page(project, &spec.repository, spec.insecure == 1, after.as_deref());
            let page = match tokio::time::timeout(left, page).await {
                Ok(page) => page?,
                Err(_) if told == 0 => {
                    return Err(OciError::Timeout { registry: spec.repository.clone() }.into());
                }
                Err(_) => return Ok((tags, false)),
            };
            // What is no tag here counts, too: it was read all the same.
            told += page.tags.len();
            let fitting = page.tags.into_iter().filter(|tag| tag.parse::<TagName>().is_ok());
            tags.extend(fitting.take(MOST_SEEN.saturating_sub(tags.len())));
            if told > MOST_SEEN {
                return Ok((tags, false));
            }
            after = page.next;
            if after.is_none() {
                return Ok((tags, !page.breaks_off));
            }
        }
        Ok((tags, false))
    }
}
