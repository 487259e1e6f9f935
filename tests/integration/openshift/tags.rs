//! `imagestreamtags`, `imagestreamimages`, and tags in Weir's own dialect: histories, going back, holding.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Rest, digest, images, own};

#[tokio::test]
async fn a_tag_shows_its_image() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let tag = rest.ada.get_json(&images("imagestreamtags/base:latest")).await;
    insta::assert_json_snapshot!("tag", rest.redacted(tag));
    let list = rest.ada.get_json(&images("imagestreamtags?limit=500")).await;
    insta::assert_json_snapshot!("tag_list", rest.redacted(list));
    let (whole, short) = (format!("imagestreamimages/base@{}", digest(1)), "imagestreamimages/base@1111");
    let image = rest.ada.get_json(&images(&whole)).await;
    assert_eq!(rest.ada.get_json(&images(short)).await, image);
    insta::assert_json_snapshot!("stream_image", rest.redacted(image));
    for (status, path) in [
        (StatusCode::NOT_FOUND, "imagestreamimages/base@2222"),
        (StatusCode::BAD_REQUEST, "imagestreamimages/base"),
        (StatusCode::BAD_REQUEST, "imagestreamtags/base"),
        (StatusCode::BAD_REQUEST, "imagestreamtags/base:"),
        (StatusCode::NOT_FOUND, "imagestreamtags/base:none"),
        (StatusCode::NOT_FOUND, "imagestreamtags/none:latest"),
        (StatusCode::METHOD_NOT_ALLOWED, "imagestreamtags?watch=true"),
    ] {
        rest.expect(status, Method::GET, &images(path), &json!({})).await;
    }
}

#[tokio::test]
async fn tags_are_set_as_oc_does() {
    let rest = Rest::start().await;
    rest.push("base", "1", 1).await;
    rest.push("base", "2", 2).await;
    // `oc tag base:1 app:latest`
    let body = |source: &str| {
        json!({
            "metadata": {"name": "app:latest", "namespace": "demo"},
            "tag": {"name": "latest", "annotations": null, "from": {"kind": "ImageStreamImage", "name": source},
                    "generation": null, "importPolicy": {"importMode": "Legacy"}, "referencePolicy": {"type": "Source"}},
            "generation": 0, "lookupPolicy": {"local": false}, "image": {"metadata": {}, "dockerImageMetadata": null},
        })
    };
    let path = images("imagestreamtags/app:latest");
    let first = format!("base@{}", digest(1));
    let made = rest.expect(StatusCode::CREATED, Method::PUT, &path, &body(&first)).await;
    insta::assert_json_snapshot!("tag_put", rest.redacted(made));
    let second = format!("base@{}", digest(2));
    let set = rest.expect(StatusCode::OK, Method::PUT, &path, &body(&second)).await;
    assert_eq!(set["image"]["metadata"]["name"], digest(2));
    let stream = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(stream["status"]["tags"][0]["items"].as_array().unwrap().len(), 2);

    let mut stale = body(&first);
    stale["metadata"]["resourceVersion"] = "1".into();
    rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &stale).await;
    let unset = json!({"metadata": {"name": "base:1"}});
    let refused = rest.expect(StatusCode::BAD_REQUEST, Method::PUT, &images("imagestreamtags/base:1"), &unset).await;
    assert_eq!(refused["message"], "imagestreamtag 1 is not a spec tag in imagestream demo/base, cannot be updated");
    let again = rest.post(StatusCode::CONFLICT, &images("imagestreamtags"), &body(&first)).await;
    assert_eq!(again["message"], "imagestreamtag.image.openshift.io \"app:latest\" already exists");
    let mut alias = body("latest");
    alias["metadata"]["name"] = "app:stable".into();
    alias["tag"]["from"]["kind"] = "ImageStreamTag".into();
    let alias = rest.post(StatusCode::CREATED, &images("imagestreamtags"), &alias).await;
    assert_eq!(alias["image"]["metadata"]["name"], digest(2), "an alias has its source's image at once");

    rest.delete(&path).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &path, &json!({})).await;
    let history = rest.ada.get_json(&own("streams/app/tags/latest/history")).await;
    assert_eq!(history["items"][0]["outcome"], "deleted", "the history outlives the tag");
}

#[tokio::test]
async fn a_history_is_paged_newest_first() {
    let rest = Rest::start().await;
    for n in [1, 2, 1] {
        rest.push("base", "latest", n).await;
    }
    let path = own("streams/base/tags/latest/history");
    let all = rest.ada.get_json(&path).await;
    insta::assert_json_snapshot!("history", rest.redacted(all.clone()));
    let first = rest.ada.get_json(&format!("{path}?limit=2")).await;
    assert_eq!(first["items"].as_array().unwrap()[..], all["items"].as_array().unwrap()[..2]);
    let second = rest.ada.get_json(&format!("{path}?limit=2&before={}", first["next"])).await;
    assert_eq!((&second["items"][0], &second["next"]), (&all["items"][2], &Value::Null));
    for bad in ["before=999999", "limit=0", "limit=x"] {
        rest.expect(StatusCode::BAD_REQUEST, Method::GET, &format!("{path}?{bad}"), &json!({})).await;
    }
}

#[tokio::test]
async fn a_tag_rolls_back_stays_and_resumes() {
    let rest = Rest::start().await;
    for n in [1, 2] {
        rest.push("base", "latest", n).await;
    }
    let tag = own("streams/base/tags/latest");
    let history = rest.ada.get_json(&format!("{tag}/history")).await;
    let to = &history["items"][1]["sequence"];
    let body = json!({"to": to, "reason": "it broke", "mode": "rebuild"});
    let dry = rest.post(StatusCode::OK, &format!("{tag}/rollback?dry_run=1"), &body).await;
    insta::assert_json_snapshot!("rollback_dry", dry);
    assert_eq!(rest.ada.get_json(&format!("{tag}/history")).await, history, "a dry run changes nothing");
    let row = rest.post(StatusCode::OK, &format!("{tag}/rollback"), &body).await;
    insta::assert_json_snapshot!("rollback", rest.redacted(row));

    rest.push("base", "latest", 3).await;
    rest.push("base", "latest", 2).await;
    let state = rest.ada.get_json(&tag).await;
    insta::assert_json_snapshot!("tag_held", rest.redacted(state));
    let resumed = rest.post(StatusCode::OK, &format!("{tag}/resume"), &json!({})).await;
    assert_eq!(resumed["moved"]["digest"], digest(3), "what waited and is not rejected follows at once");
    rest.post(StatusCode::CONFLICT, &format!("{tag}/resume"), &json!({})).await;
    let held = rest.post(StatusCode::OK, &format!("{tag}/hold"), &json!({"reason": "freeze"})).await;
    assert_eq!(held["hold"]["reason"], "freeze");

    for (label, body) in [
        ("no_row", json!({"reason": "x"})),
        ("unknown_mode", json!({"to": to, "mode": "undo"})),
        ("slip", json!({"to": to, "raeson": "x"})),
        ("foreign_row", json!({"to": 1})),
    ] {
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &format!("{tag}/rollback"), &body).await;
        insta::assert_json_snapshot!(format!("rollback_bad_{label}"), refused);
    }
    rest.post(StatusCode::BAD_REQUEST, &format!("{tag}/hold?dry_run=1"), &json!({})).await;
    let check = rest.post(StatusCode::CONFLICT, &format!("{tag}/check"), &json!({})).await;
    assert!(check["message"].as_str().unwrap().contains("does not follow an image in another registry"));
}
