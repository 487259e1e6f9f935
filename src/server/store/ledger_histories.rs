//! Whether the histories of tags say what the ledger says. The seal is the ledger's alone; what pages show, and what the past is read from,
//! are rows beside it, which are compared with it here.

use super::{Result, Store};

/// Rows that are looked at together.
const PAGE: i64 = 1000;
/// A row of a history is written just after its row of the ledger, which had a look at the clock of its own.
const APART_MS: i64 = 10_000;

/// Up to where histories were compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryPlace {
    part: Part,
    /// Sequence of the last row.
    sequence: i64,
    /// Id of the last tag.
    tag: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// Rows of streams that are there.
    #[default]
    Histories,
    /// Rows of deleted streams.
    Ended,
    /// What tags are said to be, which is a copy of their newest rows.
    Tags,
}

/// Where a history and the ledger differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFault {
    /// `<project>/<stream>:<tag>`
    pub tag: String,
    /// The ledger's number of the row.
    pub sequence: i64,
    pub problem: String,
}

/// A row of a history beside its row of the ledger. The words of neither are read.
#[derive(sqlx::FromRow)]
struct Pair {
    sequence: i64,
    project: String,
    stream: String,
    tag: String,
    number: i64,
    outcome: String,
    digest: Option<String>,
    from_digest: Option<String>,
    kind: String,
    actor_kind: String,
    actor: String,
    reason: Option<String>,
    cause: Option<i64>,
    cascade_id: String,
    at: i64,
    sorted_at: i64,
    /// Number and place in time of the tag's row after this one.
    next_number: Option<i64>,
    next_sorted_at: Option<i64>,
    /// Number of the tag's row before this one.
    previous_number: Option<i64>,
    /// `None`: the ledger has no such row.
    action: Option<String>,
    object: Option<String>,
    ledger_project: Option<String>,
    from_value: Option<String>,
    to_value: Option<String>,
    ledger_actor_kind: Option<String>,
    ledger_actor: Option<String>,
    ledger_reason: Option<String>,
    ledger_cause: Option<i64>,
    ledger_cascade: Option<String>,
    ledger_at: Option<i64>,
}

/// What a tag is said to be beside what its newest rows say.
#[derive(sqlx::FromRow)]
struct Copied {
    id: String,
    project: String,
    stream: String,
    tag: String,
    digest: Option<String>,
    deleted_at: Option<i64>,
    event_number: i64,
    event_sequence: Option<i64>,
    /// Of all its rows.
    newest_number: Option<i64>,
    /// Of those that say where it points.
    moved_sequence: Option<i64>,
    moved_outcome: Option<String>,
    moved_digest: Option<String>,
}

/// Rows of histories with sequences above $1, each with its row of the ledger and its neighbours.
macro_rules! pairs {
    ($events:literal, $tags:literal, $streams:literal) => {
        concat!(
            "select e.sequence, p.name as project, s.name as stream, t.name as tag, e.number, e.outcome, e.digest, e.from_digest, e.kind, \
             e.actor_kind, e.actor, e.reason, e.cause, e.cascade_id, e.at, e.sorted_at, n.number as next_number, n.sorted_at as next_sorted_at, \
             (select max(o.number) from ",
            $events,
            " o where o.tag_id = e.tag_id and o.number < e.number) as previous_number, \
             l.action, l.object, l.project as ledger_project, l.from_value, l.to_value, l.actor_kind as ledger_actor_kind, \
             l.actor as ledger_actor, l.reason as ledger_reason, l.cause as ledger_cause, l.cascade_id as ledger_cascade, l.at as ledger_at \
             from ",
            $events,
            " e join ",
            $tags,
            " t on t.id = e.tag_id join ",
            $streams,
            " s on s.id = t.stream_id join projects p on p.id = s.project_id left join ledger l on l.sequence = e.sequence left join ",
            $events,
            " n on n.tag_id = e.tag_id and n.number = (select min(m.number) from ",
            $events,
            " m where m.tag_id = e.tag_id and m.number > e.number) where e.sequence > $1 order by e.sequence limit $2"
        )
    };
}

/// Tags with ids beyond $1 beside their newest rows.
const COPIES: &str = "select t.id, p.name as project, s.name as stream, t.name as tag, t.digest, t.deleted_at, t.event_number, t.event_sequence, \
     (select max(e.number) from tag_events e where e.tag_id = t.id) as newest_number, m.sequence as moved_sequence, \
     m.outcome as moved_outcome, m.digest as moved_digest \
     from tags t join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
     left join tag_events m on m.tag_id = t.id and m.number = (select max(x.number) from tag_events x where x.tag_id = t.id \
       and x.outcome in ('moved', 'deleted')) where t.id > $1 order by t.id limit $2";

impl Store {
    /// Compares some of the histories with the ledger, from a place on: how many rows and tags, what differs, and where to go on; no place
    /// when that was all.
    pub async fn verify_histories(
        &self,
        from: &HistoryPlace,
    ) -> Result<(usize, Vec<HistoryFault>, Option<HistoryPlace>)> {
        let text = match from.part {
            Part::Histories => pairs!("tag_events", "tags", "streams"),
            Part::Ended => pairs!("ended_tag_events", "ended_tags", "ended_streams"),
            Part::Tags => return self.verify_copies(from).await,
        };
        let rows: Vec<Pair> = sqlx::query_as(text).bind(from.sequence).bind(PAGE).fetch_all(self.pool()).await?;
        // Of streams that were deleted by an older server the rows that moved nothing are not kept.
        let whole = from.part == Part::Histories;
        let faults = rows.iter().flat_map(|row| row.faults(whole)).collect();
        let next = match (rows.last(), from.part) {
            (Some(last), part) => HistoryPlace { part, sequence: last.sequence, ..HistoryPlace::default() },
            (None, Part::Histories) => HistoryPlace { part: Part::Ended, ..HistoryPlace::default() },
            (None, _) => HistoryPlace { part: Part::Tags, ..HistoryPlace::default() },
        };
        Ok((rows.len(), faults, Some(next)))
    }

    async fn verify_copies(&self, from: &HistoryPlace) -> Result<(usize, Vec<HistoryFault>, Option<HistoryPlace>)> {
        let tags: Vec<Copied> = sqlx::query_as(COPIES).bind(&from.tag).bind(PAGE).fetch_all(self.pool()).await?;
        let faults = tags.iter().filter_map(Copied::fault).collect();
        let next = tags.last().map(|last| HistoryPlace { tag: last.id.clone(), ..from.clone() });
        Ok((0, faults, next))
    }
}

impl Pair {
    /// What differs. `whole`: no row of the tag's may be missing.
    fn faults(&self, whole: bool) -> Vec<HistoryFault> {
        let mut problems = Vec::new();
        match &self.action {
            None => problems.push("the ledger has no such row".to_owned()),
            Some(action) => problems.extend(self.differences(action)),
        }
        problems.extend(self.misplaced(whole).map(str::to_owned));
        let tag = format!("{}/{}:{}", self.project, self.stream, self.tag);
        let fault = |problem| HistoryFault { tag: tag.clone(), sequence: self.sequence, problem };
        problems.into_iter().map(fault).collect()
    }

    fn differences(&self, action: &str) -> Vec<String> {
        let expected = match self.outcome.as_str() {
            "moved" => format!("tag.{}", self.kind),
            "deleted" => "tag.delete".to_owned(),
            outcome => format!("tag.skip-{outcome}"),
        };
        let title = format!("{}:{}", self.stream, self.tag);
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        let pairs = [
            ("what happened", Some(expected), Some(action.to_owned())),
            ("its tag", Some(title), self.object.clone()),
            ("its project", Some(self.project.clone()), self.ledger_project.clone()),
            ("its image", self.digest.clone(), self.to_value.clone()),
            ("the image before", self.from_digest.clone(), self.from_value.clone()),
            ("its kind of actor", Some(self.actor_kind.clone()), self.ledger_actor_kind.clone()),
            ("its actor", Some(self.actor.clone()), self.ledger_actor.clone()),
            ("its reason", self.reason.clone(), self.ledger_reason.clone()),
            ("its cause", number(self.cause), number(self.ledger_cause)),
            ("its cascade", some(&self.cascade_id), self.ledger_cascade.clone()),
        ];
        let word = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let mut problems: Vec<String> = pairs
            .into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(what, here, there)| format!("{what} is {}, and in the ledger {}", word(here), word(there)))
            .collect();
        if let Some(at) = self.ledger_at.filter(|at| self.at.abs_diff(*at) > APART_MS.unsigned_abs()) {
            problems.push(format!("its time is {}, and in the ledger {at}", self.at));
        }
        problems
    }

    /// Rows of a tag count up, and count for the past from their time on, or from that of a later row where the clock was set back.
    fn misplaced(&self, whole: bool) -> Option<&'static str> {
        let before = self.previous_number.unwrap_or(0);
        let gap = before + 1 != self.number || self.next_number.is_some_and(|next| next != self.number + 1);
        if whole && before + 1 != self.number {
            return Some("the row before it is missing in the tag's history");
        }
        let latest = self.next_sorted_at.map_or(self.at, |next| next.min(self.at));
        let may_be_earlier = !whole && (gap || self.next_number.is_none());
        match self.sorted_at.cmp(&latest) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less if may_be_earlier => None,
            _ => Some("the past does not count it from its time on"),
        }
    }
}

impl Copied {
    fn fault(&self) -> Option<HistoryFault> {
        let points = self.moved_digest.as_ref().filter(|_| self.moved_outcome.as_deref() == Some("moved"));
        let problem = if self.event_number != self.newest_number.unwrap_or(0) {
            format!(
                "it has had {} rows, and the newest of its history is number {}",
                self.event_number,
                self.newest_number.unwrap_or(0)
            )
        } else if self.digest.as_ref() != points {
            let word = |digest: Option<&String>| digest.map_or("nothing".to_owned(), Clone::clone);
            format!("it points to {}, and by its history to {}", word(self.digest.as_ref()), word(points))
        } else if points.is_some() && self.event_sequence != self.moved_sequence {
            "it does not point to the newest row of its history".to_owned()
        } else if points.is_some() && self.deleted_at.is_some() {
            "it is deleted, and its history does not say so".to_owned()
        } else {
            return None;
        };
        let tag = format!("{}/{}:{}", self.project, self.stream, self.tag);
        Some(HistoryFault { tag, sequence: self.moved_sequence.unwrap_or(0), problem })
    }
}

#[cfg(test)]
mod tests;
