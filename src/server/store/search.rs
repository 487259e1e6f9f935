//! Searching what one may see.
//!
//! A search reads a range of `search_terms` in each project that has something there, in the order of the index, and stops when the page is
//! full: it costs the same however much there is. Digests are looked up where repositories list them.

use super::{Result, Store};
use crate::model::{SearchQuery, beginning_with};

/// One thing a search found.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Found {
    /// `stream`, `tag`, `image`, `build` or `app`
    pub kind: String,
    pub project: String,
    /// The name; `stream:tag` for tags, the stream's name for images.
    pub name: String,
    /// What tells more about it: description, digest, what is wrong with it.
    pub about: Option<String>,
    /// Where the term is from, for instance `label`.
    pub field: String,
    /// The same as it is stored, by which pages go on: of a base in another project with that.
    place: String,
    /// What it was found by.
    pub term: String,
    pub entry_id: i64,
}

/// What can be found, in the order of the console's page.
pub const SEARCHED_KINDS: [&str; 5] = ["stream", "tag", "image", "build", "app"];

/// What somebody may see, or wants to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Whose projects; `None` sees all.
    pub user_id: Option<&'a str>,
    /// In this one only.
    pub project: Option<&'a str>,
    /// What may be told of other projects beside that: their images, as bases of what is found.
    pub others: Others<'a>,
}

/// The projects, besides that of a thing, that may be told of with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others<'a> {
    /// None at all: a token for one project sees no other.
    #[default]
    Hidden,
    /// Those that this user may see.
    SeenBy(&'a str),
    All,
}

impl<'a> Others<'a> {
    /// The user whose rights decide; no such user has any, and nobody's name stands for all.
    fn user(self) -> &'a str {
        match self {
            Self::Hidden => "nobody",
            Self::SeenBy(user_id) => user_id,
            Self::All => "",
        }
    }
}

/// Behind which find a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchCursor {
    project: String,
    term: String,
    field: String,
    entry_id: i64,
}

impl Found {
    /// The cursor of the page that begins behind this: one word.
    pub fn cursor(&self) -> String {
        format!("{}:{}:{}:{}", self.project, self.entry_id, self.place, urlencoding::encode(&self.term))
    }
}

impl SearchCursor {
    /// Reads what [`Found::cursor`] wrote; none when it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let (project, entry) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let (field, term) = (parts.next()?.to_owned(), urlencoding::decode(parts.next()?).ok()?.into_owned());
        Some(Self { project, term, field, entry_id: entry })
    }

    /// Whether it stands at what was found by its digest, which is no entry.
    fn is_digest(&self) -> bool {
        self.entry_id == 0
    }
}

/// One word's range, from the text to before the other one; of an absent word that is all.
type Range = (String, String);

/// Behind every project's name, which has small letters, digits and dashes.
const LAST_PROJECT: &str = "~";

/// Projects from `$1` to `$2`, of `$3`, that have a term of kind `$4` from `$5` to before `$6`. Asking for the first of them makes PostgreSQL take
/// the index also where there are many.
const PROJECTS: &str = "select p.id, p.name from projects p where p.name collate \"binary\" >= $1 and p.name collate \"binary\" <= $2 \
     and ($3 = '' or exists (select 1 from role_bindings r where r.project_id = p.id and r.user_id = $3)) \
     and (select count(*) from (select 1 from search_terms m where m.project_id = p.id and m.kind = $4 and m.term >= $5 and m.term < $6 \
       order by m.term limit 1) x) > 0 order by p.name collate \"binary\" limit $7";

/// Whether a term may be told to who asks (`$15`): what an image is built on in another project stands under that project's id.
macro_rules! is_told {
    ($row:literal) => {
        concat!(
            "(",
            $row,
            ".field not like 'base@%' or $15 = '' or exists (select 1 from role_bindings v where v.user_id = $15 and v.project_id = substr(",
            $row,
            ".field, 6)))"
        )
    };
}

/// Whether a term is of the field that is asked for, `$8`.
macro_rules! is_of_field {
    ($row:literal) => {
        concat!("($8 = '' or ", $row, ".field = $8 or $8 = 'base' and ", $row, ".field like 'base@%')")
    };
}

/// Whether a term of the entry lies in a range. Counting a first one is more than it looks: PostgreSQL makes a join of `exists`, and reads
/// all there is for that.
macro_rules! has_term {
    ($condition:expr) => {
        concat!(
            "(select count(*) from (select 1 from search_terms o where o.entry_id = m.entry_id and o.kind = $2 and ",
            is_told!("o"),
            " and ",
            $condition,
            " limit 1) x)"
        )
    };
}

/// In project `$1` what has terms of kind `$2` behind `$3` to `$5`, from `$6` to before `$7`, of field `$8`, and others in the ranges from `$9`
/// to `$12`; `$13` is the project's name, `$15` as in `is_told`. An entry stands at the first of its terms.
const IN_PROJECT: &str = concat!(
    "select e.kind, cast($13 as text) as project, case e.kind when 'tag' then s.name || ':' || g.name when 'build' then c.name \
       when 'app' then a.name else s.name end as name, case e.kind when 'stream' then s.description when 'tag' then g.digest \
       when 'build' then c.inspect_error when 'app' then a.observe_error else e.digest end as about, \
       case when t.field like 'base@%' then 'base' else t.field end as field, t.field as place, t.term, t.entry_id \
     from (select m.term, m.field, m.entry_id from search_terms m where m.project_id = $1 and m.kind = $2 \
       and (m.term, m.field, m.entry_id) > ($3, $4, $5) and m.term < $7 and ",
    is_of_field!("m"),
    " and ",
    is_told!("m"),
    " and ",
    has_term!(concat!("o.term >= $6 and (o.term, o.field) < (m.term, m.field) and ", is_of_field!("o"))),
    " = 0 and ($9 = '' or ",
    has_term!("o.term >= $9 and o.term < $10"),
    " > 0) and ($11 = '' or ",
    has_term!("o.term >= $11 and o.term < $12"),
    " > 0) order by m.term, m.field, m.entry_id limit $14) t join search_entries e on e.id = t.entry_id \
     left join tags g on g.id = e.tag_id left join streams s on s.id = coalesce(e.stream_id, g.stream_id) \
     left join build_configs c on c.id = e.config_id left join apps a on a.id = e.app_id"
);

/// `$1` to `$6` are the ranges, `$7` who asks, `$8` the only project, `$9` to `$11` what is passed already.
const BY_DIGEST: &str = "select 'image' as kind, p.name as project, s.name, r.digest as about, s.name as field, s.name as place, r.digest as term, \
     cast(0 as bigint) as entry_id from repository_images r join streams s on s.id = r.stream_id join projects p on p.id = s.project_id \
     where (r.digest >= $1 and r.digest < $2 or r.digest >= $3 and r.digest < $4 or r.digest >= $5 and r.digest < $6) \
     and ($7 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $7)) and ($8 = '' or p.name = $8) \
     and (r.digest, p.name, s.name) > ($9, $10, $11) order by r.digest, p.name, s.name limit $12";

/// How many terms of kind `$2` project `$1` has from `$3` to before `$4`, counted up to `$5`.
const COUNT: &str = "select count(*) from (select 1 from search_terms m where m.project_id = $1 and m.kind = $2 \
     and m.term >= $3 and m.term < $4 order by m.term limit $5) x";

/// How far terms are counted. Of words that are all more frequent than this any will do.
const COUNTED: i64 = 2000;

impl Store {
    /// Things of one kind that a search finds, behind `after`, at most `limit`. Images are found by their digests first, then by their
    /// terms: what looks like a digest may be a word.
    pub async fn search(
        &self,
        scope: Scope<'_>,
        query: &SearchQuery,
        kind: &str,
        after: Option<&SearchCursor>,
        limit: i64,
    ) -> Result<Vec<Found>> {
        let digest = query.digest.as_ref().filter(|_| kind == "image" && query.kind.is_none_or(|only| only == kind));
        let (mut found, mut after) = (Vec::new(), after);
        if let Some(digest) = digest
            && after.is_none_or(SearchCursor::is_digest)
        {
            found = self.search_digests(scope, digest.ranges(), after, limit).await?;
            after = None;
        }
        let room = limit - i64::try_from(found.len()).unwrap_or(limit);
        if room > 0
            && let Some(wanted) = Wanted::of(query, kind)
        {
            found.extend(self.search_terms(scope, &wanted, after, room).await?);
        }
        Ok(found)
    }

    async fn search_terms(
        &self,
        scope: Scope<'_>,
        wanted: &Wanted,
        after: Option<&SearchCursor>,
        limit: i64,
    ) -> Result<Vec<Found>> {
        // What is left of the project the page before ended in, then those behind it. No name can lie between a name and the same with
        // a dash behind it.
        let (mut found, mut next) = match after {
            None => (Vec::new(), String::new()),
            Some(after) => {
                let left = self.projects_with(scope, (&after.project, &after.project), wanted, 1).await?;
                let mut found = Vec::new();
                for project in &left {
                    found = self.search_project(scope, project, wanted, Some(after), limit).await?;
                }
                (found, format!("{}-", after.project))
            }
        };
        loop {
            // Those that have something for the first word may have nothing for the others: the next ones may.
            let projects = self.projects_with(scope, (&next, LAST_PROJECT), wanted, limit).await?;
            let Some((_, last)) = projects.last() else { return Ok(found) };
            next = format!("{last}-");
            for project in &projects {
                let room = limit - i64::try_from(found.len()).unwrap_or(limit);
                if room <= 0 {
                    return Ok(found);
                }
                found.extend(self.search_project(scope, project, wanted, None, room).await?);
            }
        }
    }

    /// Id and name of projects in which something may be found. Each is one look at the index.
    async fn projects_with(
        &self,
        scope: Scope<'_>,
        (first, last): (&str, &str),
        wanted: &Wanted,
        limit: i64,
    ) -> Result<Vec<(String, String)>> {
        let (first, last) = match scope.project {
            Some(only) => (first.max(only), last.min(only)),
            None => (first, last),
        };
        let projects = sqlx::query_as(PROJECTS)
            .bind(first)
            .bind(last)
            .bind(scope.user_id.unwrap_or_default())
            .bind(wanted.kind)
            .bind(&wanted.ranges[0].0)
            .bind(&wanted.ranges[0].1)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(projects)
    }

    async fn search_project(
        &self,
        scope: Scope<'_>,
        (id, name): &(String, String),
        wanted: &Wanted,
        after: Option<&SearchCursor>,
        limit: i64,
    ) -> Result<Vec<Found>> {
        let Some(first) = self.rarest(id, wanted, after).await? else { return Ok(Vec::new()) };
        let range = &wanted.ranges[first];
        let mut others =
            wanted.ranges.iter().enumerate().filter(|(at, _)| *at != first).map(|(_, range)| range.clone());
        let others: [Range; 2] = std::array::from_fn(|_| others.next().unwrap_or_default());
        let (term, field, entry) = match after {
            Some(after) => (after.term.as_str(), after.field.as_str(), after.entry_id),
            None => (range.0.as_str(), "", 0),
        };
        let mut found: Vec<Found> = sqlx::query_as(IN_PROJECT)
            .bind(id)
            .bind(wanted.kind)
            .bind(term)
            .bind(field)
            .bind(entry)
            .bind(&range.0)
            .bind(&range.1)
            .bind(wanted.field)
            .bind(&others[0].0)
            .bind(&others[0].1)
            .bind(&others[1].0)
            .bind(&others[1].1)
            .bind(name)
            .bind(limit)
            .bind(scope.others.user())
            .fetch_all(self.pool())
            .await?;
        // In the index's order, which a join need not keep.
        found.sort_by(|a, b| (&a.term, &a.place, a.entry_id).cmp(&(&b.term, &b.place, b.entry_id)));
        Ok(found)
    }

    /// The word that the fewest terms of the project begin with: those are read, and of each is asked whether it has the other words.
    /// Pages go on with the word of the first, whatever has become of the others. `None` when a word is nowhere.
    async fn rarest(&self, project_id: &str, wanted: &Wanted, after: Option<&SearchCursor>) -> Result<Option<usize>> {
        if wanted.ranges.len() == 1 {
            return Ok(Some(0));
        }
        // Of two that have the term the longer one was taken, which is rarer: it stands first.
        let has = |term: &str, (from, to): &Range| from.as_str() <= term && term < to.as_str();
        if let Some(at) = after.and_then(|after| wanted.ranges.iter().position(|range| has(&after.term, range))) {
            return Ok(Some(at));
        }
        let mut rarest = (i64::MAX, None);
        for (at, range) in wanted.ranges.iter().enumerate() {
            let (terms,): (i64,) = sqlx::query_as(COUNT)
                .bind(project_id)
                .bind(wanted.kind)
                .bind(&range.0)
                .bind(&range.1)
                .bind(COUNTED)
                .fetch_one(self.pool())
                .await?;
            if terms == 0 {
                return Ok(None);
            }
            if terms < rarest.0 {
                rarest = (terms, Some(at));
            }
        }
        Ok(rarest.1)
    }

    async fn search_digests(
        &self,
        scope: Scope<'_>,
        ranges: [Range; 3],
        after: Option<&SearchCursor>,
        limit: i64,
    ) -> Result<Vec<Found>> {
        let mut query = sqlx::query_as(BY_DIGEST);
        for (begin, end) in ranges {
            query = query.bind(begin).bind(end);
        }
        let after = after.cloned().unwrap_or_default();
        let found = query
            .bind(scope.user_id.unwrap_or_default().to_owned())
            .bind(scope.project.unwrap_or_default().to_owned())
            .bind(after.term)
            .bind(after.project)
            .bind(after.field)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(found)
    }
}

/// What is looked for among the terms of one kind.
struct Wanted {
    kind: &'static str,
    field: &'static str,
    /// Of each word, at least one, the longest first.
    ranges: Vec<Range>,
}

impl Wanted {
    /// None when this kind of thing cannot be meant.
    fn of(query: &SearchQuery, kind: &str) -> Option<Self> {
        let kind = SEARCHED_KINDS.into_iter().find(|known| *known == kind)?;
        if query.kind.is_some_and(|only| only != kind && kind != "tag") {
            return None;
        }
        if kind == "tag"
            && query.kind != Some("tag")
            && let Some(title) = &query.title
        {
            return Some(Self { kind: "title", field: "", ranges: vec![beginning_with(title)] });
        }
        let field = query.field.map_or("", |field| field.as_str());
        // A colon that is no field's parts a stream from its tag.
        let meant = match (kind, field) {
            (_, "") => query.title.is_none() || kind == "image" || query.kind == Some(kind),
            ("image", _) | ("stream", "label") => true,
            _ => false,
        };
        let mut words: Vec<&String> = query.words.iter().filter(|_| meant).collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let mut ranges: Vec<Range> = words.into_iter().map(|word| beginning_with(word)).collect();
        if ranges.is_empty() {
            ranges.extend(meant.then(|| beginning_with("")));
        }
        (!ranges.is_empty()).then_some(Self { kind, field, ranges })
    }
}

#[cfg(test)]
mod tests;
