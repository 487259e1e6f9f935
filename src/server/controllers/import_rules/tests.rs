//! Import rules by the clock, against a registry that remembers what it was asked: C6 and C11 of the list of pains, and what people do
//! to the tags that rules made.

use std::time::Duration;

use axum::http::Method;

use crate::model::time::testing::TIME;
use crate::model::{Actor, ImportRule, ImportRuleSpec, PatternKind, Tag, TagOrder, now};
use crate::server::controllers::imports::testing::{Allows, Asked, HOUR, MINUTE, Registry, SECOND, START, Site};
use crate::server::controllers::step;
use crate::server::store::testing::{TestStore, each_store, quick_store, run};
use crate::server::store::{CheckEnd, NextCheck, TagSpec};

mod lists;
mod long_lists;
mod tags;

/// A site with project `demo`, a registry whose repository `org/app` has these tags, and a rule of stream `app` about them.
struct Scene {
    site: Site,
    registry: Registry,
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("3.{number}"))
}

fn ada() -> Actor {
    Actor::person("ada")
}

impl Scene {
    async fn start(store: TestStore, tags: impl IntoIterator<Item = String>) -> Self {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows::default()).await;
        registry.has("org/app", tags);
        site.project("demo").await;
        site.store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        Self { site, registry }
    }

    fn spec(&self, kind: PatternKind, pattern: &str) -> ImportRuleSpec {
        ImportRuleSpec { insecure: 1, ..ImportRuleSpec::sample(&self.registry.reference("org/app"), kind, pattern) }
    }

    async fn make(&self, spec: &ImportRuleSpec) {
        let name = "rule".parse().unwrap();
        self.site.store.create_import_rule("demo", "app", Some(&name), spec, false, &ada()).await.unwrap();
    }

    async fn change(&self, spec: &ImportRuleSpec) {
        self.site.store.update_import_rule("demo", "app", "rule", spec, false, None, &ada()).await.unwrap();
    }

    async fn rule(&self) -> ImportRule {
        self.site.store.load_import_rule("demo", "app", "rule").await.unwrap()
    }

    /// Seen, chosen, new, left alone.
    async fn figures(&self) -> [i64; 4] {
        let rule = self.rule().await;
        assert_eq!((rule.outcome.as_str(), rule.unapplied), ("ok", 0), "{rule:?}");
        [rule.seen, rule.chosen, rule.made, rule.left_alone]
    }

    async fn tag(&self, name: &str) -> Tag {
        self.site.tag("demo", &format!("app:{name}")).await
    }

    /// Names of live tags that are checked on schedule.
    async fn scheduled(&self) -> Vec<String> {
        let stream = self.site.store.stream("demo", "app").await.unwrap();
        let tags = self.site.store.list_tags(&stream.id, "", 10_000).await.unwrap();
        tags.into_iter().filter(|tag| tag.scheduled == 1).map(|tag| tag.name).collect()
    }

    /// What the ledger has of the rule and its tags, the oldest first.
    async fn told(&self, action: &str) -> Vec<(String, String)> {
        let rows = self.site.store.list_ledger(Some("demo"), None, 10_000).await.unwrap();
        let told = rows.into_iter().rev().filter(|row| row.action == action);
        told.map(|row| (row.actor, row.object)).collect()
    }
}

fn lists(asked: &[Asked]) -> Vec<&Asked> {
    asked.iter().filter(|one| one.is_list()).collect()
}

/// When listings were begun.
fn beginnings(asked: &[Asked]) -> Vec<i64> {
    lists(asked).into_iter().filter(|one| !one.what.contains("last=")).map(|one| one.at).collect()
}
