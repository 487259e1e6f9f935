use super::*;
use crate::model::time::testing::TIME;
use crate::server::importer::turns::Wait;
use crate::server::oci::Access;

fn source() -> Source {
    let budget = BudgetKey { id: "r.io".into(), host: "r.io".into(), account: String::new() };
    let reference = "r.io/a:1".parse().unwrap();
    let (access, project) = (Access::default(), "demo".to_owned());
    Source { reference, access, budget, project, secret_id: None, wait: Wait::default() }
}

fn remains(remaining: u64) -> Told {
    let (limit, remaining, window_seconds) = (Some(100), Some(remaining), Some(3600));
    let rate_limit = RateLimit { limit, remaining, window_seconds, reset_seconds: None };
    Told { rate_limit: Some(rate_limit), is_unchanged: false }
}

const SILENT: Told = Told { rate_limit: None, is_unchanged: false };
/// A 304 without a word of an allowance.
const UNCHANGED: Told = Told { rate_limit: None, is_unchanged: true };

fn heads_count(allowances: &Allowances) -> Option<bool> {
    allowances.lock().budgets["r.io"].heads_count
}

#[test]
fn whether_heads_are_counted_is_learned_from_two_with_nothing_between() {
    let (allowances, source) = (Allowances::default(), source());
    let ask = |asks| allowances.begin(&source, asks, None).unwrap();
    ask(Asks::Manifest).answered("demo", remains(80));
    assert_eq!(heads_count(&allowances), None, "one figure says nothing");
    ask(Asks::Head).answered("demo", remains(80));
    assert_eq!(heads_count(&allowances), Some(false));
    ask(Asks::Head).answered("demo", remains(79));
    assert_eq!(heads_count(&allowances), Some(true));
    ask(Asks::Blob).answered("demo", SILENT);
    ask(Asks::Head).answered("demo", remains(79));
    assert_eq!(heads_count(&allowances), Some(true), "a blob came between, which may have counted");
    let (one, two) = (ask(Asks::Head), ask(Asks::Head));
    one.answered("demo", remains(79));
    two.answered("demo", remains(79));
    assert_eq!(heads_count(&allowances), Some(true), "asked beside one another");
    TIME.set(Some(now() + PAIR_WITHIN_MS + 1000));
    ask(Asks::Head).answered("demo", remains(79));
    assert_eq!(heads_count(&allowances), Some(true), "so much later, others may have come back");
    ask(Asks::Head).answered("demo", remains(95));
    assert_eq!(heads_count(&allowances), Some(true), "more than before says nothing of this one");
    let (taken, _) = allowances.take();
    TIME.set(None);
    assert_eq!((taken.len(), &taken[0].spend), (1, &vec![("demo".to_owned(), 7, 1)]));
    assert!(allowances.take().0.is_empty());
}

#[test]
fn no_manifest_is_asked_for_when_none_remain() {
    let (allowances, source) = (Allowances::default(), source());
    allowances.begin(&source, Asks::Head, None).unwrap().answered("demo", remains(2));
    let held: Vec<_> = (0..2).map(|_| allowances.begin(&source, Asks::Manifest, None).unwrap()).collect();
    let refused = allowances.begin(&source, Asks::Manifest, None).err().expect("a refusal");
    assert_eq!((refused.reason(), held.len()), ("rate-limit", 2));
    drop(held);
    assert!(allowances.begin(&source, Asks::Manifest, None).is_err(), "what is under way may have counted");
    assert!(allowances.begin(&source, Asks::Head, None).is_ok());
    allowances.begin(&source, Asks::Head, None).unwrap().answered("demo", remains(1));
    assert!(allowances.begin(&source, Asks::Manifest, None).is_ok(), "the registry says that there is one more");
}

#[test]
fn what_is_used_up_without_a_window_is_so_for_an_hour_and_a_free_head_shows_it_earlier() {
    let (allowances, source) = (Allowances::default(), source());
    TIME.set(Some(1_800_000_000_000));
    let ask = |asks| allowances.begin(&source, asks, None);
    let used_up = RateLimit { limit: Some(100), remaining: Some(0), ..RateLimit::default() };
    let used_up = Told { rate_limit: Some(used_up), is_unchanged: false };
    for _ in 0..2 {
        ask(Asks::Head).unwrap().answered("demo", used_up);
    }
    assert_eq!(heads_count(&allowances), Some(false));
    assert!(ask(Asks::Manifest).is_err() && allowances.wants_a_head("r.io"));
    TIME.set(Some(now() + 3_600_000));
    assert!(ask(Asks::Manifest).is_ok() && !allowances.wants_a_head("r.io"));
    TIME.set(None);
}

#[test]
fn what_is_used_up_is_so_until_the_registry_says_that_it_is_whole_again() {
    let (allowances, source) = (Allowances::default(), source());
    TIME.set(Some(1_800_000_000_000));
    let ask = |asks| allowances.begin(&source, asks, None);
    let told = |remaining, reset_seconds| {
        let rate_limit =
            RateLimit { limit: Some(100), remaining: Some(remaining), window_seconds: None, reset_seconds };
        Told { rate_limit: Some(rate_limit), is_unchanged: false }
    };
    ask(Asks::Head).unwrap().answered("demo", told(50, Some(1800)));
    ask(Asks::Head).unwrap().answered("demo", told(0, Some(90)));
    let known = allowances.lock().budgets["r.io"].told.unwrap();
    assert_eq!((known.resets_at, known.window_ms), (Some(now() + 90_000), Some(1_800_000)), "the window is no shorter");
    TIME.set(Some(now() + 89_000));
    assert!(ask(Asks::Manifest).is_err());
    TIME.set(Some(now() + 1_000));
    assert!(ask(Asks::Manifest).is_ok());
    TIME.set(None);
}

#[test]
fn an_allowance_is_scarce_when_no_more_than_half_of_it_remains() {
    let (allowances, source) = (Allowances::default(), source());
    let ask = |asks| allowances.begin(&source, asks, None).unwrap();
    assert_eq!(allowances.scarce(&source, None), None, "nothing is known");
    ask(Asks::Manifest).answered("demo", remains(51));
    assert_eq!(allowances.scarce(&source, None), None);
    ask(Asks::Manifest).answered("demo", remains(50));
    let scarce = allowances.scarce(&source, None).expect("half of it");
    assert_eq!((scarce.limit, scarce.window_ms, scarce.unwritten), (100, 3_600_000, 2));
}

#[test]
fn what_a_304_leaves_out_shows_nothing_and_what_it_tells_counts() {
    let (allowances, source) = (Allowances::default(), source());
    let ask = |asks| allowances.begin(&source, asks, None).unwrap();
    ask(Asks::Manifest).answered("demo", remains(80));
    ask(Asks::Head).answered("demo", UNCHANGED);
    assert_eq!(heads_count(&allowances), None, "a cache may have answered");
    ask(Asks::Head).answered("demo", Told { is_unchanged: true, ..remains(78) });
    assert_eq!(heads_count(&allowances), Some(true));
    ask(Asks::Head).answered("demo", UNCHANGED);
    assert_eq!(heads_count(&allowances), Some(true));
    ask(Asks::Manifest).answered("demo", UNCHANGED);
    assert_eq!(allowances.lock().budgets["r.io"].told.and_then(|told| told.remaining), Some(77), "it may have counted");
    ask(Asks::Head).answered("demo", SILENT);
    assert_eq!(heads_count(&allowances), Some(false), "answered in full, and not a word");
}

#[test]
fn a_head_that_told_nothing_before_a_manifest_told_an_allowance_is_remembered() {
    let (allowances, source) = (Allowances::default(), source());
    let ask = |asks| allowances.begin(&source, asks, None).unwrap();
    ask(Asks::Head).answered("demo", SILENT);
    ask(Asks::Manifest).answered("demo", remains(80));
    assert_eq!(heads_count(&allowances), Some(false));
    assert!(!allowances.wants_a_head("r.io"));
}

#[test]
fn of_a_secret_the_last_answer_counts() {
    let allowances = Allowances::default();
    let cause = OciError::WrongPassword { reference: "r.io/a:1".to_owned() };
    allowances.turned_away("secret", "r.io", &cause);
    allowances.let_in("secret", "r.io");
    allowances.let_in("secret", "other.io");
    allowances.turned_away("secret", "other.io", &cause);
    let (_, news) = allowances.take();
    let refused: Vec<_> = news.iter().map(|one| (one.host.as_str(), one.refused.is_some())).collect();
    assert_eq!(refused, [("other.io", true), ("r.io", false)]);
    assert!(news.iter().all(|one| one.answered_at.is_some()));
}
