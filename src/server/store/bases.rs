//! What an image is built on: as its build knows, else as the image says, else as its layers show.

use super::{Result, Scope, Store};
use crate::model::{
    BASE_DIGEST, BASE_NAME, Base, BaseKnown, Image, ImageConfig, InputKind, Named, ResolvedInput, Stream, StreamTag,
};
use crate::server::hash::chain_ids;

/// What the image's own annotations and labels say.
pub(super) struct Said {
    pub name: Option<String>,
    pub digest: Option<String>,
}

/// What the build took in that brought image `$1` to a tag of stream `$2`, the last such build.
pub(super) const BUILD_INPUTS: &str = "select b.inputs from tag_events e join tags t on t.id = e.tag_id join builds b on b.id = e.build_id \
     where e.digest = $1 and t.stream_id = $2 order by e.sequence desc limit 1";

impl Store {
    /// The base of an image of this stream. Of other projects it tells what `scope` may see.
    pub async fn find_base(
        &self,
        scope: Scope<'_>,
        own_hosts: &[String],
        stream: &Stream,
        image: &Image,
    ) -> Result<Option<Base>> {
        let config: ImageConfig =
            image.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let said = Said::of(&image.annotations, &config);
        if let Some(mut base) = self.base_by_build(stream, &image.digest, &said).await? {
            base.behind = self.moves_since(scope, &base).await?;
            return Ok(Some(base));
        }
        if said.name.is_some() || said.digest.is_some() {
            let tag = said.name.as_deref().and_then(|name| tag_of(name, &stream.project, own_hosts));
            let Said { name, digest } = said;
            let mut base = Base { known: BaseKnown::Annotation, name, digest, tag, behind: None };
            base.behind = self.moves_since(scope, &base).await?;
            return Ok(Some(base));
        }
        let Some(mut base) = self.base_by_layers(scope, &config).await? else { return Ok(None) };
        base.behind = self.moves_since(scope, &base).await?;
        Ok(Some(base))
    }

    /// The input that the image's build began its last stage from.
    async fn base_by_build(&self, stream: &Stream, digest: &str, said: &Said) -> Result<Option<Base>> {
        let inputs: Option<(String,)> =
            sqlx::query_as(BUILD_INPUTS).bind(digest).bind(&stream.id).fetch_optional(self.pool()).await?;
        inputs.map_or(Ok(None), |(inputs,)| base_of_inputs(&inputs, said))
    }

    /// The image that has most of this one's layers, from the lowest on, and no others; with a tag that points or pointed to it.
    async fn base_by_layers(&self, scope: Scope<'_>, config: &ImageConfig) -> Result<Option<Base>> {
        for chain in chain_ids(&config.rootfs.diff_ids).iter().rev().skip(1) {
            let found: Option<(String, String, String, Option<String>)> = sqlx::query_as(
                "select i.digest, p.name as project, s.name as stream, (select t.name from tag_events e join tags t on t.id = e.tag_id \
                   where e.digest = i.digest and t.stream_id = s.id and t.deleted_at is null and e.outcome = 'moved' \
                   order by e.sequence desc limit 1) as tag \
                 from images i join repository_images r on r.digest = i.digest join streams s on s.id = r.stream_id \
                 join projects p on p.id = s.project_id where i.chain_id = $1 \
                 and ($2 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $2)) and ($3 = '' or p.name = $3) \
                 order by i.first_seen_at, i.digest, p.name, s.name limit 1",
            )
            .bind(chain)
            .bind(scope.user_id.unwrap_or_default())
            .bind(scope.project.unwrap_or_default())
            .fetch_optional(self.pool())
            .await?;
            if let Some((digest, project, stream, tag)) = found {
                let name = Some(format!("{project}/{stream}"));
                let tag = tag.map(|tag| StreamTag { project, stream, tag });
                let name = tag.as_ref().map(ToString::to_string).or(name);
                return Ok(Some(Base { known: BaseKnown::Layers, name, digest: Some(digest), tag, behind: None }));
            }
        }
        Ok(None)
    }

    /// How far the base's tag has moved on; none when there is no such tag in sight, or it never pointed there.
    async fn moves_since(&self, scope: Scope<'_>, base: &Base) -> Result<Option<i64>> {
        let (Some(tag), Some(digest)) = (&base.tag, &base.digest) else { return Ok(None) };
        let behind: Option<(Option<i64>,)> = sqlx::query_as(
            "select case when exists (select 1 from tag_events e where e.tag_id = t.id and e.digest = $4 and e.outcome = 'moved') then \
               (select count(*) from tag_events e where e.tag_id = t.id and e.outcome = 'moved' and e.number > (\
                 select max(x.number) from tag_events x where x.tag_id = t.id and x.digest = $4 and x.outcome = 'moved')) end as behind \
             from tags t join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
             where p.name = $1 and s.name = $2 and t.name = $3 and t.deleted_at is null \
             and ($5 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $5)) and ($6 = '' or p.name = $6)",
        )
        .bind(&tag.project)
        .bind(&tag.stream)
        .bind(&tag.tag)
        .bind(digest)
        .bind(scope.user_id.unwrap_or_default())
        .bind(scope.project.unwrap_or_default())
        .fetch_optional(self.pool())
        .await?;
        Ok(behind.and_then(|(behind,)| behind))
    }
}

impl Said {
    /// `annotations` are a JSON object of text.
    pub(super) fn of(annotations: &str, config: &ImageConfig) -> Self {
        let annotations: std::collections::BTreeMap<String, String> =
            serde_json::from_str(annotations).unwrap_or_default();
        let label = |name: &str| annotations.get(name).or_else(|| config.config.labels.get(name)).cloned();
        let filled = |text: &String| !text.is_empty();
        Self { name: label(BASE_NAME).filter(filled), digest: label(BASE_DIGEST).filter(filled) }
    }
}

/// What a build began its last stage from, of its `inputs` as JSON.
pub(super) fn base_of_inputs(inputs: &str, said: &Said) -> Result<Option<Base>> {
    let inputs: Vec<ResolvedInput> = serde_json::from_str(inputs)?;
    let is_said = |input: &&ResolvedInput| input.digest.is_some() && input.digest == said.digest;
    let by_strategy = |input: &&ResolvedInput| input.kind == InputKind::Strategy;
    let by_from = |input: &&ResolvedInput| input.kind == InputKind::From;
    let input = inputs
        .iter()
        .find(is_said)
        .or_else(|| inputs.iter().find(by_strategy))
        .or_else(|| inputs.iter().rev().find(by_from));
    Ok(input.map(|input| Base {
        known: BaseKnown::Provenance,
        name: Some(input.tag.as_ref().map_or_else(|| input.reference.clone(), ToString::to_string)),
        // Of an image elsewhere the build knew no digest; what it pulled stands in the image's annotations.
        digest: input.digest.clone().or_else(|| said.digest.clone()),
        tag: input.tag.clone(),
        behind: None,
    }))
}

/// The tag of this server that a base's name is; a short name was one of Docker Hub's when the image was built elsewhere.
fn tag_of(name: &str, project: &str, own_hosts: &[String]) -> Option<StreamTag> {
    match Named::read(name, project, own_hosts) {
        Ok(Named::Tag { tag, short: false }) => Some(tag),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
