//! The rules of image streams as OpenShift's users know them, one table for each; numbers are those of the sections of the semantics that
//! this server keeps to. What is of names and references alone is beside `model`, histories of pushes are in `registry`.

mod controller;
mod elsewhere;
mod imports;
mod moves;
mod names;
mod pains;
mod pins;
mod recorded;
mod repositories;
mod requests;
mod specs;
mod tags;
mod tracking;
mod views;

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Rest, images};

impl Rest {
    /// The stream, changed and written back; gives what it is then.
    pub async fn edit(&self, stream: &str, change: impl FnOnce(&mut Value)) -> Value {
        let path = images(&format!("imagestreams/{stream}"));
        let mut body = self.ada.get_json(&path).await;
        change(&mut body);
        self.expect(StatusCode::OK, Method::PUT, &path, &body).await
    }

    /// A stream of project `demo` with these tags; gives what it is then.
    async fn make(&self, stream: &str, tags: Value) -> Value {
        let body = json!({"metadata": {"name": stream}, "spec": {"tags": tags}});
        self.post(StatusCode::CREATED, &images("imagestreams"), &body).await
    }

    /// Digests that a tag's status has, newest first.
    async fn items(&self, stream: &str, tag: &str) -> Vec<String> {
        let stream = self.ada.get_json(&images(&format!("imagestreams/{stream}"))).await;
        let tags = stream["status"]["tags"].as_array().expect("tags");
        let found = tags.iter().find(|one| one["tag"] == tag);
        let items = found.and_then(|one| one["items"].as_array()).cloned().unwrap_or_default();
        items.iter().map(|item| item["image"].as_str().expect("a digest").to_owned()).collect()
    }
}

/// A tag that follows another one.
fn following(name: &str, source: &str) -> Value {
    json!({"name": name, "from": {"kind": "ImageStreamTag", "name": source}})
}

/// The spec of the tag of that name.
fn spec_of<'a>(stream: &'a Value, tag: &str) -> &'a Value {
    let tags = stream["spec"]["tags"].as_array().expect("tags");
    tags.iter().find(|one| one["name"] == tag).unwrap_or(&Value::Null)
}

/// What is wrong, by field.
fn cause(status: &Value) -> (&str, &str) {
    let cause = &status["details"]["causes"][0];
    (cause["field"].as_str().unwrap_or_default(), cause["message"].as_str().unwrap_or_default())
}
