//! Streams, tags and images as they were.

use super::*;

#[tokio::test]
async fn lists_are_as_they_were() {
    let rest = sample().await;
    let streams = rest.ada.get_json(&images(&format!("imagestreams?as_of={FIRST}"))).await;
    assert_eq!(names(&streams), ["base"]);
    let tags = streams["items"][0]["status"]["tags"].as_array().unwrap();
    let of = |n: usize| (tags[n]["tag"].as_str().unwrap(), tags[n]["items"][0]["image"].as_str().unwrap());
    assert_eq!((of(0), of(1)), (("latest", digest(1).as_str()), ("other", digest(2).as_str())));
    assert_eq!(streams["items"][0]["metadata"]["annotations"]["weir.dev/as-of"], "2026-01-01 10:00 UTC");
    let one = rest.ada.get_json(&images(&format!("imagestreams/base?as_of={SECOND}"))).await;
    assert_eq!(
        (&one["kind"], &one["status"]["tags"][0]["items"][0]["image"]),
        (&json!("ImageStream"), &json!(digest(3)))
    );

    let tags = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}"))).await;
    assert_eq!(names(&tags), ["base:latest", "base:other"]);
    let first = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}&limit=1"))).await;
    assert_eq!(names(&first), ["base:latest"]);
    let next = first["metadata"]["continue"].as_str().unwrap();
    let rest_of = images(&format!("imagestreamtags?as_of={FIRST}&limit=1&continue={next}"));
    assert_eq!(names(&rest.ada.get_json(&rest_of).await), ["base:other"]);
    let tag = rest.ada.get_json(&images(&format!("imagestreamtags/base:latest?as_of={FIRST}"))).await;
    assert_eq!(tag["image"]["metadata"]["name"], digest(1));
    for kind in ["imagestreamtags", "imagetags"] {
        let missing = rest.ada.get(&images(&format!("{kind}/web:latest?as_of={FIRST}"))).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
    let tags = rest.ada.get_json(&images(&format!("imagetags?as_of={SECOND}"))).await;
    assert_eq!((names(&tags), &tags["kind"]), (vec!["base:latest", "base:other"], &json!("ImageTagList")));
    let tag = rest.ada.get_json(&images(&format!("imagetags/base:latest?as_of={SECOND}"))).await;
    let items = tag["status"]["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[1]["image"]), (2, &json!(digest(1))), "newest first, with what it was before");
    assert_eq!(
        (&tag["status"]["items"][0]["image"], &tag["image"]["metadata"]["name"]),
        (&json!(digest(3)), &json!(digest(3)))
    );

    let history = own("streams/base/tags/latest/history");
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of={FIRST}")).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of={SECOND}")).await["items"].as_array().unwrap().len(), 2);
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of=2025-01-01T00:00Z")).await["items"], json!([]));
}

#[tokio::test]
async fn what_was_deleted_since_is_listed_and_what_no_moment_is_is_refused() {
    let rest = sample().await;
    rest.weir.store().delete_stream("demo", "base", &Actor::person("ada")).await.unwrap();
    let tags = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}"))).await;
    assert_eq!(names(&tags), ["base:latest", "base:other"]);
    assert!(tags["items"][0]["metadata"]["annotations"]["weir.dev/deleted-at"].is_string(), "{tags}");
    assert_eq!(names(&rest.ada.get_json(&images("imagestreamtags")).await), ["web:latest"]);
    for (query, words) in [
        ("as_of=yesterday", "is no moment"),
        ("as_of=2999-01-01T00:00Z", "is not over yet"),
        ("as_of=2026-01-01T10:00Z&labelSelector=a=b", "labels are not kept"),
    ] {
        let refused = rest.ada.get(&images(&format!("imagestreams?{query}"))).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(refused.text().await.unwrap().contains(words), "{query}");
    }
    // Whoever asks for the past must not take the present for it.
    for (path, why) in [
        (own("usage"), "no former sum stays"),
        (own("secrets"), "nobody is to have the one before"),
        (images("imagestreams/base/secrets"), "nobody is to have the one before"),
        (own("search"), "knows what is there now"),
        ("/weir/v1/search".to_owned(), "knows what is there now"),
        ("/weir/v1/registries".to_owned(), "as long as it is of use"),
        (own("notices"), "who is told is replaced"),
        (own("notices/a/deliveries"), "has its own times"),
        (own("streams/base/tag-rules"), "rules are replaced"),
        (own("streams/base/import-rules"), "a rule is replaced"),
        (own("streams/base/retention"), "a rule is replaced"),
        (own("graph"), "what followed and fed what"),
        (own("resolve"), "what a name would have come to"),
        (own("registry-hook"), "can be read as of a moment"),
    ] {
        let twice = rest.ada.get(&format!("{path}?as_of={FIRST}&as_of={FIRST}")).await;
        assert_eq!(twice.status(), StatusCode::BAD_REQUEST, "{path}");
        let refused = rest.ada.get(&format!("{path}?as_of={FIRST}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        let text = refused.text().await.unwrap();
        assert!(text.contains("is not kept") && text.contains(why), "{path}: {text}");
    }
    let written = rest.ada.request(reqwest::Method::DELETE, &images(&format!("imagestreams/web?as_of={FIRST}")));
    let written = written.send().await.unwrap();
    assert_eq!(written.status(), StatusCode::BAD_REQUEST);
    assert!(written.text().await.unwrap().contains("what was cannot be changed"));
}

#[tokio::test]
async fn a_tag_an_image_and_its_layers_are_told_as_they_were() {
    let rest = sample().await;
    let tag = rest.ada.get_json(&own(&format!("streams/base/tags/latest?as_of={FIRST}"))).await;
    assert_eq!((&tag["digest"], &tag["number"], &tag["hold"]), (&json!(digest(1)), &json!(1), &Value::Null));
    assert_eq!((&tag["asOf"], &tag["rejected"]), (&json!("2026-01-01 10:00 UTC"), &json!([])));
    let missing = rest.ada.get(&own(&format!("streams/web/tags/latest?as_of={FIRST}"))).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);

    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={FIRST}", digest(1)))).await;
    assert_eq!((&image["digest"], &image["tags"][0]["tag"]), (&json!(digest(1)), &json!("latest")));
    assert_eq!(image["tags"][0]["current"], true);
    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={SECOND}", digest(1)))).await;
    assert_eq!(image["tags"][0]["current"], false, "it had moved on");
    let of = |kind: &str, n: u8| images(&format!("{kind}/base@{}?as_of={FIRST}", digest(n)));
    let found = rest.ada.get_json(&of("imagestreamimages", 1)).await;
    assert_eq!(found["image"]["metadata"]["name"], digest(1));
    assert_eq!(found["metadata"]["annotations"]["weir.dev/as-of"], "2026-01-01 10:00 UTC");
    let packages = rest.ada.get(&own(&format!("streams/base/images/{}/packages?as_of={FIRST}", digest(1)))).await;
    assert_eq!(packages.status(), StatusCode::OK);
    let compared = own(&format!("streams/base/compare?from={}&to={}&as_of={FIRST}", digest(1), digest(2)));
    assert_eq!(rest.ada.get(&compared).await.status(), StatusCode::OK);
    let layers = rest.ada.get_json(&images(&format!("imagestreams/base/layers?as_of={FIRST}"))).await;
    let shown = layers["images"].as_object().unwrap();
    assert!(
        shown.contains_key(&digest(1)) && shown.contains_key(&digest(2)) && !shown.contains_key(&digest(3)),
        "{layers}"
    );

    // What came later was not there.
    rest.push("base", "latest", 9).await;
    for path in [
        of("imagestreamimages", 9),
        own(&format!("streams/base/images/{}?as_of={FIRST}", digest(9))),
        own(&format!("streams/base/images/{}/packages?as_of={FIRST}", digest(9))),
        own(&format!("streams/base/compare?from={}&to={}&as_of={FIRST}", digest(1), digest(9))),
    ] {
        assert_eq!(rest.ada.get(&path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // Of a stream that is gone the digests and the histories are told, and no more.
    rest.weir.store().delete_stream("demo", "base", &Actor::person("ada")).await.unwrap();
    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={FIRST}", digest(1)))).await;
    assert_eq!((&image["gone"], &image["tags"][0]["tag"], image.get("layers")), (&json!(true), &json!("latest"), None));
    let tag = rest.ada.get_json(&own(&format!("streams/base/tags/latest?as_of={SECOND}"))).await;
    assert!(tag["streamDeletedAt"].is_string() && tag["digest"] == digest(3), "{tag}");
    let history = own("streams/base/tags/latest/history");
    let rows = rest.ada.get_json(&format!("{history}?as_of={SECOND}")).await;
    let told: Vec<_> =
        rows["items"].as_array().unwrap().iter().map(|row| (&row["digest"], &row["fromDigest"])).collect();
    assert_eq!(told, [(&json!(digest(3)), &json!(digest(1))), (&json!(digest(1)), &Value::Null)]);
    let first = rest.ada.get_json(&format!("{history}?as_of={SECOND}&limit=1")).await;
    let next = rest.ada.get_json(&format!("{history}?as_of={SECOND}&limit=1&before={}", first["next"])).await;
    assert_eq!(next["items"][0]["digest"], digest(1));
    let foreign = rest.ada.get(&format!("{history}?as_of={SECOND}&before=1")).await;
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    let layers = rest.ada.get_json(&images(&format!("imagestreams/base/layers?as_of={FIRST}"))).await;
    assert_eq!(layers["images"][digest(1)]["imageMissing"], true);
}
