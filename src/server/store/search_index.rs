//! Keeps what a search finds by: entries and their terms, written with the thing they are for. What images are built on is found by
//! `search_bases.rs`; `search_fill.rs` writes what was there before, and what somebody else wrote.

use super::{Result, WriteTx};
use crate::model::{ImageConfig, SearchTerms, title_term};

/// The same `insert` with room for so many terms.
macro_rules! insert_terms {
    ($($rows:literal),+) => {
        concat!(
            "insert into search_terms (project_id, kind, entry_id, field, term) values ($1, $2, $3, $4, $5)",
            $(", ($1, $2, $3, ", $rows, ")",)+
            " on conflict do nothing"
        )
    };
}

/// With how many terms a statement goes, and the statement: a few for names, many for images.
const FEW: (usize, &str) = (4, insert_terms!("$6, $7", "$8, $9", "$10, $11"));
#[rustfmt::skip]
const MANY: (usize, &str) = (16, insert_terms!(
    "$6, $7", "$8, $9", "$10, $11", "$12, $13", "$14, $15", "$16, $17", "$18, $19", "$20, $21", "$22, $23", "$24, $25", "$26, $27",
    "$28, $29", "$30, $31", "$32, $33", "$34, $35"
));

/// What an entry is for.
#[derive(Debug, Clone, Copy, Default)]
struct Target<'a> {
    kind: &'a str,
    project_id: &'a str,
    stream_id: Option<&'a str>,
    tag_id: Option<&'a str>,
    config_id: Option<&'a str>,
    app_id: Option<&'a str>,
    digest: Option<&'a str>,
}

impl WriteTx {
    /// A stream that is new, or whose description or labels changed.
    pub(super) async fn index_stream(&mut self, stream_id: &str) -> Result<()> {
        let row: Option<(String, String, String, String)> =
            sqlx::query_as("select project_id, name, description, labels from streams where id = $1")
                .bind(stream_id)
                .fetch_optional(&mut **self)
                .await?;
        let Some((project_id, name, description, labels)) = row else { return Ok(()) };
        sqlx::query("delete from search_entries where stream_id = $1 and digest is null")
            .bind(stream_id)
            .execute(&mut **self)
            .await?;
        let target =
            Target { kind: "stream", project_id: &project_id, stream_id: Some(stream_id), ..Target::default() };
        self.write_entry(&target, &SearchTerms::of_stream(&name, &description, &labels)).await?;
        Ok(())
    }

    /// A tag that is new, or whose source changed, that was deleted or is back.
    pub(super) async fn index_tag(&mut self, tag_id: &str) -> Result<()> {
        sqlx::query("delete from search_entries where tag_id = $1").bind(tag_id).execute(&mut **self).await?;
        let row: Option<(String, String, String, Option<String>)> = sqlx::query_as(
            "select s.project_id, s.name as stream, t.name, t.source from tags t join streams s on s.id = t.stream_id \
             where t.id = $1 and t.deleted_at is null",
        )
        .bind(tag_id)
        .fetch_optional(&mut **self)
        .await?;
        let Some((project_id, stream, name, source)) = row else { return Ok(()) };
        let target = Target { kind: "tag", project_id: &project_id, tag_id: Some(tag_id), ..Target::default() };
        let entry = self.write_entry(&target, &SearchTerms::of_tag(&name, source.as_deref())).await?;
        self.write_terms("title", &project_id, entry, &[("name", &title_term(&stream, &name))]).await
    }

    /// A build config or an app that is new.
    pub(super) async fn index_workload(&mut self, kind: &'static str, id: &str) -> Result<()> {
        let is_app = kind == "app";
        let row: Option<(String, String)> = sqlx::query_as(if is_app {
            "select project_id, name from apps where id = $1 and deleted_at is null"
        } else {
            "select project_id, name from build_configs where id = $1"
        })
        .bind(id)
        .fetch_optional(&mut **self)
        .await?;
        let Some((project_id, name)) = row else { return Ok(()) };
        let (app_id, config_id) = if is_app { (Some(id), None) } else { (None, Some(id)) };
        let target = Target { kind, project_id: &project_id, app_id, config_id, ..Target::default() };
        self.write_entry(&target, &SearchTerms::of_name(&name)).await?;
        Ok(())
    }

    /// An image that a repository serves from now on.
    pub(super) async fn index_image(&mut self, stream_id: &str, project_id: &str, digest: &str) -> Result<()> {
        let row: Option<(Option<String>, String)> =
            sqlx::query_as("select config, annotations from images where digest = $1")
                .bind(digest)
                .fetch_optional(&mut **self)
                .await?;
        let Some((config, annotations)) = row else { return Ok(()) };
        let config: ImageConfig = config.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let terms = SearchTerms::of_image(&config, &annotations);
        let target =
            Target { kind: "image", project_id, stream_id: Some(stream_id), digest: Some(digest), ..Target::default() };
        let entry = self.write_entry(&target, &terms).await?;
        self.write_bases(entry, stream_id, project_id, digest, &config, &annotations).await
    }

    async fn write_entry(&mut self, target: &Target<'_>, terms: &SearchTerms) -> Result<i64> {
        let (entry,): (i64,) = sqlx::query_as(
            "insert into search_entries (id, project_id, kind, stream_id, tag_id, config_id, app_id, digest) \
             values ((select coalesce(max(id), 0) + 1 from search_entries), $1, $2, $3, $4, $5, $6, $7) returning id",
        )
        .bind(target.project_id)
        .bind(target.kind)
        .bind(target.stream_id)
        .bind(target.tag_id)
        .bind(target.config_id)
        .bind(target.app_id)
        .bind(target.digest)
        .fetch_one(&mut **self)
        .await?;
        let terms: Vec<(&str, &str)> = terms.iter().collect();
        self.write_terms(target.kind, target.project_id, entry, &terms).await?;
        Ok(entry)
    }

    pub(super) async fn write_terms(
        &mut self,
        kind: &str,
        project_id: &str,
        entry: i64,
        terms: &[(&str, &str)],
    ) -> Result<()> {
        let (room, statement) = if terms.len() > 2 * FEW.0 { MANY } else { FEW };
        for some in terms.chunks(room) {
            let mut query = sqlx::query(statement).bind(project_id).bind(kind).bind(entry);
            // What is left over of the room is filled with the last one, which is then there already.
            let filled = some.iter().chain(std::iter::repeat(&some[some.len() - 1]));
            for (field, term) in filled.take(room) {
                query = query.bind(*field).bind(*term);
            }
            query.execute(&mut **self).await?;
        }
        Ok(())
    }
}
