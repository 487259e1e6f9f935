//! What a stream forbids its tags: to move once they have an image (immutable tags), and to change between image and artifact.

use globset::GlobMatcher;

use super::moves::Move;
use super::{Entry, Error, Result, Store, WriteTx, check_version};
use crate::model::{Actor, Outcome, Stream, Tag, is_artifact, tag_glob};

/// The most patterns a stream may have.
const MAX_PATTERNS: usize = 32;

/// The rules of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagRules {
    /// Globs: tags so named stay where they point once they have an image.
    pub immutable: Vec<String>,
    /// A push may put an artifact on an image's tag, or the other way round.
    pub kind_changes: bool,
}

/// The patterns of a stream, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct ImmutableTags(Vec<GlobMatcher>);

impl ImmutableTags {
    /// Reads what a stream's row holds.
    pub fn read(patterns: &str) -> Result<Self> {
        // Most streams have none, and every move asks.
        if patterns == "[]" {
            return Ok(Self::default());
        }
        let patterns: Vec<String> = serde_json::from_str(patterns)?;
        Self::compile(&patterns)
    }

    /// Reads what somebody wrote; the refusal is at `immutable[<index>]`.
    fn compile(patterns: &[String]) -> Result<Self> {
        if patterns.len() > MAX_PATTERNS {
            return Err(Error::invalid("immutable", format!("may have at most {MAX_PATTERNS} patterns")));
        }
        let globs = patterns.iter().enumerate().map(|(index, pattern)| {
            tag_glob(pattern).map_err(|error| Error::invalid(format!("immutable[{index}]"), error.to_string()))
        });
        globs.collect::<Result<_>>().map(Self)
    }

    /// The pattern that makes tags of this name immutable.
    pub fn pattern_for(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|glob| glob.is_match(name)).map(|glob| glob.glob().glob())
    }

    /// Whether tags of this name are immutable.
    pub fn covers(&self, name: &str) -> bool {
        self.pattern_for(name).is_some()
    }
}

impl TagRules {
    /// The rules of a stream.
    pub fn of(stream: &Stream) -> Result<Self> {
        Ok(Self { immutable: serde_json::from_str(&stream.immutable_tags)?, kind_changes: stream.kind_changes != 0 })
    }
}

impl Store {
    /// Says what the stream's tags may not do. With `version` given, refuses when the stream changed since. Tags that are there already
    /// are held to it from now on.
    pub async fn set_tag_rules(
        &self,
        project: &str,
        stream: &str,
        rules: &TagRules,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<Stream> {
        ImmutableTags::compile(&rules.immutable)?;
        let mut tx = self.write_tx().await?;
        let before = tx.stream(project, stream).await?;
        check_version(before.version, version)?;
        if TagRules::of(&before)? == *rules {
            return Ok(before);
        }
        let immutable = serde_json::to_string(&rules.immutable)?;
        let told = |immutable: &str, kind_changes: bool| {
            format!("immutable {immutable}, {}", if kind_changes { "kinds may change" } else { "kinds stay" })
        };
        let entry = Entry {
            action: "stream.tag-rules",
            project: Some(project),
            object: stream,
            from: Some(&told(&before.immutable_tags, before.kind_changes != 0)),
            to: Some(&told(&immutable, rules.kind_changes)),
            ..Entry::default()
        };
        let sequence = tx.record(actor, entry).await?;
        sqlx::query("update streams set immutable_tags = $2, kind_changes = $3, version = $4 where id = $1")
            .bind(&before.id)
            .bind(&immutable)
            .bind(i64::from(rules.kind_changes))
            .bind(sequence)
            .execute(&mut *tx)
            .await?;
        let after = tx.stream(project, stream).await?;
        tx.commit().await?;
        Ok(after)
    }
}

impl WriteTx {
    /// Whether an artifact would take the tag of an image, or the other way round, where the stream does not want that.
    pub(super) async fn changes_kind(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<bool> {
        let (0, Some(from)) = (tag.kind_changes, &tag.digest) else { return Ok(false) };
        if tag.deleted_at.is_some() {
            return Ok(false);
        }
        let types: Vec<(Option<String>,)> =
            sqlx::query_as("select artifact_type from images where digest = $1 or digest = $2")
                .bind(from)
                .bind(movement.digest)
                .fetch_all(&mut **self)
                .await?;
        let artifacts = types.iter().filter(|(artifact_type,)| is_artifact(artifact_type.as_deref())).count();
        Ok(types.len() == 2 && artifacts == 1)
    }

    /// Refuses to delete a stream while some of its tags are immutable: with it they would go without anybody having the right to that.
    pub(super) async fn check_no_immutable(&mut self, stream: &Stream) -> Result<()> {
        let immutable = ImmutableTags::read(&stream.immutable_tags)?;
        if immutable.0.is_empty() {
            return Ok(());
        }
        let names: Vec<(String,)> = sqlx::query_as(
            "select name from tags where stream_id = $1 and deleted_at is null and digest is not null order by name",
        )
        .bind(&stream.id)
        .fetch_all(&mut **self)
        .await?;
        match names.iter().find(|(name,)| immutable.covers(name)) {
            Some((name,)) => Err(Error::Conflict(format!(
                "{}:{name} is immutable: a project admin deletes it, or changes the stream's rules, first",
                stream.name
            ))),
            None => Ok(()),
        }
    }
}

/// Whether a tag may not move any more: its name matches, and it points to an image.
pub(super) fn is_immutable(tag: &Tag) -> Result<bool> {
    if tag.digest.is_none() || tag.deleted_at.is_some() {
        return Ok(false);
    }
    Ok(ImmutableTags::read(&tag.immutable_tags)?.covers(&tag.name))
}

/// What whoever is refused is told.
pub(super) fn refusal(name: &str, outcome: Outcome) -> Error {
    Error::Conflict(match outcome {
        Outcome::OtherKind => format!(
            "{name} stays where it is: an artifact may not take an image's tag, nor an image an artifact's, unless the stream's rules \
             say so; take another tag"
        ),
        _ => format!(
            "{name} is immutable and stays where it is: take another tag, or let a project admin move it, with a reason"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, name: &str) -> bool {
        ImmutableTags::compile(&[pattern.to_owned()]).unwrap().covers(name)
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(covers("v*", "v1.0") && covers("v*", "v") && !covers("v*", "latest") && !covers("v*", "rev1"));
        assert!(covers("*-release", "3.1-release") && !covers("*-release", "3.1-release2"));
        assert!(covers("v[0-9]*", "v2") && !covers("v[0-9]*", "vnext"));
        assert!(covers("{stable,lts}", "lts") && !covers("{stable,lts}", "lts2"));
        assert!(covers("?.?", "3.6") && covers("1.0", "1.0") && !covers("1.0", "1x0"), "a dot is a dot");
        assert!(!covers("V*", "v1"), "names are case-sensitive");
    }

    #[test]
    fn patterns_that_cannot_be_are_refused_where_they_stand() {
        for bad in ["", "v 1", "a/b", "v\\*", "v[", "{a", "ü*", &"a".repeat(129)] {
            let patterns = ["v*".to_owned(), bad.to_owned()];
            match ImmutableTags::compile(&patterns) {
                Err(Error::Invalid { field, .. }) => assert_eq!(field, "immutable[1]", "{bad}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert!(ImmutableTags::compile(&vec!["v*".to_owned(); MAX_PATTERNS + 1]).is_err());
    }
}
