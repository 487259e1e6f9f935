//! Rows that an older server beside this one wrote, while an update goes on: it knows nothing of the columns that the past is read from. The
//! migrations that brought these filled them once; here the same is done for what came after.

use crate::server::store::Store;

/// Rows of the ledger that are completed in one transaction: nobody else writes meanwhile.
const ROWS: i64 = if cfg!(test) { 3 } else { 10_000 };
/// Tags whose histories are.
const TAGS: i64 = if cfg!(test) { 1 } else { 500 };

/// The first rows that lack something, of histories and of the ledger.
const LACKING: &str = "select (select min(a.sequence) from tag_events a where a.stream_id = ''), \
     (select min(b.sequence) from ended_tag_events b where b.stream_id = ''), (select min(l.sequence) from ledger l where l.sorted_at = 0)";

/// The last of the next $2 tags beyond $1 that have a row which names no stream.
macro_rules! last_tag {
    ($events:literal) => {
        concat!(
            "select max(n.tag_id) from (select distinct x.tag_id from ",
            $events,
            " x where x.stream_id = '' and x.tag_id > $1 order by x.tag_id limit $2) n"
        )
    };
}

/// Gives the rows of such tags beyond $1, up to $2, their place in time: that of the least of the rows from them on. Rows that lack nothing
/// have one, which an older server does not lower where its clock is behind.
macro_rules! set_places {
    ($events:literal) => {
        concat!(
            "update ",
            $events,
            " set sorted_at = w.earliest from (select e.sequence, min(e.at) over (partition by e.tag_id order by e.number \
               rows between current row and unbounded following) as earliest from ",
            $events,
            " e where e.tag_id in (select x.tag_id from ",
            $events,
            " x where x.stream_id = '' and x.tag_id > $1 and x.tag_id <= $2)) w where w.sequence = ",
            $events,
            ".sequence and (",
            $events,
            ".sorted_at = 0 or ",
            $events,
            ".sorted_at > w.earliest)"
        )
    };
}

/// Names the streams of such rows, by which they are found: the last thing that they lack. Each has a tag, and each tag a stream.
macro_rules! name_streams {
    ($events:literal, $tags:literal) => {
        concat!(
            "update ",
            $events,
            " set stream_id = coalesce((select t.stream_id from ",
            $tags,
            " t where t.id = ",
            $events,
            ".tag_id), '') where stream_id = '' and tag_id > $1 and tag_id <= $2"
        )
    };
}

const HISTORIES: [&str; 2] = [set_places!("tag_events"), name_streams!("tag_events", "tags")];
const ENDED_HISTORIES: [&str; 3] = [
    set_places!("ended_tag_events"),
    "update ended_tag_events set from_digest = l.from_value, cause = l.cause, cascade_id = coalesce(l.cascade_id, '') \
     from (select sequence, from_value, cause, cascade_id from ledger) l where l.sequence = ended_tag_events.sequence \
     and ended_tag_events.stream_id = '' and ended_tag_events.tag_id > $1 and ended_tag_events.tag_id <= $2",
    name_streams!("ended_tag_events", "ended_tags"),
];

/// Rows of the ledger from $1 on, before $2, each no earlier than $3 and those before it.
const LEDGER: &str = "update ledger set sorted_at = w.latest from (select x.sequence, max(x.at) over (order by x.sequence rows between \
     unbounded preceding and current row) as latest from (select sequence, at from ledger where sequence >= $1 and sequence < $2 \
     union all select cast($1 as bigint) - 1 as sequence, cast($3 as bigint) as at) x) w \
     where w.sequence = ledger.sequence and ledger.sequence >= $1 and ledger.sequence < $2 and ledger.sorted_at <> w.latest";

impl Store {
    /// Makes the past of what an older server wrote like that of the rest. Where there is nothing to do, that is a look in three indexes.
    pub async fn complete_older_rows(&self) -> Result<(), sqlx::Error> {
        let (histories, ended, ledger): (Option<i64>, Option<i64>, Option<i64>) =
            sqlx::query_as(LACKING).fetch_one(self.pool()).await?;
        if histories.is_some() {
            self.complete_histories(last_tag!("tag_events"), &HISTORIES).await?;
        }
        if ended.is_some() {
            self.complete_histories(last_tag!("ended_tag_events"), &ENDED_HISTORIES).await?;
        }
        match ledger {
            Some(first) => self.complete_ledger(first).await,
            None => Ok(()),
        }
    }

    /// Some tags at a time.
    async fn complete_histories(&self, last_tag: &'static str, statements: &[&'static str]) -> Result<(), sqlx::Error> {
        let mut after = String::new();
        loop {
            let (last,): (Option<String>,) =
                sqlx::query_as(last_tag).bind(&after).bind(TAGS).fetch_one(self.pool()).await?;
            let Some(last) = last else { return Ok(()) };
            let mut tx = self.begin().await?;
            for statement in statements {
                sqlx::query(*statement).bind(&after).bind(&last).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            after = last;
        }
    }

    /// Some rows at a time, from the first that has no place in time to the end: it may be later than those after it.
    async fn complete_ledger(&self, first: i64) -> Result<(), sqlx::Error> {
        let (end, mut latest): (i64, i64) = sqlx::query_as(
            "select coalesce((select max(sequence) from ledger), 0), coalesce((select sorted_at from ledger where sequence = $1), 0)",
        )
        .bind(first - 1)
        .fetch_one(self.pool())
        .await?;
        let mut ranges = Vec::new();
        let mut start = first;
        while start <= end {
            ranges.push((start, latest));
            let greatest = sqlx::query_as("select max(at) from ledger where sequence >= $1 and sequence < $2");
            let (greatest,): (Option<i64>,) = greatest.bind(start).bind(start + ROWS).fetch_one(self.pool()).await?;
            latest = latest.max(greatest.unwrap_or(0));
            start += ROWS;
        }
        // From the last to the first, in which the row is that tells the next start to go on where this one was stopped.
        for (start, before) in ranges.into_iter().rev() {
            let mut tx = self.begin().await?;
            sqlx::query(LEDGER).bind(start).bind(start + ROWS).bind(before).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::model::time::testing::TIME;
    use crate::model::{Actor, EventKind, NewImage};
    use crate::server::store::testing::{TestStore, each_store, project, run};
    use crate::server::store::{HistoryPlace, Store, TagMove};

    /// Where every row stands: sequence, stream, and its place in time.
    async fn places(store: &TestStore) -> Vec<(i64, String, i64)> {
        let rows = sqlx::query_as(
            "select sequence, stream_id, sorted_at from tag_events union all \
             select sequence, stream_id, sorted_at from ended_tag_events union all \
             select sequence, '', sorted_at from ledger order by 1, 2",
        );
        rows.fetch_all(store.pool()).await.unwrap()
    }

    async fn push(store: &Store, stream: &str, digest: &str) {
        let ada = Actor::person("ada");
        let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &ada).await.unwrap();
        let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let tag = "t".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, Some(to), &ada).await.unwrap();
    }

    async fn faults(store: &Store) -> Vec<String> {
        let (mut found, mut place) = (Vec::new(), Some(HistoryPlace::default()));
        while let Some(from) = place {
            let (_, faults, next) = store.verify_histories(&from).await.unwrap();
            found.extend(faults.into_iter().map(|fault| fault.problem));
            place = next;
        }
        found
    }

    #[tokio::test]
    async fn what_an_older_server_wrote_has_its_place_in_the_past() {
        for store in each_store().await {
            project(&store, "demo").await;
            for (stream, digest) in [("app", "sha256:1"), ("app", "sha256:2"), ("gone", "sha256:1")] {
                push(&store, stream, digest).await;
            }
            store.delete_stream("demo", "gone", &Actor::person("ada")).await.unwrap();
            let before = places(&store).await;
            for statement in [
                "update tag_events set stream_id = '', sorted_at = 0",
                "update ended_tag_events set stream_id = '', sorted_at = 0, from_digest = null, cause = null, cascade_id = ''",
                "update ledger set sorted_at = 0 where sequence > 1",
            ] {
                run(&store, statement).await;
            }
            assert!(!faults(&store).await.is_empty(), "verify would take it for damage");
            store.complete_older_rows().await.unwrap();
            assert_eq!(places(&store).await, before);
            assert_eq!(faults(&store).await, Vec::<String>::new());
        }
    }

    /// A server whose clock is behind lowers what was before, and one that knows nothing of the past does not.
    #[tokio::test]
    async fn what_came_before_the_row_of_an_older_server_whose_clock_was_behind_is_no_later() {
        for store in each_store().await {
            project(&store, "demo").await;
            for stream in ["app", "gone"] {
                for (digest, at) in [("sha256:1", 100_000), ("sha256:2", 105_000), ("sha256:3", 102_000)] {
                    TIME.set(Some(at));
                    push(&store, stream, digest).await;
                }
            }
            store.delete_stream("demo", "gone", &Actor::person("ada")).await.unwrap();
            let before = places(&store).await;
            let lowered = |row: &&(i64, String, i64)| !row.1.is_empty() && row.2 == 102_000;
            assert_eq!(before.iter().filter(lowered).count(), 4);
            for statement in [
                "update tag_events set sorted_at = at",
                "update tag_events set stream_id = '', sorted_at = 0 where number = 3",
                "update ended_tag_events set sorted_at = at",
                "update ended_tag_events set stream_id = '', sorted_at = 0 where number = 3",
                // The rows after it are of newer servers, which went on from what they found.
                "update ledger set sorted_at = at",
                "update ledger set sorted_at = 0 where sequence = 3",
            ] {
                run(&store, statement).await;
            }
            assert_ne!(places(&store).await, before);
            store.complete_older_rows().await.unwrap();
            assert_eq!(places(&store).await, before);
            assert_eq!(faults(&store).await, Vec::<String>::new());
            TIME.set(None);
        }
    }
}
