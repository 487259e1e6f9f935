//! The repository in another registry whose tags a stream takes in, as its spec says it: an import rule of a fixed name, which is made,
//! changed and removed with the stream.

use std::collections::HashSet;

use super::{Error, Result, WriteTx};
use crate::model::{Actor, ImportRule, ImportRuleSpec, Stream};

/// Where a stream's spec says it.
const FIELD: &str = "spec.dockerImageRepository";

/// A repository to take all tags of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRepository {
    /// Without a tag, as typed.
    pub name: String,
    /// Plain HTTP and any certificate will do. It counts where the repository is new: later it is the rule's own business.
    pub insecure: bool,
}

impl WriteTx {
    /// Makes the stream take in this repository, or none. Where it does already, all that was set of the rule since stays; another
    /// repository leaves that as it is, too, but for how it is reached.
    pub(super) async fn set_image_repository(
        &mut self,
        stream: &Stream,
        wanted: Option<&ImageRepository>,
        actor: &Actor,
    ) -> Result<()> {
        if stream.image_repository.as_ref() == wanted.map(|wanted| &wanted.name) {
            return Ok(());
        }
        let rule = self.find_import_rule(&stream.project, &stream.name, ImportRule::OF_STREAM).await?;
        let Some(wanted) = wanted else {
            return match rule {
                Some(rule) => self.delete_rule(stream, &rule, actor).await,
                None => Ok(()),
            };
        };
        let all = ImportRuleSpec { insecure: wanted.insecure.into(), ..ImportRuleSpec::all_of(&wanted.name) };
        let set = match rule {
            None => self.insert_rule(stream, ImportRule::OF_STREAM, &all, false, actor).await,
            Some(rule) => {
                let spec = ImportRuleSpec { repository: all.repository, insecure: all.insecure, ..rule.spec.clone() };
                self.change_rule(stream, &rule, &spec, rule.paused_at.is_some(), actor).await
            }
        };
        set.map_err(at_field)
    }

    /// Ids of the tags that came with the stream's repository, and that nobody made follow anything else since.
    pub(super) async fn tags_of_image_repository(&mut self, stream: &Stream) -> Result<HashSet<String>> {
        if stream.image_repository.is_none() {
            return Ok(HashSet::new());
        }
        let ids: Vec<(String,)> = sqlx::query_as(
            "select t.id from import_rules r join import_rule_tags m on m.rule_id = r.id join tags t on t.id = m.tag_id \
             where r.stream_id = $1 and r.name = $2 \
             and (t.generation = m.generation or (t.source_kind = 'DockerImage' and t.source = r.repository || ':' || t.name))",
        )
        .bind(&stream.id)
        .bind(ImportRule::OF_STREAM)
        .fetch_all(&mut **self)
        .await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }
}

/// The repository is all that the stream's spec says of the rule: whatever is wrong is wrong there.
fn at_field(error: Error) -> Error {
    let field = FIELD.to_owned();
    match error {
        Error::Invalid { message, .. } => Error::Invalid { field, message },
        Error::Forbidden { cause, .. } => Error::Forbidden { field, cause },
        other => other,
    }
}

#[cfg(test)]
mod tests;
