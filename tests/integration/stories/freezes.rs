//! A frozen project: what pushes lead to is queued, with the reason in sight, and going back runs.

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::inline_config;
use crate::support::{Client, TestWeir, tester};
use crate::ui::form::text;
use crate::upstreams::images::TestImage;

const OWN: &str = "/weir/v1/projects/demo";

/// base → app, which runs as an app of that name.
struct Site {
    weir: TestWeir,
    ada: Client,
}

impl Site {
    async fn start() -> Self {
        let weir = TestWeir::start().await;
        let ada = weir.user("ada", "demo", Role::Editor).await;
        let site = Self { weir, ada };
        site.push("one").await;
        let config = inline_config("demo", "app", "FROM base:latest\n");
        site.weir.store().create_config("demo", &"app".parse().unwrap(), &config, &tester()).await.unwrap();
        site.weir.settle().await;
        let fields = [("name", "app"), ("image", "app:latest"), ("replicas", "1"), ("automatic", "on")];
        site.ada.done("/p/demo/apps/new", &fields).await;
        site.weir.settle().await;
        assert_eq!(site.state().await, (1, 1));
        site
    }

    async fn push(&self, content: &str) {
        let who = Some(("x", self.ada.token()));
        TestImage::new(content).push_as(who, self.weir.registry(), "demo/base", "latest").await;
    }

    /// Numbers of the newest build and rollout; no rollout is under way.
    async fn state(&self) -> (i64, i64) {
        self.weir.settle().await;
        let config = self.weir.store().config("demo", "app").await.unwrap();
        let app = self.weir.store().app("demo", "app").await.unwrap();
        assert_eq!(app.wanted_phase.as_deref(), Some("Complete"));
        (config.last_number, app.last_number)
    }

    async fn post(&self, path: &str, body: &Value, status: StatusCode) -> Value {
        self.ada.post_json(&format!("{OWN}/{path}"), body, status).await
    }

    /// The page of the newest cascade, as text.
    async fn newest_cascade(&self) -> String {
        let number = self.weir.store().list_cascades("demo", None, 1).await.unwrap()[0].number;
        text(&self.ada.page(&format!("/p/demo/cascades/{number}")).await)
    }
}

#[tokio::test]
async fn in_a_freeze_propagate_is_queued_and_rollback_runs() {
    let site = Site::start().await;
    site.push("two").await;
    assert_eq!(site.state().await, (2, 2));
    let freeze = json!({"until": "2100-01-02T03:04Z", "reason": "the sale"});
    site.post("freezes", &freeze, StatusCode::CREATED).await;

    let moved = json!({"action": "move", "stream": "base", "tag": "latest"});
    let plan = site.post("plan", &moved, StatusCode::OK).await;
    let waits: Vec<&Value> = plan["steps"].as_array().unwrap().iter().map(|step| &step["waits"]).collect();
    assert_eq!(waits, ["frozen until 2100-01-02T03:04:00Z"; 2], "{plan:#}");
    site.push("three").await;
    assert_eq!(site.state().await, (2, 2), "it is queued");
    let cascade = site.newest_cascade().await;
    assert!(cascade.contains("waiting frozen until 2100-01-02T03:04:00Z"), "{cascade}");
    assert!(cascade.contains("for app"), "what comes after it waits for it: {cascade}");

    let history = site.ada.get_json(&format!("{OWN}/streams/base/tags/latest/history")).await;
    let back = json!({"to": history["items"][2]["sequence"], "reason": "it was bad"});
    let path = "streams/base/tags/latest/rollback";
    let dry = site.post(&format!("{path}?dry_run=1"), &back, StatusCode::OK).await;
    assert!(dry["steps"].as_array().unwrap().iter().all(|step| step["waits"].is_null()), "{dry:#}");
    let done = site.post(path, &back, StatusCode::OK).await;
    assert_eq!(done["reason"], "it was bad (emergency: in freeze 1, frozen until 2100-01-02T03:04:00Z)");
    assert_eq!(site.state().await, (3, 3), "the rollback runs, with what is built on it");

    // Resumed, the image that waited comes; it is a word of ada's, too.
    site.push("four").await;
    assert_eq!(site.state().await, (3, 3));
    let resumed = site.post("streams/base/tags/latest/resume", &json!({}), StatusCode::OK).await;
    assert!(resumed["moved"]["reason"].as_str().unwrap().starts_with("resumed (emergency"), "{resumed:#}");
    assert_eq!(site.state().await, (4, 4));
    site.weir.stop().await;
}

#[tokio::test]
async fn what_waited_goes_once_when_the_freeze_ends_by_itself() {
    let site = Site::start().await;
    let freeze = json!({"until": "2100-01-02T03:04Z", "reason": "the sale"});
    site.post("freezes", &freeze, StatusCode::CREATED).await;
    for content in ["two", "three", "four"] {
        site.push(content).await;
        assert_eq!(site.state().await, (1, 1));
    }
    // What somebody starts goes; what comes of that is a change like any other.
    site.ada.done("/p/demo/builds/app/start", &[]).await;
    assert_eq!(site.state().await, (2, 1));
    site.post("apps/app/deploy", &json!({}), StatusCode::OK).await;
    assert_eq!(site.state().await, (2, 2));
    site.push("five").await;
    assert_eq!(site.state().await, (2, 2));
    site.weir.run_sql("update freezes set ends_at = 1").await;
    assert_eq!(site.state().await, (3, 3));
    let activity = site.ada.get_json(&format!("{OWN}/activity?limit=200")).await;
    let ends = activity["items"].as_array().unwrap().iter().filter(|row| row["action"] == "freeze.end").count();
    assert_eq!(ends, 1);
    assert_eq!(site.state().await, (3, 3));
    site.weir.stop().await;
}
