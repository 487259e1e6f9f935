//! Who is given what to check, on both databases.

use super::*;
use crate::model::Actor;
use crate::model::time::testing::TIME;
use crate::server::store::testing::{self, TestStore, each_store, project};
use crate::server::store::{Answers, CheckEnd, NextCheck, TagSpec};

const START: i64 = 1_800_000_000_000;

fn key(id: &str) -> BudgetKey {
    BudgetKey { id: id.to_owned(), host: id.to_owned(), account: String::new() }
}

/// A server with so many places to ask in, and enough to download.
fn free(questions: usize) -> Free {
    Free { questions, downloads: 64 }
}

async fn follow(store: &TestStore, project: &str, tag: &str, host: &str) {
    let spec = TagSpec::import(format!("{host}/org/app:{tag}"));
    let names = ("app".parse().unwrap(), tag.parse().unwrap());
    store.set_tag(project, &names.0, &names.1, &spec, None, &Actor::system("test")).await.unwrap();
}

/// As the controller does, with a question of its own for each tag.
async fn assign(store: &TestStore) {
    let tags = store.list_unassigned_imports("", 10_000).await.unwrap();
    // None of them is a first import, which would take more of the registry's slots.
    sqlx::query("update tag_imports set upstream_digest = 'sha256:a'").execute(store.pool()).await.unwrap();
    let assignments = tags.into_iter().map(|tag| {
        let host = tag.source.as_deref().unwrap_or_default().split('/').next().unwrap_or_default().to_owned();
        let (question, repository) = (format!("{host} {} {}", tag.project, tag.name), "org/app".to_owned());
        let (tag_id, generation, upstream_tag) = (tag.id, tag.generation, tag.name);
        Assignment { tag_id, generation, budget: key(&host), question, repository, upstream_tag }
    });
    store.assign_imports(&assignments.collect::<Vec<_>>()).await.unwrap();
}

/// The registry answered once, and tells no limits.
async fn is_known(store: &TestStore, host: &str) {
    let (spend, told, heads_count) = (Vec::new(), None, None);
    let answers = Answers { budget: key(host), spend, told, heads_count, answered_at: now(), is_good: true };
    store.note_answers(&[answers]).await.unwrap();
}

fn titles(claimed: &ClaimedChecks) -> Vec<String> {
    claimed.questions.iter().flatten().map(|one| format!("{}/{}", one.tag.project, one.tag.name)).collect()
}

#[tokio::test]
async fn each_registry_is_asked_by_few_at_a_time_at_its_pace_and_each_project_gets_its_turn() {
    for store in each_store().await {
        TIME.set(Some(START));
        for name in ["many", "one"] {
            project(&store, name).await;
        }
        for number in 0..30 {
            follow(&store, "many", &format!("t{number}"), "a.io").await;
        }
        TIME.set(Some(START + 1000));
        follow(&store, "one", "late", "a.io").await;
        follow(&store, "one", "elsewhere", "b.io").await;
        assert_eq!(
            store.claim_due_imports(store.owner(), 30_000, free(64)).await.unwrap(),
            ClaimedChecks::default(),
            "not assigned"
        );
        assign(&store).await;
        let first = store.claim_due_imports(store.owner(), 30_000, free(64)).await.unwrap();
        assert_eq!(first.questions.len(), 2, "one for each registry, until they have answered: {first:?}");
        let nothing = store.claim_due_imports(store.owner(), 30_000, free(64)).await.unwrap();
        assert!(nothing.questions.is_empty() && nothing.is_crowded, "{nothing:?}");
        is_known(&store, "a.io").await;
        let then = store.claim_due_imports(store.owner(), 30_000, free(64)).await.unwrap();
        assert_eq!(then.questions.len(), 7, "eight are under way now");
        let both = [titles(&first), titles(&then)].concat();
        assert!(both.contains(&"one/late".to_owned()), "it waited less than all others: {both:?}");

        // What is done makes room, at the pace of the registry.
        for due in first.questions.iter().chain(&then.questions).flatten() {
            let end = CheckEnd::Unchanged { digest: "sha256:a" };
            let next = NextCheck { at: now() + 900_000, overdue_at: now() + 1_800_000 };
            store.record_check(due, &end, Some(next)).await.unwrap();
        }
        let mut given = 0;
        loop {
            let more = store.claim_due_imports(store.owner(), 30_000, free(64)).await.unwrap();
            given += more.questions.len();
            let ends: Vec<_> = more.questions.into_iter().flatten().collect();
            if ends.is_empty() {
                assert!(more.again_at.is_some_and(|at| at > now()), "{:?}", more.again_at);
                break;
            }
            for due in &ends {
                let next = NextCheck { at: now() + 900_000, overdue_at: now() + 1_800_000 };
                store.record_check(due, &CheckEnd::Unchanged { digest: "sha256:a" }, Some(next)).await.unwrap();
            }
        }
        assert_eq!(given, 12, "twenty in one second");
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_one_server_took_no_other_takes_until_its_lease_ends() {
    for store in each_store().await {
        TIME.set(Some(START));
        project(&store, "demo").await;
        for number in 0..8 {
            follow(&store, "demo", &format!("t{number}"), "a.io").await;
        }
        assign(&store).await;
        is_known(&store, "a.io").await;
        let mine = store.claim_due_imports("me", 30_000, free(4)).await.unwrap();
        let theirs = store.claim_due_imports("them", 30_000, free(64)).await.unwrap();
        let mut all = [titles(&mine), titles(&theirs)].concat();
        all.sort();
        all.dedup();
        assert_eq!((mine.questions.len(), theirs.questions.len(), all.len()), (4, 4, 8));
        TIME.set(Some(START + 20_000));
        let mut ids: Vec<_> = theirs.questions.iter().flatten().map(|one| one.tag.id.clone()).collect();
        ids.pop().unwrap();
        store.renew_import_leases("them", 30_000, &ids).await.unwrap();
        TIME.set(Some(START + 31_000));
        let taken_over = store.claim_due_imports("them", 30_000, free(64)).await.unwrap();
        let sorted = |mut titles: Vec<String>| {
            titles.sort();
            titles
        };
        let expected = [titles(&mine), titles(&theirs).split_off(3)].concat();
        assert_eq!(sorted(titles(&taken_over)), sorted(expected), "those that nobody is at any more, and no others");
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_hint_during_a_check_is_not_lost_and_none_comes_too_close_to_the_last() {
    for store in each_store().await {
        TIME.set(Some(START));
        let id = project(&store, "demo").await;
        follow(&store, "demo", "1", "a.io").await;
        assign(&store).await;
        let due = store.claim_due_imports(store.owner(), 30_000, free(1)).await.unwrap().questions.remove(0).remove(0);
        let later = NextCheck { at: START + 900_000, overdue_at: START + 1_800_000 };
        let unchanged = CheckEnd::Unchanged { digest: "sha256:a" };
        store.record_check(&due, &unchanged, Some(later)).await.unwrap();
        let next = async || store.find_import(&due.tag.id).await.unwrap().unwrap().next_at;
        assert_eq!(next().await, Some(START + 900_000));
        let hint = async |tag: &str| store.hint_imports(&id, "org/app", Some(tag), 60_000).await.unwrap().checks;
        assert_eq!((hint("2").await, hint("1").await), (0, 1));
        assert_eq!(next().await, Some(START + 60_000), "not at once after a check");
        assert_eq!(hint("1").await, 0, "nothing is left to be moved");

        TIME.set(Some(START + 500_000));
        is_known(&store, "a.io").await;
        let due = store.claim_due_imports(store.owner(), 30_000, free(1)).await.unwrap().questions.remove(0).remove(0);
        let planned = NextCheck { at: START + 1_400_000, overdue_at: START + 2_300_000 };
        store.record_check(&due, &unchanged, Some(planned)).await.unwrap();
        TIME.set(Some(START + 1_400_000));
        let due = store.claim_due_imports(store.owner(), 30_000, free(1)).await.unwrap().questions.remove(0).remove(0);
        // Somebody changes what the tag follows while it is being checked.
        TIME.set(Some(START + 1_400_500));
        follow(&store, "demo", "1", "b.io").await;
        let planned = NextCheck { at: START + 2_300_000, overdue_at: START + 3_200_000 };
        store.record_check(&due, &unchanged, Some(planned)).await.unwrap();
        assert_eq!(next().await, Some(START + 1_400_500), "the new source is looked at now");
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_tag_that_became_a_mere_reference_is_not_claimed_with_those_that_ask_what_it_asked() {
    for store in each_store().await {
        TIME.set(Some(START));
        project(&store, "demo").await;
        follow(&store, "demo", "1", "a.io").await;
        assign(&store).await;
        let names = ("app".parse().unwrap(), "1".parse().unwrap());
        let spec = TagSpec { reference_only: true, scheduled: false, ..TagSpec::import("a.io/org/other:1") };
        let tag = store.set_tag("demo", &names.0, &names.1, &spec, None, &Actor::system("test")).await.unwrap().tag;
        assert_eq!(store.find_import(&tag.id).await.unwrap(), None);
        assert!(store.claim_due_imports("me", 30_000, free(64)).await.unwrap().questions.is_empty());
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_is_kept_of_an_allowance_shows_now_and_then_whether_there_is_more() {
    let state = BudgetState {
        limit_count: Some(720),
        remaining: Some(36),
        told_at: Some(START),
        heads_count: Some(1),
        answered_at: Some(START),
        gap_ms: 50,
        ..BudgetState::default()
    };
    let room = |remaining: i64, at: i64| {
        InDemand { state: BudgetState { remaining: Some(remaining), ..state.clone() }, asking: 0, downloading: 0 }
            .room(START + at)
    };
    assert_eq!(room(36, 1000), Room::From(START + 200_000));
    assert_eq!(room(36, 200_000), Room::For { questions: 1, slots: 20 });
    assert_eq!(room(39, 1000), Room::For { questions: 3, slots: 20 });
    assert_eq!(room(0, 200_000), Room::From(START + 3_600_000), "the hour that a registry means that tells no window");
    assert_eq!(room(0, 3_600_000), Room::For { questions: 8, slots: 20 });
}

#[tokio::test]
async fn what_downloads_does_not_ask_and_neither_a_registry_nor_a_project_gives_all_it_has_to_downloads() {
    for store in each_store().await {
        TIME.set(Some(START));
        for name in ["many", "one"] {
            project(&store, name).await;
        }
        for number in 0..30 {
            follow(&store, "many", &format!("t{number}"), "a.io").await;
        }
        for number in 0..2 {
            follow(&store, "one", &format!("t{number}"), "a.io").await;
        }
        assign(&store).await;
        is_known(&store, "a.io").await;
        let claim = async || {
            // As if a second had passed, so that its pace is no limit.
            TIME.set(Some(now() + 1000));
            store.claim_due_imports(store.owner(), 3_600_000, free(64)).await.unwrap()
        };
        let first = claim().await;
        assert_eq!((first.questions.len(), claim().await.questions.len()), (8, 0), "eight ask");
        let (mut downloading, mut refused) = (Vec::new(), Vec::new());
        let mut all = first.questions;
        while !all.is_empty() {
            for question in all {
                let began = store.begin_download(&question[0]).await.unwrap();
                if began {
                    downloading.push(question[0].clone());
                } else {
                    store.postpone_download(&question[0]).await.unwrap();
                    refused.push(question[0].clone());
                }
            }
            all = claim().await.questions;
        }
        let of = |name: &str, list: &[DueImport]| list.iter().filter(|one| one.tag.project == name).count();
        assert_eq!((of("many", &downloading), of("one", &downloading)), (9, 2), "one project takes no more");
        assert_eq!((of("many", &refused), of("one", &refused)), (21, 0), "all were asked all the same");
        let waits = store.find_import(&refused[0].tag.id).await.unwrap().unwrap();
        assert!(waits.found_at.is_some());

        // One ends: its place goes to what was found, which is asked for once more.
        let next = NextCheck { at: now() + 900_000, overdue_at: now() + 1_800_000 };
        let ended = downloading.iter().find(|one| one.tag.project == "many").unwrap();
        store.record_check(ended, &CheckEnd::Fetched { digest: "sha256:b" }, Some(next)).await.unwrap();
        let again = claim().await;
        assert_eq!(again.questions.len(), 1, "{:?}", titles(&again));
        assert!(refused.iter().any(|one| one.tag.id == again.questions[0][0].tag.id));
        assert!(store.begin_download(&again.questions[0][0]).await.unwrap());
        let import = store.find_import(&again.questions[0][0].tag.id).await.unwrap().unwrap();
        assert_eq!(import.found_at, None);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_has_nothing_yet_is_given_out_when_there_is_a_place_to_download_it() {
    for store in each_store().await {
        TIME.set(Some(START));
        project(&store, "demo").await;
        for number in 0..3 {
            follow(&store, "demo", &format!("new{number}"), "a.io").await;
            follow(&store, "demo", &format!("known{number}"), "a.io").await;
        }
        assign(&store).await;
        is_known(&store, "a.io").await;
        testing::run(&store, "update tag_imports set upstream_digest = null where tag_id in (select id from tags where name like 'new%')")
            .await;
        let claimed = store.claim_due_imports("me", 30_000, Free { questions: 64, downloads: 1 }).await.unwrap();
        let mut names = titles(&claimed);
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names.iter().filter(|name| name.contains("/new")).count(), 1, "{names:?}");
        assert!(claimed.is_crowded, "the others wait for a place");
        let none = store.claim_due_imports("me", 30_000, Free { questions: 64, downloads: 0 }).await.unwrap();
        assert_eq!(none.questions.len(), 0, "{:?}", titles(&none));
        TIME.set(None);
    }
}
