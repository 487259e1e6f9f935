//! A project with a bit of everything, made through the store's verbs, and what tests read out of pages.

use reqwest::{Method, Response, StatusCode};
use weir::model::{Actor, EventKind, ImageLayer, NewImage, Role, StreamName};
use weir::server::store::{TagMove, TagSpec};

use crate::support::{Client, TestWeir};

/// Digest number `n`.
pub fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// An image whose configuration tells its number.
fn image(n: u8) -> NewImage {
    let config = serde_json::json!({
        "os": "linux", "architecture": "amd64",
        "config": {"Cmd": ["httpd"], "User": if n > 1 { "1001" } else { "" }, "Env": ["VERSION=".to_owned() + &n.to_string(), "DB_PASSWORD=hunter2".to_owned()],
                   "Labels": {"org.opencontainers.image.version": n.to_string()}},
        "history": [{"created_by": "/bin/sh -c #(nop) ADD file:1 in / "}, {"created_by": "RUN echo \"<b>\" && true"}]
    });
    let layer = |digest: String| ImageLayer {
        layer_digest: digest,
        size: 1_200_000,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
    };
    NewImage {
        digest: digest(n),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        manifest: "{}".into(),
        config_digest: Some(digest(n + 100)),
        config: Some(config.to_string()),
        architecture: Some("amd64".into()),
        os: Some("linux".into()),
        annotations: "{}".into(),
        layers: vec![layer(digest(200)), layer(digest(n + 150))],
        size: 2_400_000 + i64::from(n),
        ..NewImage::default()
    }
}

/// Pushes image `n` to `demo/<stream>:<tag>`.
pub async fn push(weir: &TestWeir, stream: &str, tag: &str, n: u8, actor: &Actor) {
    let name: StreamName = stream.parse().unwrap();
    let stream = weir.store().ensure_stream("demo", &name, actor).await.unwrap();
    let tag = tag.parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    let image = image(n);
    let layers = image.layers.iter().map(|layer| (&layer.layer_digest, layer.size));
    for (blob, size) in layers.chain(image.config_digest.iter().map(|config| (config, 1))) {
        weir.put_hollow_blob(blob, size);
        weir.store().link_blob(&stream.id, blob, 1, None).await.unwrap();
    }
    weir.store().put_manifest(&stream, &image, Some(to), actor).await.unwrap();
}

/// A server with project `demo`: `base:latest` pushed three times, `python:3.12` imported, `web:stable` following `base:latest`; and a
/// client of its editor ada.
pub async fn demo() -> (TestWeir, Client) {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let actor = Actor::person("ada");
    for n in 1..=3 {
        push(&weir, "base", "latest", n, &actor).await;
    }
    let python = TagSpec::import("registry.example.com/library/python:3.12");
    weir.store()
        .set_tag("demo", &"python".parse().unwrap(), &"3.12".parse().unwrap(), &python, None, &actor)
        .await
        .unwrap();
    (weir, ada)
}

/// The page's HTML; the answer must have that status.
pub async fn html(response: Response, status: StatusCode) -> String {
    let url = response.url().clone();
    assert_eq!(response.status(), status, "{url}");
    response.text().await.unwrap()
}

/// Sends a form as a browser does.
pub async fn send(client: &Client, path: &str, fields: &[(&str, &str)]) -> Response {
    client.request(Method::POST, path).form(fields).send().await.unwrap()
}

/// What a reader sees: the text between the tags, white space as one space.
pub fn text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a redirect leads.
pub fn location(response: &Response) -> &str {
    response.headers()["location"].to_str().unwrap()
}

/// The sequences of the rows of a tag's history that moved it, newest first.
pub async fn sequences(weir: &TestWeir, stream: &str, tag: &str) -> Vec<i64> {
    let tag = weir.store().tag("demo", stream, tag).await.unwrap();
    let events = weir.store().list_history(&tag.id, None, 100).await.unwrap();
    events.into_iter().map(|event| event.sequence).collect()
}
