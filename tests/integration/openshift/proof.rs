//! Whether what an app may go back to is whole, and that it is said where it is not.

use reqwest::StatusCode;
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
    let manifest = json!({"layers": [layer.as_str()]}).to_string();
    let image = NewImage {
        digest: sha256(manifest.as_bytes()).to_string(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest,
        annotations: "{}".to_owned(),
        layers: vec![ImageLayer {
            layer_digest: layer.to_string(),
            size: text.len() as i64,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        }],
        ..NewImage::default()
    };
    let tag = "latest".parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &ada).await.unwrap();
    layer
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
    let from = json!({"kind": "ImageStreamTag", "name": "app:latest"});
    let field = "spec.template.spec.containers[?(@.name==\"web\")].image";
    let web = with_trigger("web", &json!({"from": from, "fieldPath": field}));
    rest.post(StatusCode::CREATED, &apps("deployments"), &web).await;
    rest.weir.settle().await;
    let mut layers = vec![first];
    for text in ["two", "three", "four", "five"] {
        layers.push(push(&rest, text).await);
        rest.weir.settle().await;
    }
    assert_eq!(prove(&rest).await, 0);
    assert_eq!(depth(&rest).await, (5, 5));
    let page = rest.ada.get("/p/demo/apps/web").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("Rollback depth 5/5"));

    assert!(rest.weir.state.blobs.delete(&layers[1]).await.unwrap());
    assert_eq!(prove(&rest).await, 1);
    assert_eq!(depth(&rest).await, (4, 5));
    rest.weir.state.blobs.put(&layers[1], "two".into()).await.unwrap();
    assert_eq!(prove(&rest).await, 0);
    assert_eq!(depth(&rest).await, (5, 5), "it was brought back");
}
