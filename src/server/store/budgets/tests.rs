use super::*;
use crate::model::Forecast;
use crate::model::time::testing::TIME;
use crate::server::store::testing::{each_store, project};

fn key(id: &str) -> BudgetKey {
    BudgetKey { id: id.to_owned(), host: id.to_owned(), account: String::new() }
}

fn answers(id: &str, at: i64) -> Answers {
    let (told, heads_count) = (None, None);
    Answers { budget: key(id), spend: Vec::new(), told, heads_count, answered_at: at, is_good: true }
}

#[tokio::test]
async fn rests_last_as_long_as_asked_and_longer_each_time_when_nothing_is_said() {
    for store in each_store().await {
        let start = 1_800_000_000_000;
        TIME.set(Some(start));
        assert_eq!(store.rest_budget(&key("a"), Some(120_000), RestKind::RateLimit).await.unwrap(), start + 120_000);
        // A shorter one, told by another request under way, does not end it.
        assert_eq!(store.rest_budget(&key("a"), Some(1_000), RestKind::RateLimit).await.unwrap(), start + 120_000);
        let state = store.find_budget("a").await.unwrap().unwrap();
        assert_eq!((state.strikes, state.rest_reason.as_deref()), (1, Some("rate-limit")));
        assert_eq!(state.gap_ms, USUAL_GAP_MS, "what is used up has nothing to do with the rate");

        let mut last = 0;
        for _ in 0..3 {
            let until = store.rest_budget(&key("b"), None, RestKind::AbuseLimit).await.unwrap();
            let rest = until - now();
            assert!(rest * 10 >= last * 15, "{rest} after {last}");
            last = rest;
            TIME.set(Some(until));
        }
        let state = store.find_budget("b").await.unwrap().unwrap();
        assert_eq!((state.strikes, state.gap_ms), (3, USUAL_GAP_MS * 8));
        // It becomes faster again, step by step.
        for gap in [USUAL_GAP_MS * 8, USUAL_GAP_MS * 4, USUAL_GAP_MS * 2, USUAL_GAP_MS, USUAL_GAP_MS] {
            store.note_answers(&[answers("b", now() + 1)]).await.unwrap();
            let state = store.find_budget("b").await.unwrap().unwrap();
            assert_eq!((state.strikes, state.gap_ms), (0, gap));
            TIME.set(Some(now() + SPEED_UP_AFTER_MS + 1000));
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn no_time_to_wait_is_no_leave_to_ask_on_and_all_accounts_rest_after_a_complaint() {
    for store in each_store().await {
        let start = 1_800_000_000_000;
        TIME.set(Some(start));
        let until = store.rest_budget(&key("a"), Some(0), RestKind::RateLimit).await.unwrap();
        assert!(until - start >= FIRST_REST_MS * 9 / 10, "{}", until - start);
        TIME.set(Some(until));
        assert_eq!(
            store.rest_budget(&key("a"), Some(1), RestKind::RateLimit).await.unwrap(),
            until + LEAST_FURTHER_REST_MS
        );

        let account = BudgetKey { id: "b ada".to_owned(), account: "ada".to_owned(), ..key("b") };
        store.note_answers(&[answers("b", start), answers("c", start)]).await.unwrap();
        store.rest_budget(&account, Some(60_000), RestKind::RateLimit).await.unwrap();
        let rests = async |id: &str| store.find_budget(id).await.unwrap().unwrap().rest_until;
        assert_eq!(rests("b").await, None, "only the account's allowance is used up");
        TIME.set(Some(now() + 60_000));
        let until = store.rest_budget(&account, Some(90_000), RestKind::AbuseLimit).await.unwrap();
        assert_eq!((rests("b").await, rests("c").await), (Some(until), None));
        TIME.set(None);
    }
}

#[tokio::test]
async fn who_is_away_is_left_alone_for_as_long_as_it_says_and_is_asked_as_quickly_as_before() {
    for store in each_store().await {
        let start = 1_800_000_000_000;
        TIME.set(Some(start));
        let account = BudgetKey { id: "b ada".to_owned(), account: "ada".to_owned(), ..key("b") };
        store.note_answers(&[answers("b", start), answers("c", start)]).await.unwrap();
        let until = store.rest_budget(&account, Some(30_000), RestKind::Unavailable).await.unwrap();
        assert_eq!(until, start + 30_000);
        for id in ["b", "b ada"] {
            let state = store.find_budget(id).await.unwrap().unwrap();
            assert_eq!((state.rest_until, state.rest_reason.as_deref()), (Some(until), Some("unavailable")), "{id}");
            assert_eq!((state.strikes, state.gap_ms), (0, USUAL_GAP_MS), "{id}");
        }
        assert_eq!(store.find_budget("c").await.unwrap().unwrap().rest_until, None);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_was_told_and_asked_is_added_up_by_project() {
    for store in each_store().await {
        project(&store, "one").await;
        project(&store, "two").await;
        let told = Allowance {
            limit: Some(100),
            remaining: Some(60),
            window_ms: Some(21_600_000),
            at: now(),
            resets_at: None,
        };
        let spend = vec![("one".to_owned(), 5, 1), ("two".to_owned(), 7, 30), ("gone".to_owned(), 1, 1)];
        let first = Answers { spend, told: Some(told), heads_count: Some(false), ..answers("docker.io", now()) };
        let older = Allowance { remaining: Some(99), at: now() - 60_000, ..told };
        let again = Answers { spend: vec![("one".to_owned(), 5, 0)], told: Some(older), ..answers("docker.io", now()) };
        store.note_answers(&[first, again]).await.unwrap();
        let budgets = store.list_budgets().await.unwrap();
        assert_eq!(budgets.len(), 1);
        let state = &budgets[0].state;
        assert_eq!((state.limit_count, state.remaining, state.heads_count), (Some(100), Some(60), Some(0)));
        let spend: Vec<_> = budgets[0].spend.iter().map(|s| (s.project.as_str(), s.heads, s.recent_gets)).collect();
        assert_eq!(spend, [("two", 7, 30), ("one", 10, 1)]);
        assert!(matches!(budgets[0].forecast(now()), Forecast::Until(_)), "{:?}", budgets[0].forecast(now()));
        store.sweep_budgets().await.unwrap();
        assert_eq!(store.list_budgets().await.unwrap().len(), 1, "what was used lately stays");
    }
}
