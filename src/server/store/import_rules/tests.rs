//! Making, changing and forgetting rules, and who works on them, on both databases.

use super::*;
use crate::model::time::testing::TIME;
use crate::model::{
    AllowedRegistries, BuildConfigSpec, KnownInputs, NoticeKind, PatternKind, Source, Standing, TagOrder, Why,
};
use crate::server::store::testing::{TestStore, each_store, project, run};
use crate::server::store::{CheckEnd, ConfigFields, ListedPage, RuleFailure, SecretData, TagSpec};

const START: i64 = 1_800_000_000_000;

fn ada() -> Actor {
    Actor::person("ada")
}

fn spec(pattern: &str) -> ImportRuleSpec {
    ImportRuleSpec::sample("quay.io/org/app", PatternKind::Glob, pattern)
}

async fn start(store: &TestStore) {
    TIME.set(Some(START));
    project(store, "demo").await;
    store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
}

async fn make(store: &Store, name: Option<&str>, spec: &ImportRuleSpec) -> Result<ImportRule> {
    let name = name.map(|name| name.parse().unwrap());
    store.create_import_rule("demo", "app", name.as_ref(), spec, false, &ada()).await
}

#[tokio::test]
async fn rules_are_made_named_changed_and_forgotten() {
    for store in each_store().await {
        start(&store).await;
        let rule = make(&store, None, &spec("3.*")).await.unwrap();
        assert_eq!((rule.name.as_str(), rule.next_at, rule.outcome.as_str()), ("3", START, "new"));
        assert_eq!(rule.spec, spec("3.*"));
        assert_eq!(make(&store, None, &spec("3.?")).await.unwrap().name, "3-2", "names are given once");
        assert_eq!(make(&store, None, &spec("new*")).await.unwrap().name, "new-2", "nor is an address a name");
        let taken = make(&store, Some("3"), &spec("4.*")).await;
        assert!(matches!(taken, Err(Error::Exists { kind: "importrules", .. })), "{taken:?}");
        for name in ["new", "dry-run"] {
            let refused = make(&store, Some(name), &spec("4.*")).await;
            assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == "name"), "{refused:?}");
        }
        let names = store.list_import_rules(&rule.stream_id).await.unwrap().into_iter().map(|rule| rule.name);
        assert_eq!(names.collect::<Vec<_>>(), ["3", "3-2", "new-2"]);

        let other = ImportRuleSpec { newest: Some(5), tag_order: TagOrder::Natural, ..spec("4.*") };
        let changed =
            store.update_import_rule("demo", "app", "3", &other, true, Some(rule.version), &ada()).await.unwrap();
        assert_eq!((&changed.spec, changed.paused_at), (&other, Some(START)));
        assert_eq!(changed.next_listing_at(), None);
        let stale = store.update_import_rule("demo", "app", "3", &other, false, Some(rule.version), &ada()).await;
        assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
        store.update_import_rule("demo", "app", "3", &other, false, None, &ada()).await.unwrap();
        store.delete_import_rule("demo", "app", "3", &ada()).await.unwrap();
        assert!(matches!(store.load_import_rule("demo", "app", "3").await, Err(Error::NotFound { .. })));
        let rows = store.list_ledger(Some("demo"), None, 100).await.unwrap();
        let told: Vec<_> = rows.iter().rev().filter(|row| row.object == "app import rule 3").collect();
        let actions: Vec<_> = told.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["import-rule.create", "import-rule.pause", "import-rule.resume", "import-rule.delete"]);
        assert_eq!(told[1].to_value.as_deref(), Some("quay.io/org/app: glob 4.*, the newest 5 by natural order"));
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_can_never_work_is_refused_where_it_stands() {
    for store in each_store().await {
        start(&store).await;
        let repository = |name: &str| ImportRuleSpec::sample(name, PatternKind::All, "");
        let no_tag = "you must specify an image repository, not a tag or ID";
        let digest = format!("quay.io/org/app@sha256:{}", "0".repeat(64));
        let table = [
            (repository("quay.io/org/app:1"), "repository", no_tag),
            (repository(&digest), "repository", no_tag),
            (repository("quay.io/Org/app"), "repository", "must be lowercase"),
            (repository("a b"), "repository", "invalid reference format"),
            (repository(""), "repository", "at least one component"),
            (spec("v["), "pattern", "unclosed character class"),
            (spec(""), "pattern", "may not be empty"),
            (ImportRuleSpec::sample("a/b", PatternKind::Semver, "three"), "pattern", "not a range of versions"),
            (ImportRuleSpec::sample("a/b", PatternKind::Regex, "("), "pattern", "not a regular expression"),
            (ImportRuleSpec { newest: Some(0), ..spec("*") }, "limit", "from 1 to 1000"),
            (ImportRuleSpec { newest: Some(1001), ..spec("*") }, "limit", "from 1 to 1000"),
            (ImportRuleSpec { interval_ms: Some(59_999), ..spec("*") }, "intervalSeconds", "once a minute"),
            (ImportRuleSpec { listing_interval_ms: 3_599_999, ..spec("*") }, "listingIntervalSeconds", "once an hour"),
            (ImportRuleSpec { import_mode: "Some".into(), ..spec("*") }, "importMode", "PreserveOriginal"),
            (ImportRuleSpec { reference_policy: "Any".into(), ..spec("*") }, "referencePolicy", "Local"),
        ];
        for (spec, expected, words) in table {
            match make(&store, None, &spec).await {
                Err(Error::Invalid { field, message }) => {
                    assert!(field == expected && message.contains(words), "{spec:?}: {field}: {message}");
                }
                other => panic!("{spec:?}: {other:?}"),
            }
        }
        let missing = store.create_import_rule("demo", "none", None, &spec("*"), false, &ada()).await;
        assert!(matches!(missing, Err(Error::NotFound { kind: "imagestreams", .. })), "{missing:?}");
        for number in 0..20 {
            make(&store, Some(&format!("r{number}")), &spec("*")).await.unwrap();
        }
        assert!(make(&store, None, &spec("*")).await.is_err_and(|error| error.to_string().contains("at most 20")));
        TIME.set(None);
    }
}

#[tokio::test]
async fn rules_take_from_registries_that_their_author_may_import_from() {
    for store in each_store().await {
        start(&store).await;
        store.create_user("ada", "", None, false, &ada()).await.unwrap();
        make(&store, Some("old"), &spec("*")).await.unwrap();
        let strict = Store::clone(&store).allowing("docker.io".parse::<AllowedRegistries>().unwrap());
        let refused = make(&strict, Some("other"), &spec("*")).await;
        assert!(matches!(&refused, Err(Error::Forbidden { field, .. }) if field == "repository"), "{refused:?}");
        make(&strict, Some("other"), &ImportRuleSpec { repository: "busybox".into(), ..spec("*") }).await.unwrap();
        let change = async |name: &str, spec: &ImportRuleSpec| {
            strict.update_import_rule("demo", "app", name, spec, false, None, &ada()).await
        };
        change("old", &ImportRuleSpec { interval_ms: Some(60_000), ..spec("*") }).await.expect("it stays allowed");
        let narrower = change("old", &spec("1.*")).await;
        assert!(matches!(narrower, Err(Error::Forbidden { .. })), "no other tags of that registry: {narrower:?}");
        strict.check_import_rule(&spec("*"), Some(&spec("*")), &ada()).await.expect("nor is trying it refused");
        assert!(strict.check_import_rule(&spec("1.*"), Some(&spec("*")), &ada()).await.is_err());
        assert!(matches!(change("other", &spec("*")).await, Err(Error::Forbidden { .. })));
        TIME.set(None);
    }
}

/// A page with these tags, after which there is another.
fn page<'a>(tags: &'a [String], next: Option<&'a str>) -> ListedPage<'a> {
    ListedPage { tags, told: tags.len() as i64, next, again_at: START + 3_600_000 }
}

#[tokio::test]
async fn one_at_a_time_works_on_a_rule_and_whoever_lost_it_records_nothing() {
    for store in each_store().await {
        start(&store).await;
        make(&store, Some("rule"), &spec("*")).await.unwrap();
        let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it is due");
        assert_eq!(store.claim_import_rules(60_000, 4).await.unwrap(), [], "it is somebody's");
        assert_eq!(store.next_import_rule_at().await.unwrap(), None);
        let tags = ["1".to_owned(), "2".to_owned()];
        let listed = store.keep_listed_page(&rule, &page(&tags, Some("n=2&last=2")), 60_000).await.unwrap().unwrap();
        assert_eq!((listed.pages, listed.listed_tags, listed.next_page.as_deref()), (1, 2, Some("n=2&last=2")));
        assert_eq!(store.keep_listed_page(&rule, &page(&tags, None), 60_000).await.unwrap(), None, "that page is kept");

        // Changed meanwhile, it is the work of whoever comes next, from the page on where this one was.
        store.update_import_rule("demo", "app", "rule", &spec("1*"), false, None, &ada()).await.unwrap();
        assert_eq!(store.keep_listed_page(&listed, &page(&tags, None), 60_000).await.unwrap(), None);
        let failure = RuleFailure {
            reason: "other",
            message: "no",
            again_at: START,
            not_before: 0,
            begin_anew: true,
            refuses_tags: false,
        };
        store.fail_import_rule(&listed, &failure).await.unwrap();
        store.release_import_rule(&listed).await.unwrap();
        let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it is due");
        assert_eq!((rule.outcome.as_str(), rule.pages), ("new", 1));
        let listed = store.keep_listed_page(&rule, &page(&["3".to_owned()], None), 60_000).await.unwrap().unwrap();
        assert_eq!((listed.listing, listed.pages, listed.unapplied, listed.next_page), (1, 0, 1, None));
        assert_eq!(store.listed_tags(&rule).await.unwrap(), [] as [String; 0]);
        let rule = store.load_import_rule("demo", "app", "rule").await.unwrap();
        assert_eq!(store.listed_tags(&rule).await.unwrap(), ["1", "2", "3"]);
        TIME.set(None);
    }
}

#[tokio::test]
async fn rules_and_what_they_know_go_with_their_stream() {
    for store in each_store().await {
        start(&store).await;
        make(&store, Some("rule"), &spec("*")).await.unwrap();
        let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().unwrap();
        let tags = ["1".to_owned()];
        let rule = store.keep_listed_page(&rule, &page(&tags, None), 60_000).await.unwrap().unwrap();
        assert_eq!(store.take_rule_tags(&rule, &tags, 60_000).await.unwrap(), Some(1));
        let tag = store.tag("demo", "app", "1").await.unwrap();
        assert_eq!(tag.source.as_deref(), Some("quay.io/org/app:1"));
        let import = TagSpec::import("quay.io/org/app:1");
        let set = store.set_tag("demo", &"app".parse().unwrap(), &"1".parse().unwrap(), &import, None, &ada()).await;
        assert!(!set.unwrap().created);
        store.delete_stream("demo", "app", &ada()).await.unwrap();
        for table in ["import_rules", "import_rule_pages", "import_rule_tags"] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let (count,): (i64,) = sqlx::query_as(count).fetch_one(store.pool()).await.unwrap();
            assert_eq!(count, 0, "{table}");
        }
        assert_eq!(store.take_rule_tags(&rule, &tags, 60_000).await.unwrap(), None);
        TIME.set(None);
    }
}

/// A rule `rule` that has listed these tags, claimed.
async fn listed(store: &TestStore, tags: &[String]) -> ImportRule {
    make(store, Some("rule"), &spec("*")).await.unwrap();
    let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it is due");
    store.keep_listed_page(&rule, &page(tags, None), 60_000).await.unwrap().expect("it is ours")
}

#[tokio::test]
async fn the_output_of_a_build_config_is_left_alone_also_before_its_first_build() {
    for store in each_store().await {
        start(&store).await;
        let config = BuildConfigSpec::new(Source::default(), "app".parse().unwrap(), "1".parse().unwrap());
        let fields = ConfigFields::new(config, KnownInputs::All(Vec::new()));
        store.create_config("demo", &"app".parse().unwrap(), &fields, &ada()).await.unwrap();
        let tags = ["1".to_owned(), "2".to_owned()];
        let rule = listed(&store, &tags).await;
        let plan = store.plan_import_rule(&rule, &tags).await.unwrap();
        assert_eq!((plan.take, plan.left_alone), (vec!["2".to_owned()], 1));
        assert_eq!(store.take_rule_tags(&rule, &tags, 60_000).await.unwrap(), Some(1));
        assert_eq!(store.tag("demo", "app", "2").await.unwrap().scheduled, 1);
        let standings = store.rule_standings(&rule.stream_id, &rule.id, &tags).await.unwrap();
        assert_eq!(standings, [Standing::LeftAlone(Why::WasThere), Standing::Own]);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_is_let_go_without_an_image_goes_and_may_come_back() {
    for store in each_store().await {
        start(&store).await;
        let tags = ["1".to_owned()];
        let rule = listed(&store, &tags).await;
        assert_eq!(store.take_rule_tags(&rule, &tags, 60_000).await.unwrap(), Some(1));
        let tag = store.tag("demo", "app", "1").await.unwrap();
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
        store.record_check(&due, &CheckEnd::Failed { reason: "other", message: "no" }, None).await.unwrap();
        assert!(store.is_any_import_failing().await.unwrap());
        assert!(store.let_go_rule_tags(&rule, &tags, 60_000).await.unwrap());
        assert!(!store.is_any_import_failing().await.unwrap());
        assert!(store.tag("demo", "app", "1").await.is_err(), "there is nothing to keep");
        let standings = store.rule_standings(&rule.stream_id, &rule.id, &tags).await.unwrap();
        assert_eq!(standings, [Standing::New], "nobody deleted it");
        assert_eq!(store.take_rule_tags(&rule, &tags, 60_000).await.unwrap(), Some(1));
        TIME.set(None);
    }
}

#[tokio::test]
async fn projects_take_turns() {
    for store in each_store().await {
        start(&store).await;
        for number in 0..6 {
            make(&store, Some(&format!("r{number}")), &spec("*")).await.unwrap();
        }
        let claimed = async |most: usize| {
            let rules = store.claim_import_rules(60_000, most).await.unwrap();
            rules.into_iter().map(|rule| rule.project).collect::<Vec<_>>()
        };
        assert_eq!(claimed(1).await, ["demo"]);
        TIME.set(Some(START + 1));
        project(&store, "shop").await;
        store.ensure_stream("shop", &"app".parse().unwrap(), &ada()).await.unwrap();
        for name in ["a", "b"] {
            let name = name.parse().unwrap();
            store.create_import_rule("shop", "app", Some(&name), &spec("*"), false, &ada()).await.unwrap();
        }
        assert_eq!(claimed(1).await, ["shop"], "those of demo are due longer, and one of them is under way");
        assert_eq!(claimed(3).await, ["demo", "shop", "demo"]);
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_rest_ends_with_its_cause() {
    for store in each_store().await {
        start(&store).await;
        make(&store, Some("rule"), &spec("*")).await.unwrap();
        let rest = async || {
            let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it is due");
            store.rest_import_rule(&rule, START + 3_600_000).await.unwrap();
        };
        rest().await;
        assert_eq!(store.claim_import_rules(60_000, 4).await.unwrap(), []);
        let rule = store.request_listing("demo", "app", "rule", &ada()).await.unwrap();
        assert_eq!(rule.next_listing_at(), Some(START), "whoever asks finds out whether it still rests");
        rest().await;
        let data = SecretData::BasicAuth { username: "ada".into(), password: "secret".into() };
        store.create_secret("demo", &"quay".parse().unwrap(), &data, &ada()).await.unwrap();
        let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it may be somebody else there");
        // What the failure says nothing of stays as it is.
        run(&store, "update import_rules set not_before = 1800000060000").await;
        let failure = RuleFailure {
            reason: "other",
            message: "no",
            again_at: START,
            not_before: 0,
            begin_anew: false,
            refuses_tags: false,
        };
        store.fail_import_rule(&rule, &failure).await.unwrap();
        let rule = store.load_import_rule("demo", "app", "rule").await.unwrap();
        assert_eq!((rule.outcome.as_str(), rule.not_before), ("failed", START + 60_000));

        // Whoever was told that it fails is told that it is gone.
        store.delete_import_rule("demo", "app", "rule", &ada()).await.unwrap();
        let rows = store.list_ledger(Some("demo"), None, 100).await.unwrap();
        let kinds: Vec<_> = rows.iter().rev().filter_map(|row| NoticeKind::of_action(&row.action)).collect();
        assert_eq!(kinds, [NoticeKind::ImportFailing, NoticeKind::ImportRecovered]);
        TIME.set(None);
    }
}
