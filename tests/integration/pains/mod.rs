//! What hurts users of other tools, told as tests: findings about going back (A) and about histories (B) that no other test tells. Each test
//! begins with its finding's number, here as elsewhere; those about imports (C) are with the imports.

mod apps;
mod histories;
mod tags;
mod targets;

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::openshift::{Rest, apps, digest, own};
use crate::ui::work::settle;

/// App `web` of project `demo`, which runs `app:latest`, made with image 1.
pub struct Site {
    rest: Rest,
}

impl Site {
    async fn start() -> Self {
        let site = Self { rest: Rest::start().await };
        site.push(1).await;
        let trigger = json!([{"from": {"kind": "ImageStreamTag", "name": "app:latest"},
            "fieldPath": "spec.template.spec.containers[0].image"}]);
        let app = json!({
            "metadata": {"name": "web", "annotations": {"image.openshift.io/triggers": trigger.to_string()}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": " "}]}}},
        });
        site.rest.post(StatusCode::CREATED, &apps("deployments"), &app).await;
        site.settle().await;
        site
    }

    /// Pushes these images one after the other, each of which is rolled out if it may be.
    async fn came(&self, images: impl IntoIterator<Item = u8>) {
        for n in images {
            self.push(n).await;
            self.settle().await;
        }
    }

    async fn push(&self, n: u8) {
        self.rest.push("app", "latest", n).await;
    }

    async fn settle(&self) {
        settle(&self.rest.weir).await;
    }

    /// The row's button **Roll back**.
    async fn roll_back(&self, to: i64) {
        self.rest.ada.done("/p/demo/apps/web/rollback", &[("to", &to.to_string())]).await;
        self.settle().await;
    }

    /// Digests that were seen running, of each replica.
    async fn running(&self) -> Vec<String> {
        let app = self.rest.weir.store().app("demo", "web").await.unwrap();
        let seen: Value = serde_json::from_str(&app.observed.expect("it was seen")).unwrap();
        let replicas = seen["replicas"].as_array().unwrap().iter();
        replicas.map(|replica| replica["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// The app's rollouts, newest first.
    async fn rollouts(&self) -> Vec<Value> {
        self.rest.ada.get_json(&own("apps/web/rollouts")).await["items"].as_array().unwrap().clone()
    }

    async fn app(&self) -> Value {
        self.rest.ada.get_json(&own("apps/web")).await
    }

    /// The row of a list's page that has this link in it.
    async fn row(&self, page: &str, link: &str) -> String {
        let html = self.rest.ada.page(page).await;
        let rows = html.split("<tr").filter(|row| row.contains(&format!("href=\"{link}\"")));
        let row = rows.last().unwrap_or_else(|| panic!("{page} has no row with {link}"));
        row.split("</tr>").next().unwrap().to_owned()
    }

    async fn refused(&self, method: Method, path: &str, body: &Value) -> Value {
        self.rest.expect(StatusCode::UNPROCESSABLE_ENTITY, method, path, body).await
    }
}
