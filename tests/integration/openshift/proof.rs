//! Whether what an app may go back to is whole, and that it is said where it is not.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use weir::model::{Actor, Digest, EventKind, ImageLayer, NewImage};
use weir::server::controllers::Proof;
use weir::server::hash::sha256;
use weir::server::store::TagMove;

use super::apps::with_trigger;
use super::{Rest, apps, own};

/// Pushes an image of one layer, with its bytes; gives the layer.
async fn push(rest: &Rest, text: &str) -> Digest {
    let (store, ada) = (rest.weir.store(), Actor::person("ada"));
    let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada).await.unwrap();
    let layer = sha256(text.as_bytes());
    rest.weir.state.blobs.put(&layer, text.to_owned().into()).await.unwrap();
    store.link_blob(&stream.id, layer.as_str(), text.len() as i64, None).await.unwrap();
    let image = image(&layer, text.len() as i64);
    let tag = "latest".parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &ada).await.unwrap();
    layer
}

fn image(layer: &Digest, size: i64) -> NewImage {
    let manifest = json!({"layers": [layer.as_str()]}).to_string();
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    NewImage {
        digest: sha256(manifest.as_bytes()).to_string(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest,
        annotations: "{}".to_owned(),
        layers: vec![ImageLayer { layer_digest: layer.to_string(), size, media_type }],
        ..NewImage::default()
    }
}

async fn prove(rest: &Rest) -> u64 {
    let (store, blobs) = (rest.weir.store().clone(), rest.weir.state.blobs.clone());
    let proof = Proof::new(store, blobs, rest.weir.state.importer.clone(), CancellationToken::new());
    let run = proof.prove_now().await.unwrap().expect("nobody else proves");
    assert!(run.complete);
    run.broken
}

async fn depth(rest: &Rest) -> (i64, i64) {
    let app = rest.ada.get_json(&own("apps/web")).await;
    let depth = &app["rollbackDepth"];
    assert!(depth["verifiedAt"].is_string(), "{app:#}");
    (depth["whole"].as_i64().unwrap(), depth["of"].as_i64().unwrap())
}

#[tokio::test]
async fn a_blob_that_went_shows_in_the_rollback_depth() {
    let rest = Rest::start().await;
    let first = push(&rest, "one").await;
    web(&rest).await;
    let mut layers = vec![first];
    for text in ["two", "three", "four", "five"] {
        layers.push(push(&rest, text).await);
        rest.weir.settle().await;
    }
    assert_eq!(prove(&rest).await, 0);
    assert_eq!(depth(&rest).await, (5, 5));
    assert!(page(&rest, "/p/demo/apps/web").await.contains("Rollback depth 5/5"));
    assert!(page(&rest, "/p/demo/apps").await.contains("5/5"));

    assert!(rest.weir.state.blobs.delete(&layers[1]).await.unwrap());
    assert_eq!(prove(&rest).await, 1);
    assert_eq!(depth(&rest).await, (4, 5));
    assert!(page(&rest, "/p/demo/apps").await.contains("4/5"));
    for path in ["/p/demo", "/p/demo/streams/app/tags/latest"] {
        assert!(page(&rest, path).await.contains("Not whole"), "{path}");
    }
    assert_eq!(news(&rest).await, ["image.break"]);
    assert_eq!(prove(&rest).await, 1, "it is still so, which is no news");
    rest.weir.state.blobs.put(&layers[1], "two".into()).await.unwrap();
    assert_eq!(prove(&rest).await, 0);
    assert_eq!(depth(&rest).await, (5, 5), "it was brought back");
    assert_eq!(news(&rest).await, ["image.break", "image.mend"]);
}

#[tokio::test]
async fn nobody_goes_back_to_what_is_not_whole() {
    let rest = Rest::start().await;
    let layer = push(&rest, "one").await;
    web(&rest).await;
    push(&rest, "two").await;
    rest.weir.settle().await;
    // Nothing has looked at it since: it is looked at when somebody wants to go back.
    assert!(rest.weir.state.blobs.delete(&layer).await.unwrap());
    let rows = rest.ada.get_json(&own("streams/app/tags/latest/history")).await;
    let (now, to) = (&rows["items"][0]["sequence"], &rows["items"][1]["sequence"]);
    let (tag, app) = (own("streams/app/tags/latest/rollback"), own("apps/web/rollback"));
    for (path, body) in [(&tag, json!({"to": to})), (&app, json!({"to": 1}))] {
        let refused = rest.post(StatusCode::CONFLICT, path, &body).await;
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("is not whole: its blob") && message.contains(layer.as_str()), "{message}");
    }
    let dialog = page(&rest, &format!("/p/demo/streams/app/tags/latest/rollback?to={to}")).await;
    assert!(dialog.contains("is not whole") && !dialog.contains("All its blobs are here"), "{dialog}");
    let fields = [("to", to.to_string()), ("seen", now.to_string())];
    let clicked = rest.ada.request(Method::POST, "/p/demo/streams/app/tags/latest/rollback").form(&fields).send().await;
    assert_eq!(clicked.unwrap().status(), StatusCode::CONFLICT);
    rest.weir.state.blobs.put(&layer, "one".into()).await.unwrap();
    rest.post(StatusCode::OK, &tag, &json!({"to": to})).await;
    assert_eq!(news(&rest).await, ["image.break", "image.mend"]);
    assert!(!page(&rest, "/p/demo/streams/app/tags/latest").await.contains("Not whole"), "it was looked at again");
}

#[tokio::test]
async fn all_that_can_be_gone_back_to_is_proved_with_what_is_said_of_it() {
    let rest = Rest::start().await;
    let first = push(&rest, "one").await;
    for n in 0..7 {
        push(&rest, &n.to_string()).await;
    }
    let (store, ada) = (rest.weir.store(), Actor::person("ada"));
    let stream = store.stream("demo", "app").await.unwrap();
    let subject = store.tag("demo", "app", "latest").await.unwrap().digest;
    let layer = sha256(b"signature");
    rest.weir.state.blobs.put(&layer, "signature".into()).await.unwrap();
    store.link_blob(&stream.id, layer.as_str(), 9, None).await.unwrap();
    let signature = NewImage { subject, ..image(&layer, 9) };
    store.put_manifest(&stream, &signature, None, &ada).await.unwrap();
    assert_eq!(prove(&rest).await, 0);
    for layer in [&first, &layer] {
        assert!(rest.weir.state.blobs.delete(layer).await.unwrap());
    }
    assert_eq!(prove(&rest).await, 2, "an image of eight moves ago, and the signature of the newest");
}

/// An app of the tag, rolled out.
async fn web(rest: &Rest) {
    let from = json!({"kind": "ImageStreamTag", "name": "app:latest"});
    let field = "spec.template.spec.containers[?(@.name==\"web\")].image";
    let web = with_trigger("web", &json!({"from": from, "fieldPath": field}));
    rest.post(StatusCode::CREATED, &apps("deployments"), &web).await;
    rest.weir.settle().await;
}

async fn page(rest: &Rest, path: &str) -> String {
    let page = rest.ada.get(path).await;
    assert_eq!(page.status(), StatusCode::OK, "{path}");
    page.text().await.unwrap()
}

/// What the ledger tells of images, oldest first.
async fn news(rest: &Rest) -> Vec<String> {
    let rows = rest.ada.get_json(&own("activity")).await;
    let actions = rows["items"].as_array().unwrap().iter().rev().map(|row| row["action"].as_str().unwrap().to_owned());
    actions.filter(|action| action.starts_with("image.")).collect()
}
