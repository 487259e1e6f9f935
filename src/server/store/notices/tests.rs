use crate::model::{Actor, EventKind, NoticeAttempt, NoticeKind, NoticeState, NoticeTarget, Tag, now};
use crate::server::store::moves::Move;
use crate::server::store::notices::CURSOR_STEP;
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{DueNotice, Entry, NewNotice, NewsPage, NoticeTargetFields};

const MINUTE: i64 = 60_000;

fn ada() -> Actor {
    Actor::person("ada")
}

fn fields(kinds: &[NoticeKind]) -> NoticeTargetFields {
    NoticeTargetFields { url: "http://chat.example/".to_owned(), kinds: kinds.to_vec(), is_off: false }
}

async fn target(store: &TestStore, name: &str, kinds: &[NoticeKind]) -> NoticeTarget {
    let (name, secret) = (name.parse().unwrap(), "whsec_x".into());
    store.create_notice_target("demo", &name, &fields(kinds), &secret, &ada()).await.unwrap()
}

async fn tag(store: &TestStore) -> Tag {
    let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
    let mut tx = store.write_tx().await.unwrap();
    let tag = tx.ensure_tag(&stream, &"latest".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    tag
}

async fn moved(store: &TestStore, id: &str, digest: &str) {
    let mut tx = store.write_tx().await.unwrap();
    let tag = tx.tag_by_id(id).await.unwrap();
    tx.move_tag(&tag, &Move::new(EventKind::Push, digest, "demo/app@x", &ada())).await.unwrap();
    tx.commit().await.unwrap();
}

/// A project whose target `chat` is told of these moves of a tag.
async fn told_of(store: &TestStore, digests: &[&str]) -> NoticeTarget {
    project(store, "demo").await;
    let tag = tag(store).await;
    let chat = target(store, "chat", &[NoticeKind::TagPushed]).await;
    for digest in digests {
        moved(store, &tag.id, digest).await;
    }
    make(store).await;
    chat
}

/// As the controller makes them of news.
fn worded(page: &NewsPage) -> Vec<NewNotice> {
    let words = |item: &crate::model::News| NewNotice {
        target_id: item.target_id.clone(),
        sequence: item.row.sequence,
        kind: item.kind,
        object: item.row.object.clone(),
        body: "{}".to_owned(),
    };
    page.news.iter().map(words).collect()
}

/// Makes notices until there is nothing to make.
async fn make(store: &TestStore) {
    while let Some(page) = store.next_news().await.unwrap() {
        store.add_notices(&worded(&page), page.upto).await.unwrap();
        if !page.more {
            return;
        }
    }
}

fn attempt(problem: Option<&str>) -> NoticeAttempt {
    NoticeAttempt {
        number: 0,
        at: now(),
        duration_ms: 1,
        request: "POST".to_owned(),
        status: Some(200),
        response: None,
        problem: problem.map(str::to_owned),
    }
}

async fn claim(store: &TestStore) -> Vec<DueNotice> {
    store.claim_notices(MINUTE, 10).await.unwrap()
}

#[tokio::test]
async fn made_twice_or_by_two_it_is_one_notice_and_none_is_left_out() {
    for store in each_store().await {
        project(&store, "demo").await;
        let tag = tag(&store).await;
        let chat = target(&store, "chat", &[NoticeKind::TagPushed]).await;
        moved(&store, &tag.id, "sha256:a").await;
        // Two look at the same rows, and one of them dies before it writes: the other one's are there once.
        let (one, two) = (store.next_news().await.unwrap().unwrap(), store.next_news().await.unwrap().unwrap());
        assert_eq!(one, two);
        store.add_notices(&worded(&one), one.upto).await.unwrap();
        moved(&store, &tag.id, "sha256:b").await;
        make(&store).await;
        store.add_notices(&worded(&two), two.upto).await.unwrap();
        let told = store.list_notices(&chat.id, None, 10).await.unwrap();
        assert_eq!(told.len(), 2);
        assert!(told[0].sequence > told[1].sequence && told[0].id != told[1].id);
        assert_eq!(store.next_news().await.unwrap(), None);
    }
}

#[tokio::test]
async fn rows_that_nobody_wants_are_passed_over_and_the_cursor_moves_on() {
    for store in each_store().await {
        project(&store, "demo").await;
        project(&store, "other").await;
        let chat = target(&store, "chat", &[NoticeKind::TagPushed]).await;
        let rows = CURSOR_STEP * 3;
        let mut tx = store.write_tx().await.unwrap();
        for n in 0..rows {
            let (action, project) = if n % 2 == 0 { ("image.push", "demo") } else { ("tag.push", "other") };
            tx.record(&ada(), Entry { action, project: Some(project), object: "app", ..Entry::default() })
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        make(&store).await;
        assert_eq!(store.list_notices(&chat.id, None, 10).await.unwrap(), []);
        let (cursor,): (i64,) =
            sqlx::query_as("select sequence from notice_cursor").fetch_one(store.pool()).await.unwrap();
        assert!(cursor > rows - CURSOR_STEP, "{cursor}");
    }
}

#[tokio::test]
async fn a_target_is_told_one_after_the_other_and_a_dead_teller_is_replaced() {
    for store in each_store().await {
        project(&store, "demo").await;
        let tag = tag(&store).await;
        let chat = target(&store, "chat", &[NoticeKind::TagPushed]).await;
        let slow = target(&store, "slow", &[NoticeKind::TagPushed]).await;
        for digest in ["sha256:a", "sha256:b"] {
            moved(&store, &tag.id, digest).await;
        }
        make(&store).await;
        let first = claim(&store).await;
        assert_eq!(first.len(), 2, "one of each target");
        assert_eq!(claim(&store).await.len(), 0, "the others wait for these");
        let of = |claimed: &[DueNotice], id: &str| claimed.iter().find(|due| due.target_id == id).cloned().unwrap();
        store.record_attempt(&of(&first, &chat.id), &attempt(None), "200", None).await.unwrap();
        let second = claim(&store).await;
        assert_eq!((second.len(), &second[0].target_id), (1, &chat.id));
        assert!(second[0].notice.sequence > of(&first, &chat.id).notice.sequence, "in their order");

        // Whoever told the slow one is dead: its lease runs out, and the same notice is taken up again.
        let expire = sqlx::query("update notice_targets set lease_until = 1 where id = $1").bind(&slow.id);
        expire.execute(store.pool()).await.unwrap();
        let again = claim(&store).await;
        assert_eq!(of(&again, &slow.id).notice.id, of(&first, &slow.id).notice.id);
    }
}

#[tokio::test]
async fn attempts_are_counted_from_when_somebody_asked_and_all_of_them_are_kept() {
    for store in each_store().await {
        let chat = told_of(&store, &["sha256:a"]).await;
        for retry_at in [Some(now()), None] {
            let due = claim(&store).await.remove(0);
            store.record_attempt(&due, &attempt(Some("it answered 500")), "500", retry_at).await.unwrap();
        }
        let given_up = store.list_notices(&chat.id, None, 1).await.unwrap().remove(0);
        assert_eq!((given_up.state, given_up.attempts, given_up.failures), (NoticeState::Failed, 2, 2));
        assert_eq!(claim(&store).await.len(), 0);
        store.resend_notice("demo", "chat", &given_up.id, &ada()).await.unwrap();
        let due = claim(&store).await.remove(0);
        assert_eq!((due.notice.id.as_str(), due.notice.failures), (given_up.id.as_str(), 0));
        store.record_attempt(&due, &attempt(None), "200", None).await.unwrap();
        let (notice, attempts) = store.load_notice(&chat.id, &given_up.id).await.unwrap();
        assert_eq!((notice.state, notice.next_at), (NoticeState::Delivered, None));
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [3, 2, 1]);
        let shown = store.load_notice_target("demo", "chat").await.unwrap();
        assert_eq!((shown.last_state.as_deref(), shown.waiting), (Some("delivered"), 0));

        assert_eq!(store.tidy_notices(MINUTE).await.unwrap(), 0);
        assert_eq!(store.tidy_notices(-MINUTE).await.unwrap(), 1);
        assert_eq!(store.verify_ledger().await.unwrap().1, Vec::new());
    }
}

#[tokio::test]
async fn what_is_told_when_a_target_is_turned_off_meanwhile_stays_dropped() {
    for store in each_store().await {
        let chat = told_of(&store, &["sha256:a"]).await;
        let due = claim(&store).await.remove(0);
        let off = NoticeTargetFields { is_off: true, ..fields(&[NoticeKind::TagPushed]) };
        store.update_notice_target("demo", "chat", &off, None, &ada()).await.unwrap();
        store.record_attempt(&due, &attempt(Some("it answered 500")), "500", Some(now())).await.unwrap();
        let notice = store.list_notices(&chat.id, None, 1).await.unwrap().remove(0);
        assert_eq!((notice.state, notice.next_at, notice.attempts), (NoticeState::Dropped, None, 1));
        assert_eq!(store.next_notice_at().await.unwrap(), None);
    }
}
