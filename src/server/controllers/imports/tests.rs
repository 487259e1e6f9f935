//! What is known to go wrong with imports elsewhere, by the clock: C3 to C8 and C16 of the list of pains.

use axum::http::Method;

use super::testing::{Allows, HOUR, MINUTE, Registry, SECOND, START, Site};
use crate::model::time::testing::TIME;
use crate::model::{Actor, Tag, now};
use crate::server::store::testing::{each_store, quick_store};
use crate::server::store::{Assignment, SecretData};

/// Requests for manifests by method.
fn count(asked: &[super::testing::Asked], method: &Method) -> usize {
    asked.iter().filter(|one| one.method == *method && !one.what.contains("/blobs/")).count()
}

#[tokio::test]
async fn c3_an_unchanged_tag_costs_a_head_each_interval_and_no_get_all_day() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
    site.settle().await;
    assert_eq!(count(&registry.take(), &Method::GET), 1, "the first import");
    site.pass(24 * HOUR).await;
    let asked = registry.take();
    assert_eq!(count(&asked, &Method::GET), 0, "{asked:?}");
    let heads = count(&asked, &Method::HEAD);
    assert!((96..=123).contains(&heads), "{heads} HEADs in 96 intervals");
    for pair in asked.windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!((11 * MINUTE..=15 * MINUTE).contains(&gap), "{gap} ms between two checks");
    }
    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    let asked = registry.take();
    assert_eq!((count(&asked, &Method::GET), asked[0].method.clone()), (1, Method::HEAD), "{asked:?}");
    TIME.set(None);
}

#[tokio::test]
async fn c4_retry_after_is_kept_to_for_that_registry_and_others_go_on() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let (busy, other) = (Registry::start(Allows::default()).await, Registry::start(Allows::default()).await);
        site.project("demo").await;
        for tag in ["a:1", "a:2", "a:3"] {
            site.follow("demo", tag, &busy.reference(&format!("org/{tag}"))).await;
            site.follow("demo", &format!("other-{tag}"), &other.reference(&format!("org/{tag}"))).await;
        }
        // A registry that is new is asked one thing first.
        site.pass(5 * SECOND).await;
        busy.take();
        other.take();
        for form in ["120".to_owned(), "a date".to_owned()] {
            let value = match form.as_str() {
                // The form of a date is read by the real clock.
                "a date" => jiff::fmt::rfc2822::to_string(
                    &jiff::Timestamp::now()
                        .saturating_add(jiff::SignedDuration::from_secs(121))
                        .expect("soon")
                        .to_zoned(jiff::tz::TimeZone::UTC),
                )
                .expect("a date"),
                seconds => seconds.to_owned(),
            };
            busy.refuse(Some((429, vec![("retry-after", value)], "")));
            site.pass(15 * MINUTE).await;
            let asked = busy.take();
            let refused: Vec<_> = asked.iter().filter(|one| one.status == 429).collect();
            assert!(!refused.is_empty() && refused.iter().all(|one| one.method == Method::HEAD), "{form}: {refused:?}");
            let mut rests: Vec<i64> = refused.iter().map(|one| one.at).collect();
            rests.dedup();
            for pair in rests.windows(2) {
                assert!(pair[1] - pair[0] >= 119 * SECOND, "{form}: asked again after {} ms", pair[1] - pair[0]);
            }
            let heads = count(&other.take(), &Method::HEAD);
            assert!(heads >= 3, "{form}: others were asked {heads} times");
            // Nobody can talk it into an earlier question, and a person's wish is not forgotten.
            let wish = async || site.store.request_check("demo", "a", "1", &Actor::person("ada")).await.unwrap();
            wish().await;
            site.pass(125 * SECOND).await;
            wish().await;
            site.settle().await;
            busy.refuse(None);
            busy.take();
            wish().await;
            let state = site.store.find_budget(&busy.address).await.unwrap().unwrap();
            let until = state.rests_until(now()).expect("it rests");
            site.pass(until - now() - SECOND).await;
            assert_eq!(busy.take(), [], "{form}");
            site.pass(3 * SECOND).await;
            assert!(!busy.take().is_empty(), "{form}");
            site.pass(HOUR).await;
            assert_eq!(site.import("demo", "a:1").await.outcome, "unchanged");
            busy.take();
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn c4_without_retry_after_each_refusal_doubles_the_rest_and_nothing_falls_back_to_gets() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    for number in 0..20 {
        site.follow("demo", &format!("a:{number}"), &registry.reference(&format!("org/a:{number}"))).await;
    }
    site.settle().await;
    site.pass(20 * SECOND).await;
    registry.take();
    registry.refuse(Some((429, Vec::new(), "Too Many Requests")));
    site.pass(6 * HOUR).await;
    let asked = registry.take();
    assert_eq!(count(&asked, &Method::GET), 0);
    let mut times: Vec<i64> = asked.iter().map(|one| one.at).collect();
    times.dedup();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() < 16, "{} questions in six hours: {gaps:?}", times.len());
    assert!(gaps.iter().all(|gap| *gap >= 50 * SECOND), "{gaps:?}");
    assert!(gaps.last().is_some_and(|gap| *gap >= 50 * MINUTE), "{gaps:?}");
    TIME.set(None);
}

#[tokio::test]
async fn c5_hundreds_of_tags_of_one_project_do_not_delay_the_tag_of_another() {
    let mut site = Site::start(quick_store().await).await;
    site.grain = 10 * SECOND;
    // Every request counts, and the tags want 1,200 an hour.
    let allows = Allows { pulls: Some((720, HOUR)), counts_heads: true, a_second: None };
    let registry = Registry::start(allows).await;
    for name in ["many", "one"] {
        site.project(name).await;
    }
    for number in 0..300 {
        site.follow("many", &format!("a:{number}"), &registry.reference(&format!("org/a:{number}"))).await;
    }
    // The queue is there already when the other team comes.
    site.pass(20 * SECOND).await;
    site.follow("one", "b:1", &registry.reference("org/b:1")).await;
    let came = now();
    site.pass(15 * MINUTE).await;
    let first = site.import("one", "b:1").await;
    let waited = first.last_ok_at.expect("it was imported") - came;
    assert!(waited <= 15 * MINUTE, "it waited {waited} ms");
    registry.take();
    site.pass(2 * HOUR).await;
    let asked = registry.take();
    let theirs: Vec<i64> = asked.iter().filter(|one| one.what == "org/b:1").map(|one| one.at).collect();
    let shown = site.import("one", "b:1").await.least_interval_ms.max(15 * MINUTE);
    assert!(shown > 15 * MINUTE, "the page says that the limit is too low for every 15 minutes: {shown}");
    for pair in theirs.windows(2) {
        assert!(pair[1] - pair[0] <= shown + 15 * MINUTE, "{} ms between two checks", pair[1] - pair[0]);
    }
    assert!(theirs.len() >= 3, "{theirs:?}");
    assert_eq!(registry.refused(), 0, "what the registry allows was kept to");
    let budgets = site.store.list_budgets().await.unwrap();
    let spend: Vec<_> = budgets[0].spend.iter().map(|one| one.project.as_str()).collect();
    assert_eq!((budgets.len(), spend), (1, vec!["many", "one"]), "the page tells who asks");
    assert_eq!(budgets[0].state.heads_count, Some(1));
    TIME.set(None);
}

/// Nearly an hour and a half of questions wait when the other team comes, and its tag waits for no more than its own interval.
#[tokio::test]
async fn c5_a_thousand_tags_of_one_project_delay_the_tag_of_another_by_an_interval_at_the_most() {
    let mut site = Site::start(quick_store().await).await;
    site.grain = MINUTE;
    let allows = Allows { pulls: Some((720, HOUR)), counts_heads: true, a_second: None };
    let registry = Registry::start(allows).await;
    for name in ["many", "one"] {
        site.project(name).await;
    }
    for number in 0..1000 {
        site.follow("many", &format!("a:{number}"), &registry.reference(&format!("org/a:{number}"))).await;
    }
    site.pass(MINUTE).await;
    site.follow("one", "b:1", &registry.reference("org/b:1")).await;
    let came = now();
    while site.import("one", "b:1").await.last_ok_at.is_none() && now() < came + HOUR {
        site.pass(MINUTE).await;
    }
    let waited = site.import("one", "b:1").await.last_ok_at.expect("it was imported") - came;
    assert!(waited <= 15 * MINUTE, "it waited {waited} ms");
    assert_eq!(registry.refused(), 0, "what the registry allows was kept to");
    TIME.set(None);
}

#[tokio::test]
async fn c7_an_abuse_limit_and_a_used_up_allowance_are_two_states_with_different_advice() {
    let site = Site::start(quick_store().await).await;
    let (pulls, abuse) = (Registry::start(Allows::default()).await, Registry::start(Allows::default()).await);
    let used_up = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    pulls.refuse_gets((429, Vec::new(), used_up));
    abuse.refuse_gets((429, Vec::new(), "Too Many Requests"));
    site.project("demo").await;
    site.follow("demo", "a:pulls", &pulls.reference("org/a:1")).await;
    site.follow("demo", "a:abuse", &abuse.reference("org/a:1")).await;
    site.settle().await;
    let told = async |tag: &str| {
        let import = site.import("demo", tag).await;
        (import.reason.unwrap_or_default(), import.message.unwrap_or_default())
    };
    let (reason, message) = told("a:pulls").await;
    assert_eq!(reason, "rate-limit");
    assert!(message.contains("Credentials of an account with a higher limit help"), "{message}");
    let (reason, message) = told("a:abuse").await;
    assert_eq!(reason, "abuse-limit");
    assert!(message.contains("asking too often") && message.contains("more slowly"), "{message}");
    let gaps = async |registry: &Registry| site.store.find_budget(&registry.address).await.unwrap().unwrap().gap_ms;
    assert!(gaps(&abuse).await > gaps(&pulls).await, "only the one is asked more slowly");
    TIME.set(None);
}

#[tokio::test]
async fn c8_a_tag_that_nobody_checks_is_overdue_after_two_intervals() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows::default()).await;
        site.project("demo").await;
        site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
        site.settle().await;
        let import = site.import("demo", "base:1").await;
        assert_eq!(import.last_try_at, Some(START));
        assert!(import.next_check_at().is_some_and(|at| at > START && at < START + 15 * MINUTE), "{import:?}");
        // The worker is frozen.
        let id = site.store.find_project("demo").await.unwrap().unwrap().id;
        for (minutes, is_overdue) in [(15, false), (26, false), (30, true)] {
            TIME.set(Some(START + minutes * MINUTE));
            let import = site.import("demo", "base:1").await;
            assert_eq!(import.is_overdue(now()), is_overdue, "after {minutes} minutes");
            assert_eq!(site.store.count_overdue_imports(&id).await.unwrap(), i64::from(is_overdue));
            let listed = site.store.list_imports("demo", "overdue", "", 10).await.unwrap();
            assert_eq!(listed.len(), usize::from(is_overdue));
        }
        // It goes on, and checks the tag without being told of it.
        site.settle().await;
        assert!(!site.import("demo", "base:1").await.is_overdue(now()));
        TIME.set(None);
    }
}

#[tokio::test]
async fn c16_polling_goes_on_without_any_webhook_and_a_webhook_only_moves_a_check_forward() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
    site.settle().await;
    let before = site.tag("demo", "base:1").await.digest;
    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    let polled = site.tag("demo", "base:1").await.digest;
    assert_ne!(polled, before, "without a webhook it is adopted within the interval");

    site.pass(2 * MINUTE).await;
    let id = site.store.find_project("demo").await.unwrap().unwrap().id;
    registry.change("org/base:1");
    registry.take();
    let hint = async |tag| site.store.hint_imports(&id, "org/base", tag, MINUTE).await.unwrap().checks;
    assert_eq!(hint(Some("2")).await, 0, "nobody follows that tag");
    for flood in 0..100 {
        hint(if flood % 2 == 0 { Some("1") } else { None }).await;
        site.settle().await;
    }
    assert_ne!(site.tag("demo", "base:1").await.digest, polled, "it is checked at once");
    let heads = count(&registry.take(), &Method::HEAD);
    assert_eq!(heads, 1, "a flood of webhooks is one check");
    TIME.set(None);
}

#[tokio::test]
async fn tags_that_follow_the_same_share_one_question_and_others_rights_do_not() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    for name in ["one", "two", "signed-in"] {
        site.project(name).await;
    }
    let secret =
        SecretData::Registry { host: registry.address.clone(), username: "ada".into(), password: "word".into() };
    let name = "there".parse().unwrap();
    site.store.create_secret("signed-in", &name, &secret, &Actor::system("test")).await.unwrap();
    for project in ["one", "two", "signed-in"] {
        site.follow(project, "a:1", &registry.reference("org/a:1")).await;
        site.follow(project, "b:latest", &registry.reference("org/a:1")).await;
    }
    site.pass(5 * SECOND).await;
    assert_eq!(count(&registry.take(), &Method::GET), 2, "once for those without an account, once for ada");
    site.pass(10 * HOUR).await;
    let asked = registry.take();
    let heads = count(&asked, &Method::HEAD);
    assert!((80..=104).contains(&heads), "{heads} HEADs of two questions in 40 intervals");
    registry.change("org/a:1");
    site.pass(15 * MINUTE).await;
    assert_eq!(count(&registry.take(), &Method::GET), 2, "what changed is fetched once for all, too");
    let one = site.tag("one", "a:1").await.digest;
    for (project, tag) in [("one", "b:latest"), ("two", "a:1"), ("two", "b:latest"), ("signed-in", "a:1")] {
        assert_eq!(site.tag(project, tag).await.digest, one, "{project}/{tag}");
    }
    // Without the secret it is nobody's account again.
    site.store.delete_secret("signed-in", "there", &Actor::system("test")).await.unwrap();
    site.settle().await;
    let budgets = site.store.list_budgets().await.unwrap();
    let tags: Vec<_> = budgets.iter().map(|budget| (budget.state.account.as_str(), budget.tags)).collect();
    assert_eq!(tags, [("", 6), ("ada", 0)]);
    assert!(!format!("{budgets:?}").contains("word"), "no password is in there");
    TIME.set(None);
}

#[tokio::test]
async fn what_fails_is_tried_less_and_less_often_and_comes_back() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
    site.settle().await;
    registry.take();
    registry.refuse(Some((500, Vec::new(), "")));
    site.pass(6 * HOUR).await;
    let times: Vec<i64> = registry.take().iter().map(|one| one.at).collect();
    let gaps: Vec<i64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / MINUTE).collect();
    assert!((11..=15).contains(&gaps[0]) && (23..=30).contains(&gaps[1]), "{gaps:?}");
    assert!(gaps[2..].iter().all(|gap| (46..=60).contains(gap)), "{gaps:?}");
    assert_eq!(site.import("demo", "base:1").await.reason.as_deref(), Some("upstream"));
    registry.refuse(None);
    site.pass(HOUR).await;
    let import = site.import("demo", "base:1").await;
    assert_eq!((import.outcome.as_str(), import.failures), ("unchanged", 0));
    TIME.set(None);
}

#[tokio::test]
async fn a_tag_that_asks_something_else_by_now_is_not_given_the_answer_of_others() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    for (project, tag) in [("one", "a:1"), ("two", "b:1")] {
        site.project(project).await;
        site.follow(project, tag, &registry.reference(&format!("org/{tag}"))).await;
    }
    let right = site.imports.importer.assign(&site.tag("one", "a:1").await).await.unwrap();
    let Tag { id: tag_id, generation, .. } = site.tag("two", "b:1").await;
    let wrong = Assignment { tag_id, generation, ..right.clone() };
    site.store.assign_imports(&[right, wrong]).await.unwrap();
    site.pass(5 * SECOND).await;
    let digests = (site.tag("one", "a:1").await.digest, site.tag("two", "b:1").await.digest);
    assert!(digests.0.is_some() && digests.1.is_some() && digests.0 != digests.1, "{digests:?}");
    let asked = registry.take();
    assert!(asked.iter().any(|one| one.what == "org/b:1"), "it has a question of its own again: {asked:?}");
    TIME.set(None);
}
