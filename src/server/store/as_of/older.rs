//! Rows that an older server beside this one wrote, while an update goes on: it knows nothing of the columns that the past is read from. The
//! migrations that brought these filled them once; here the same is done for what came after.

use crate::server::store::Store;

/// What rows of histories lack that name no stream. Where they stand in time is that of the least of the rows from them on.
const HISTORIES: [&str; 5] = [
    "update tag_events set sorted_at = (select min(o.at) from tag_events o where o.tag_id = tag_events.tag_id \
     and o.number >= tag_events.number) where stream_id = '' and sorted_at = 0",
    "update ended_tag_events set sorted_at = (select min(o.at) from ended_tag_events o where o.tag_id = ended_tag_events.tag_id \
     and o.number >= ended_tag_events.number) where stream_id = '' and sorted_at = 0",
    "update tag_events set stream_id = coalesce((select t.stream_id from tags t where t.id = tag_events.tag_id), '') where stream_id = ''",
    "update ended_tag_events set from_digest = l.from_value, cause = l.cause, cascade_id = coalesce(l.cascade_id, '') \
     from (select sequence, from_value, cause, cascade_id from ledger) l \
     where l.sequence = ended_tag_events.sequence and ended_tag_events.stream_id = ''",
    "update ended_tag_events set stream_id = coalesce((select t.stream_id from ended_tags t \
     where t.id = ended_tag_events.tag_id), '') where stream_id = ''",
];

/// The first rows that lack something, of histories and of the ledger.
const LACKING: &str = "select (select min(a.sequence) from tag_events a where a.stream_id = ''), \
     (select min(b.sequence) from ended_tag_events b where b.stream_id = ''), (select min(l.sequence) from ledger l where l.sorted_at = 0)";

/// Rows of the ledger from $1 on, each no earlier than those before it.
const LEDGER: &str = "update ledger set sorted_at = w.latest from (select x.sequence, max(x.at) over (order by x.sequence rows between \
     unbounded preceding and current row) as latest from (select sequence, at from ledger where sequence >= $1 \
     union all select sequence, sorted_at as at from ledger where sequence = $1 - 1) x) w \
     where w.sequence = ledger.sequence and ledger.sequence >= $1";

impl Store {
    /// Makes the past of what an older server wrote like that of the rest. Where there is nothing to do, that is a look in three indexes.
    pub async fn complete_older_rows(&self) -> Result<(), sqlx::Error> {
        let (histories, ended, ledger): (Option<i64>, Option<i64>, Option<i64>) =
            sqlx::query_as(LACKING).fetch_one(self.pool()).await?;
        if histories.or(ended).or(ledger).is_none() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        if histories.or(ended).is_some() {
            for statement in HISTORIES {
                sqlx::query(statement).execute(&mut *tx).await?;
            }
        }
        if let Some(first) = ledger {
            sqlx::query(LEDGER).bind(first).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, EventKind, NewImage};
    use crate::server::store::testing::{each_store, project, run};
    use crate::server::store::{HistoryPlace, Store, TagMove};

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
            let places = "select sequence, stream_id, sorted_at from tag_events union all \
                          select sequence, stream_id, sorted_at from ended_tag_events union all \
                          select sequence, '', sorted_at from ledger order by 1, 2";
            let read =
                async || -> Vec<(i64, String, i64)> { sqlx::query_as(places).fetch_all(store.pool()).await.unwrap() };
            let before = read().await;
            for statement in [
                "update tag_events set stream_id = '', sorted_at = 0",
                "update ended_tag_events set stream_id = '', sorted_at = 0, from_digest = null, cause = null, cascade_id = ''",
                "update ledger set sorted_at = 0 where sequence > 1",
            ] {
                run(&store, statement).await;
            }
            assert!(!faults(&store).await.is_empty(), "verify would take it for damage");
            store.complete_older_rows().await.unwrap();
            assert_eq!(read().await, before);
            assert_eq!(faults(&store).await, Vec::<String>::new());
        }
    }
}
