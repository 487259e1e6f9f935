//! Trying an import, or a rule of imports: what it would bring or choose now, with nothing kept.

use std::time::{Duration, Instant};

use super::{Fetched, ImportError, Importer, MOST_SEEN, Selection};
use crate::model::{Actor, ImageReference, ImportRule, ImportRuleSpec, RuleTrial, SourceKind, Stream, Tag, TagName};
use crate::server::oci::Error as OciError;
use crate::server::store::{self, TagSpec};

/// How long somebody waits for a trial, and how many pages it reads at the most; then it tells what it has.
const PATIENCE: Duration = Duration::from_secs(20);
const MOST_PAGES: usize = 100;
/// Trials at a time: each holds a whole list in memory.
pub(super) const AT_ONCE: usize = 2;

impl Importer {
    /// The image that a tag of the stream would import now. `tag` is the one that would be changed, where there is one.
    pub async fn try_import(
        &self,
        stream: &Stream,
        tag: Option<&Tag>,
        spec: &TagSpec,
        actor: &Actor,
    ) -> Result<Fetched, ImportError> {
        let source = spec.source.as_ref().filter(|(kind, _)| *kind == SourceKind::DockerImage);
        let text = source.map(|(_, text)| text.as_str()).unwrap_or_default();
        let reference: ImageReference =
            text.parse().map_err(|error| store::Error::invalid("reference", format!("{error}")))?;
        self.store.check_registry("reference", &reference, spec.insecure, actor).await?;
        let selection = tag.map_or_else(|| Selection::of_stream(stream), |tag| Selection::of(stream, tag));
        let place = tokio::time::timeout(PATIENCE, self.shared.trials.acquire()).await;
        let _place = place.map_err(|_| ImportError::Crowded)?.map_err(|_| ImportError::Stopping)?;
        let selection = selection.in_mode(&spec.import_mode);
        let look = self.look(&stream.project, text, spec.insecure, &selection);
        let looked = tokio::time::timeout(PATIENCE, look).await;
        looked.map_err(|_| OciError::Timeout { registry: reference.as_repository().exact() })?
    }

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
