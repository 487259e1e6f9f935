//! The console's lists of streams and tags: paged by key, so that a page costs the same however long the list is.

use super::usage::traffic_before;
use super::{Result, Store};
use crate::model::{ActorKind, DigestPrefix, EventKind, LAST_KEY, TagSort, natural_key, now, version_key};

/// A stream as the catalog lists it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CatalogStream {
    pub id: String,
    pub name: String,
    pub description: String,
    /// Live tags.
    pub tags: i64,
    /// The tag that moved last, and to what.
    pub newest_tag: Option<String>,
    pub digest: Option<String>,
    pub moved_at: Option<i64>,
    /// Of all that it links, each blob and manifest once.
    pub bytes: i64,
    /// In the last 30 days.
    pub pulls: i64,
    /// How that tag came to move: one of [`EventKind`]'s words.
    pub newest_kind: Option<String>,
    /// What some tag imports, and what build config puts its image into some tag.
    pub imports: Option<String>,
    pub built_by: Option<String>,
    /// Tags whose last check failed, tags that are held, tags that never got an image.
    pub failing: i64,
    pub held: i64,
    pub never: i64,
    /// Tags that should have been checked long ago.
    pub overdue: i64,
    /// What takes images out of it.
    pub builds: i64,
    pub apps: i64,
}

/// What narrows the catalog. Empty texts narrow nothing.
#[derive(Debug, Clone, Default)]
pub struct StreamFilter<'a> {
    /// Part of a name, a description, a tag, an upstream reference; or 7 or more digits of a digest.
    pub text: &'a str,
    /// `failing`, `overdue`, `held`, `never` or `ok`
    pub health: &'a str,
    /// `pushed`, `imported` or `built`
    pub source: &'a str,
    /// Names in falling order.
    pub falling: bool,
}

/// A tag as its stream's page lists it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CatalogTag {
    pub id: String,
    pub name: String,
    pub digest: Option<String>,
    pub event_sequence: Option<i64>,
    pub moved_at: Option<i64>,
    pub source_kind: Option<String>,
    pub source: Option<String>,
    /// The image elsewhere that it only names.
    pub refers_to: Option<String>,
    pub scheduled: i64,
    /// As lists are sorted by it: -1 for none.
    pub image_size: i64,
    pub size: Option<i64>,
    pub os: Option<String>,
    pub architecture: Option<String>,
    /// Images in the index, when it is one.
    pub platforms: i64,
    /// How it came to point there.
    pub kind: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub build: Option<String>,
    pub next_at: Option<i64>,
    pub last_ok_at: Option<i64>,
    pub overdue_at: Option<i64>,
    pub failing_since: Option<i64>,
    pub reason: Option<String>,
    pub held_by: Option<String>,
    pub held_since: Option<i64>,
    /// The row that one click goes back to.
    pub back_to: Option<i64>,
    pub builds: i64,
    pub apps: i64,
}

impl CatalogTag {
    /// Where it stands in an order: what the page after it begins beyond.
    pub fn place_in(&self, sort: TagSort) -> String {
        match sort {
            TagSort::Name => natural_key(&self.name),
            TagSort::Semver => version_key(&self.name),
            TagSort::Size => format!("{},{}", self.image_size, self.id),
        }
    }

    /// How it came to point where it points.
    pub fn kind(&self) -> Option<EventKind> {
        self.kind.as_deref().and_then(|word| word.parse().ok())
    }

    /// Whether its source should have been checked long ago.
    pub fn is_overdue(&self, now: i64) -> bool {
        self.next_at.is_some() && self.overdue_at.is_some_and(|at| at <= now)
    }

    /// Who moved it last.
    pub fn actor(&self) -> Option<(ActorKind, &str)> {
        Some((self.actor_kind.as_deref()?.parse().ok()?, self.actor.as_deref()?))
    }
}

/// The texts of a search as `like` wants them: what people type is matched literally.
pub(super) fn contains(text: &str) -> String {
    let text = text.trim().to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{text}%")
}

/// The pattern of a digest when the text may be the beginning of one (7 digits or more), else a pattern that matches none.
fn digest_prefix(text: &str) -> String {
    let prefix = text.trim().to_ascii_lowercase().parse::<DigestPrefix>().ok();
    prefix
        .filter(DigestPrefix::is_distinct)
        .map_or_else(|| "-".to_owned(), |prefix| format!("{}%", prefix.ranges()[0].0))
}

/// From which digest and up to which one the text may be the beginning of (7 digits or more); else a range of none.
pub(super) fn digest_range(text: &str) -> (String, String) {
    let prefix = text.trim().to_ascii_lowercase().parse::<DigestPrefix>().ok();
    let [range, ..] = prefix.filter(DigestPrefix::is_distinct).map_or_else(Default::default, |prefix| prefix.ranges());
    range
}

/// How far a page counts: it must not take longer the more there is.
pub const COUNT_TO: i64 = 1000;

/// A page of the catalog in one order; the two orders differ in how names compare. What is rare (a failing import, a hold) is counted from
/// its own side, once for the page: a stream may have any number of tags.
macro_rules! catalog_page {
    ($beyond:literal, $order:literal) => {
        concat!(
            "with failing as materialized (select f.stream_id, count(*) as n from (select t.stream_id from tag_imports m \
               join tags t on t.id = m.tag_id where m.project_id = $1 and m.outcome = 'failed' union all select r.stream_id \
               from import_rules r join streams x on x.id = r.stream_id where x.project_id = $1 and r.outcome = 'failed' \
               and r.paused_at is null) f group by f.stream_id), \
             overdue as materialized (select t.stream_id, count(*) as n from tag_imports m join tags t on t.id = m.tag_id \
               where m.project_id = $1 and m.next_at is not null and m.overdue_at <= $10 \
               and not exists (select 1 from registry_budgets b join paused_registries z on z.host = b.host where b.id = m.budget) \
               group by t.stream_id), \
             held as materialized (select t.stream_id, count(*) as n from holds h join tags t on t.id = h.tag_id \
               join streams x on x.id = t.stream_id and x.project_id = $1 where h.ended_at is null group by t.stream_id), \
             built as materialized (select t.stream_id, min(c.name) as name from build_configs c join tags t on t.id = c.output_tag_id \
               where c.project_id = $1 group by t.stream_id), \
             run as materialized (select t.stream_id, count(*) as n from apps a join tags t on t.id = a.tag_id \
               join streams x on x.id = t.stream_id and x.project_id = $1 where a.deleted_at is null group by t.stream_id) \
             select s.id, s.name, s.description, n.name as newest_tag, n.digest, n.moved_at, s.bytes, e.kind as newest_kind, \
             (select cast(coalesce(sum(x.pulls), 0) as bigint) from stream_traffic x where x.stream_id = s.id and x.day > $8) as pulls, \
             (select count(*) from (select 1 from tags t where t.stream_id = s.id and t.deleted_at is null limit $9) x) as tags, \
             (select min(t.source) from tags t where t.stream_id = s.id and t.source_kind = 'DockerImage') as imports, \
             (select b.name from built b where b.stream_id = s.id) as built_by, \
             coalesce((select f.n from failing f where f.stream_id = s.id), 0) as failing, \
             coalesce((select o.n from overdue o where o.stream_id = s.id), 0) as overdue, \
             coalesce((select h.n from held h where h.stream_id = s.id), 0) as held, \
             (select count(*) from (select 1 from tags t where t.stream_id = s.id and t.moved_at is null and t.has_spec = 1 \
               and t.deleted_at is null limit $9) x) as never, \
             (select count(distinct b.config_id) from build_inputs b where b.input_project = s.project and b.input_stream = s.name) as builds, \
             coalesce((select r.n from run r where r.stream_id = s.id), 0) as apps \
             from (select s.id, s.name, s.description, s.bytes, p.name as project from streams s join projects p on p.id = s.project_id \
               where p.id = $1 and ($2 = '' or s.name ", $beyond, " $2) \
               and ($4 = '%%' or lower(s.name) like $4 escape '!' or lower(s.description) like $4 escape '!' or exists \
                 (select 1 from tags t where t.stream_id = s.id and t.deleted_at is null and (lower(t.name) like $4 escape '!' \
                   or lower(t.source) like $4 escape '!' or t.digest like $5))) \
               and ($6 <> 'failing' or s.id in (select f.stream_id from failing f)) \
               and ($6 <> 'ok' or s.id not in (select f.stream_id from failing f)) \
               and ($6 <> 'overdue' or s.id in (select o.stream_id from overdue o)) \
               and ($6 <> 'held' or s.id in (select h.stream_id from held h)) \
               and ($6 <> 'never' or exists (select 1 from tags t where t.stream_id = s.id and t.moved_at is null \
                 and t.has_spec = 1 and t.deleted_at is null)) \
               and ($7 = '' or exists (select 1 from tags t join tag_events e on e.sequence = t.event_sequence \
                 where t.stream_id = s.id and t.deleted_at is null and e.kind = $7)) \
               order by s.name ", $order, " limit $3) s \
             left join tags n on n.id = (select t.id from tags t where t.stream_id = s.id and t.moved_at is not null and t.deleted_at is null \
               order by t.moved_at desc limit 1) \
             left join tag_events e on e.sequence = n.event_sequence order by s.name ", $order
        )
    };
}

macro_rules! select_catalog_tag {
    ($($rest:literal),+ $(,)?) => {
        concat!(
            "select t.id, t.name, t.digest, t.event_sequence, t.moved_at, t.source_kind, t.source, t.refers_to, t.scheduled, t.image_size, i.size, i.os, i.architecture, \
             (select count(*) from image_children k where k.digest = t.digest and k.architecture <> 'unknown') as platforms, \
             e.kind, e.actor_kind, e.actor, case when b.id is null then null else c.name || '-' || cast(b.number as text) end as build, \
             m.next_at, m.last_ok_at, m.overdue_at, m.failing_since, m.reason, h.actor as held_by, h.since as held_since, \
             (select x.sequence from tag_events x where x.tag_id = t.id and x.outcome = 'moved' and x.digest <> t.digest \
               and not exists (select 1 from rejected_digests r where r.tag_id = t.id and r.digest = x.digest and r.ended_at is null) \
               order by x.number desc limit 1) as back_to, \
             (select count(distinct k.config_id) from build_inputs k join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
               where k.input_project = p.name and k.input_stream = s.name and k.input_tag = t.name) as builds, \
             (select count(*) from apps a where a.tag_id = t.id and a.deleted_at is null) as apps \
             from tags t left join images i on i.digest = t.digest left join tag_events e on e.sequence = t.event_sequence \
             left join builds b on b.id = e.build_id left join build_configs c on c.id = b.config_id \
             left join tag_imports m on m.tag_id = t.id left join holds h on h.tag_id = t.id and h.ended_at is null ",
            $($rest),+
        )
    };
}

macro_rules! sorted_tags {
    ($beyond:literal, $order:literal) => {
        select_catalog_tag!(
            "where t.stream_id = $1 and t.deleted_at is null and ",
            $beyond,
            " and ($4 = '%%' or lower(t.name) like $4 escape '!') order by ",
            $order,
            " limit $3"
        )
    };
}

/// The moment under which tags that never moved are paged.
pub const NEVER_MOVED: i64 = i64::MAX;

impl Store {
    /// A page of a project's streams by name, beyond `after`.
    pub async fn list_catalog(
        &self,
        project_id: &str,
        filter: &StreamFilter<'_>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<CatalogStream>> {
        let source = match filter.source {
            "pushed" => "push",
            "imported" => "import",
            "built" => "build",
            _ => "",
        };
        let page = if filter.falling { catalog_page!("<", "desc") } else { catalog_page!(">", "asc") };
        let streams = sqlx::query_as(page)
            .bind(project_id)
            .bind(after)
            .bind(limit)
            .bind(contains(filter.text))
            .bind(digest_prefix(filter.text))
            .bind(filter.health)
            .bind(source)
            .bind(traffic_before())
            .bind(COUNT_TO + 1)
            .bind(now())
            .fetch_all(self.pool())
            .await?;
        Ok(streams)
    }

    /// How many streams a project has.
    pub async fn count_streams(&self, project_id: &str) -> Result<i64> {
        let (count,) = sqlx::query_as("select count(*) from streams where project_id = $1")
            .bind(project_id)
            .fetch_one(self.pool())
            .await?;
        Ok(count)
    }

    /// A page of a stream's live tags in an order, beyond `after`, a [`CatalogTag::place_in`]; of those whose name contains `text`.
    pub async fn list_catalog_tags(
        &self,
        stream_id: &str,
        sort: TagSort,
        text: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<CatalogTag>> {
        let (page, beginning) = match sort {
            TagSort::Name => (sorted_tags!("t.name_key > $2", "t.name_key"), ""),
            TagSort::Semver => (sorted_tags!("t.version_key < $2", "t.version_key desc"), LAST_KEY),
            TagSort::Size => {
                let (size, id) = after.split_once(',').unwrap_or((after, LAST_KEY));
                let tags = sqlx::query_as(sorted_tags!(
                    "t.image_size <= $5 and (t.image_size < $5 or t.id < $2)",
                    "t.image_size desc, t.id desc"
                ))
                .bind(stream_id)
                .bind(id)
                .bind(limit)
                .bind(contains(text))
                .bind(size.parse().unwrap_or(i64::MAX))
                .fetch_all(self.pool())
                .await?;
                return Ok(tags);
            }
        };
        let tags = sqlx::query_as(page)
            .bind(stream_id)
            .bind(if after.is_empty() { beginning } else { after })
            .bind(limit)
            .bind(contains(text))
            .fetch_all(self.pool())
            .await?;
        Ok(tags)
    }

    /// A page of a stream's tags, those that moved last first; `after` is the moment and the id of the row before the page. Tags that
    /// never moved come first, their moment is [`NEVER_MOVED`]: they want attention.
    pub async fn list_newest_tags(
        &self,
        stream_id: &str,
        after: Option<(i64, &str)>,
        limit: i64,
    ) -> Result<Vec<CatalogTag>> {
        let (moment, id) = after.unwrap_or((NEVER_MOVED, ""));
        let mut tags: Vec<CatalogTag> = Vec::new();
        if moment == NEVER_MOVED {
            tags = sqlx::query_as(select_catalog_tag!(
                "where t.stream_id = $1 and t.deleted_at is null and t.moved_at is null and t.id > $2 order by t.id limit $3"
            ))
            .bind(stream_id)
            .bind(id)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        }
        // Two questions, as one that sorts both kinds would read the whole stream for each page.
        let room = limit - i64::try_from(tags.len()).unwrap_or(limit);
        if room > 0 {
            let moved: Vec<CatalogTag> = sqlx::query_as(select_catalog_tag!(
                "where t.stream_id = $1 and t.deleted_at is null and t.moved_at <= $2 and (t.moved_at < $2 or t.id > $3) \
                 order by t.moved_at desc, t.id limit $4"
            ))
            .bind(stream_id)
            .bind(moment)
            .bind(if moment == NEVER_MOVED { "" } else { id })
            .bind(room)
            .fetch_all(self.pool())
            .await?;
            tags.extend(moved);
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, EventKind, NewImage, TagName};
    use crate::server::store::testing::{each_store, project};
    use crate::server::store::{StreamFields, TagMove, TagSpec};

    #[tokio::test]
    async fn lists_streams_and_finds_them_by_what_they_hold() {
        for store in each_store().await {
            let id = project(&store, "demo").await;
            let actor = Actor::person("ada");
            for name in ["base", "httpd", "web"] {
                let name = name.parse().unwrap();
                store.create_stream("demo", &name, &StreamFields::default(), &actor).await.unwrap();
            }
            let tag: TagName = "3.6".parse().unwrap();
            let spec = TagSpec::import("docker.io/library/python:3.6");
            store.set_tag("demo", &"base".parse().unwrap(), &tag, &spec, None, &actor).await.unwrap();
            let names = async |filter: &StreamFilter<'_>, after: &str| {
                let page = store.list_catalog(&id, filter, after, 10).await.unwrap();
                page.into_iter().map(|stream| stream.name).collect::<Vec<_>>()
            };
            let all = StreamFilter::default();
            assert_eq!(names(&all, "").await, ["base", "httpd", "web"]);
            assert_eq!(names(&all, "base").await, ["httpd", "web"]);
            assert_eq!(names(&StreamFilter { falling: true, ..all.clone() }, "web").await, ["httpd", "base"]);
            assert_eq!(names(&StreamFilter { text: "PYTHON", ..all.clone() }, "").await, ["base"]);
            assert_eq!(names(&StreamFilter { text: "_", ..all.clone() }, "").await, Vec::<String>::new());
            assert_eq!(names(&StreamFilter { health: "never", ..all.clone() }, "").await, ["base"]);
            assert_eq!(names(&StreamFilter { health: "held", ..all.clone() }, "").await, Vec::<String>::new());
            assert_eq!(names(&StreamFilter { health: "ok", ..all.clone() }, "").await, ["base", "httpd", "web"]);
            let stream = store.stream("demo", "base").await.unwrap();
            let tags = store.list_catalog_tags(&stream.id, TagSort::Name, "", "", 10).await.unwrap();
            assert_eq!((tags.len(), tags[0].name.as_str(), tags[0].digest.as_deref()), (1, "3.6", None));
            assert_eq!(store.list_newest_tags(&stream.id, None, 10).await.unwrap(), tags);
        }
    }

    #[tokio::test]
    async fn pages_of_newest_tags_meet_without_gap_or_repeat() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let name = "base".parse().unwrap();
            let stream = store.ensure_stream("demo", &name, &actor).await.unwrap();
            for tag in ["x1", "x2", "x3"] {
                let spec = TagSpec::import("docker.io/library/python:3.6");
                store.set_tag("demo", &name, &tag.parse().unwrap(), &spec, None, &actor).await.unwrap();
            }
            for (number, tag) in ["m1", "m2", "m3"].iter().enumerate() {
                let tag = tag.parse().unwrap();
                let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
                let digest = format!("sha256:{number:064}");
                let image = NewImage { digest, manifest: "{}".to_owned(), ..NewImage::default() };
                store.put_manifest(&stream, &image, [to], &actor).await.unwrap();
            }
            let mut seen = Vec::new();
            let mut after: Option<(i64, String)> = None;
            loop {
                let from = after.as_ref().map(|(moment, id)| (*moment, id.as_str()));
                let page = store.list_newest_tags(&stream.id, from, 2).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some((last.moved_at.unwrap_or(NEVER_MOVED), last.id.clone()));
                seen.extend(page.into_iter().map(|tag| tag.name));
            }
            assert_eq!(seen.len(), 6, "{seen:?}");
            assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>().len(), 6, "{seen:?}");
            assert!(seen[..3].iter().all(|name| name.starts_with('x')), "never moved first: {seen:?}");
        }
    }

    #[tokio::test]
    async fn tags_are_sorted_by_the_database_page_by_page() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let stream = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
            for (tag, size) in [("1.9", 30), ("1.10", 10), ("v1.10", 10), ("1.2", 20), ("1.10-rc.1", 5), ("edge", 40)] {
                let image = NewImage { digest: format!("sha256:{tag}"), size, ..NewImage::default() };
                let tag = tag.parse().unwrap();
                let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
                store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            }
            let spec = TagSpec::import("docker.io/library/python:3.6");
            store
                .set_tag("demo", &"base".parse().unwrap(), &"none".parse().unwrap(), &spec, None, &actor)
                .await
                .unwrap();
            let sorted = async |sort: TagSort, text: &str, limit: i64| {
                let (mut names, mut after) = (Vec::new(), String::new());
                loop {
                    let page = store.list_catalog_tags(&stream.id, sort, text, &after, limit).await.unwrap();
                    let Some(last) = page.last() else { return names.join(" ") };
                    after = last.place_in(sort);
                    names.extend(page.into_iter().map(|tag| tag.name));
                }
            };
            for old in [false, true] {
                if old {
                    // As an older version made them.
                    let old = sqlx::query("update tags set name_key = '', version_key = ''");
                    old.execute(store.pool()).await.unwrap();
                    store.fill_sort_keys().await.unwrap();
                }
                for limit in [1, 2, 10] {
                    let by_name = "1.2 1.9 1.10 1.10-rc.1 edge none v1.10";
                    assert_eq!(sorted(TagSort::Name, "", limit).await, by_name);
                    let by_version = "v1.10 1.10 1.10-rc.1 1.9 1.2 none edge";
                    assert_eq!(sorted(TagSort::Semver, "", limit).await, by_version);
                    let by_size = sorted(TagSort::Size, "", limit).await;
                    assert!(by_size.starts_with("edge 1.9 1.2 ") && by_size.ends_with(" 1.10-rc.1 none"), "{by_size}");
                    assert_eq!(sorted(TagSort::Semver, "1.1", limit).await, "v1.10 1.10 1.10-rc.1");
                }
            }
            // What a tag points to now is what counts.
            let image = NewImage { digest: "sha256:large".to_owned(), size: 99, ..NewImage::default() };
            let tag = "1.2".parse().unwrap();
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            assert!(sorted(TagSort::Size, "", 3).await.starts_with("1.2 edge "));
        }
    }
}
