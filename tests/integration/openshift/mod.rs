//! The REST door: OpenShift's shapes, Weir's own dialect, and what both refuse.

mod apps;
mod builds;
mod cascades;
mod freezes;
mod import_rules;
mod imports;
mod names;
mod past;
mod patches;
mod projects;
mod proof;
mod refusals;
mod resolution;
mod retention;
mod search;
mod semantics;
mod streams;
mod tag_rules;
mod tags;
mod usage;

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::{EventKind, ImageLayer, NewImage, Role, StreamName, TagName};
use weir::server::store::TagMove;

use crate::support::{Client, TestWeir, tester};

/// A server with project `demo`, and a client that is its editor `ada`.
pub struct Rest {
    pub weir: TestWeir,
    pub ada: Client,
}

impl Rest {
    /// Whose controllers wait to be driven.
    pub async fn start() -> Self {
        Self::of(TestWeir::start().await).await
    }

    /// Whose controllers run by themselves.
    pub async fn live() -> Self {
        Self::of(TestWeir::live().await).await
    }

    /// With such a server.
    pub async fn of(weir: TestWeir) -> Self {
        let ada = weir.user("ada", "demo", Role::Editor).await;
        Self { weir, ada }
    }

    /// A request with a JSON body, and the answer with its status.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let answer = self.ada.request(method, path).json(body).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a whole answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// `call`, which must be answered with `status`.
    pub async fn expect(&self, status: StatusCode, method: Method, path: &str, body: &Value) -> Value {
        let (got, answer) = self.call(method, path, body).await;
        assert_eq!(got, status, "{path}: {answer:#}");
        answer
    }

    /// `POST`, which must be answered with `status`.
    pub async fn post(&self, status: StatusCode, path: &str, body: &Value) -> Value {
        self.expect(status, Method::POST, path, body).await
    }

    /// `DELETE`, which must succeed.
    pub async fn delete(&self, path: &str) -> Value {
        self.expect(StatusCode::OK, Method::DELETE, path, &json!({})).await
    }

    /// The `n`th image, pushed by ada: its manifest goes straight to the store, since no bytes matter here. Gives its digest.
    pub async fn push(&self, stream: &str, tag: &str, n: u8) -> String {
        let store = self.weir.store();
        let (name, tag): (StreamName, TagName) = (stream.parse().unwrap(), tag.parse().unwrap());
        let actor = weir::model::Actor::person("ada");
        let stream = store.ensure_stream("demo", &name, &actor).await.unwrap();
        let image = image(n);
        let layers = image.layers.iter().map(|layer| (&layer.layer_digest, layer.size));
        for (blob, size) in layers.chain(image.config_digest.iter().map(|config| (config, 1))) {
            self.weir.put_hollow_blob(blob, size);
            store.link_blob(&stream.id, blob, 1, None).await.unwrap();
        }
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
        image.digest
    }

    /// What is the same in every run: no port, no id, no time.
    pub fn redacted(&self, mut value: Value) -> Value {
        redact(&mut value, self.weir.registry());
        value
    }
}

/// A digest of one digit.
pub fn digest(n: u8) -> String {
    format!("sha256:{}", n.to_string().repeat(64))
}

fn image(n: u8) -> NewImage {
    NewImage {
        digest: digest(n),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: "{}".to_owned(),
        config_digest: Some(format!("sha256:{}", "c".repeat(64))),
        config: Some(
            r#"{"author":"ada","config":{"Cmd":["/app"],"Env":["PATH=/bin"],"ExposedPorts":{"80/tcp":{}}}}"#.to_owned(),
        ),
        architecture: Some("amd64".to_owned()),
        os: Some("linux".to_owned()),
        created: Some("2026-01-02T03:04:05Z".to_owned()),
        annotations: "{}".to_owned(),
        layers: vec![ImageLayer {
            layer_digest: format!("sha256:{}", "b".repeat(64)),
            size: 1000,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        }],
        size: 1234,
        ..NewImage::default()
    }
}

fn redact(value: &mut Value, host: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if key == "hash" {
                    *value = "[hash]".into();
                }
                redact(value, host);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, host)),
        Value::String(text) => {
            *text = text.replace(host, "weir.test");
            let is_id = text.len() == 36 && text.chars().filter(|c| *c == '-').count() == 4;
            let is_time = text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            if is_id {
                *text = "[id]".to_owned();
            } else if is_time && !text.starts_with("2026-01-02") {
                *text = "[time]".to_owned();
            }
        }
        _ => {}
    }
}

/// The path of a kind of `image.openshift.io` in project `demo`.
pub fn images(path: &str) -> String {
    format!("/apis/image.openshift.io/v1/namespaces/demo/{path}")
}

/// The path of a kind of `build.openshift.io` in project `demo`.
pub fn builds(path: &str) -> String {
    format!("/apis/build.openshift.io/v1/namespaces/demo/{path}")
}

/// The path of a kind of `apps` in project `demo`.
pub fn apps(path: &str) -> String {
    format!("/apis/apps/v1/namespaces/demo/{path}")
}

/// A path of Weir's own in project `demo`.
pub fn own(path: &str) -> String {
    format!("/weir/v1/projects/demo/{path}")
}

/// Somebody who sets things up behind the door.
pub async fn set_up_project(weir: &TestWeir, name: &str) {
    let name = name.parse().expect("a project's name");
    weir.store().create_project(&name, "", "", None, &tester()).await.expect("a project");
}
