//! `_oci/tag-history` and `_oci/ext/discover`: histories of tags as they are proposed for the distribution-spec.

use reqwest::StatusCode;
use serde_json::Value;

use super::door::{Door, header, refused};
use crate::support::TestWeir;
use crate::upstreams::images::TestImage;

const HISTORY: &str = "demo/app/_oci/tag-history";
const TIMESTAMP: &str = "org.opencontainers.distribution.tag.timestamp";
const EVENT: &str = "org.opencontainers.distribution.tag.event";

/// The events of a page, each with its digest, and the path of the next page.
async fn page(door: &Door, path: &str) -> (Vec<(String, String)>, Option<String>) {
    let answer = door.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    assert_eq!(header(&answer, "content-type"), "application/vnd.oci.image.index.v1+json");
    let further = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let further = further.map(|link| link.trim_start_matches("</v2/").split('>').next().unwrap().to_owned());
    let index: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&index["schemaVersion"], &index["mediaType"]),
        (&2.into(), &"application/vnd.oci.image.index.v1+json".into())
    );
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let events = index["manifests"].as_array().expect("a list").iter();
    let events = events.map(|one| (word(&one["annotations"][EVENT]), word(&one["digest"]))).collect();
    (events, further)
}

#[tokio::test]
async fn b11_a_history_is_told_newest_first_and_outlives_its_tag_and_its_manifests() {
    let door = Door::open().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    for image in [&one, &two, &one] {
        door.push("demo/app", "latest", image).await;
    }
    assert_eq!(door.delete("demo/app/manifests/latest").await.status(), 202);
    assert_eq!(door.delete(&format!("demo/app/manifests/{}", two.digest())).await.status(), 202);
    let event = |event: &str, image: &TestImage| (event.to_owned(), image.digest().to_string());
    let expected = [event("deleted", &one), event("created", &one), event("created", &two), event("created", &one)];
    let path = format!("{HISTORY}/latest");
    assert_eq!(page(&door, &path).await, (expected.to_vec(), None));

    let index: Value = door.get(&path).await.json().await.expect("JSON");
    let sizes = [&one, &one, &two, &one].map(|image| image.manifest.len());
    for (entry, size) in index["manifests"].as_array().unwrap().iter().zip(sizes) {
        assert_eq!((&entry["size"], &entry["mediaType"]), (&size.into(), &one.media_type.into()), "{entry:#}");
    }
    // Page by page, however close the rows are in time.
    for n in [1, 2, 3] {
        let (mut seen, mut next) = (Vec::new(), Some(format!("{path}?n={n}")));
        while let Some(path) = next {
            let (events, further) = page(&door, &path).await;
            assert!(events.len() <= n, "{events:?}");
            seen.extend(events);
            next = further;
        }
        assert_eq!(seen, expected, "{n} at a time");
    }
    assert_eq!(page(&door, &format!("{path}?n=0")).await, (Vec::new(), None));
    let of_two = format!("{path}?digest={}", two.digest());
    assert_eq!(page(&door, &of_two).await.0, [event("created", &two)]);
    let newest = index["manifests"][0]["annotations"][TIMESTAMP].as_str().unwrap();
    assert_eq!(page(&door, &format!("{path}?before=2020-01-01T00:00:00Z")).await.0, []);
    assert_eq!(page(&door, &format!("{path}?since={newest}")).await.0[0], event("deleted", &one));
    assert_eq!(page(&door, &format!("{path}?since=2999-01-01T00:00:00Z")).await.0, []);
    assert_eq!(page(&door, &format!("{HISTORY}/never")).await, (Vec::new(), None));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_so_is_who_may_not_look() {
    let door = Door::open().await;
    door.push("demo/app", "latest", &TestImage::new("one")).await;
    for query in ["n=many", "before=yesterday", "since=", "digest=sha256:12"] {
        let answer = door.get(&format!("{HISTORY}/latest?{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    refused(door.get("demo/none/_oci/tag-history/latest").await, 404, "NAME_UNKNOWN").await;
    let nobody = door.anonymous(reqwest::Method::GET, &format!("{HISTORY}/latest")).send().await.expect("an answer");
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn it_is_announced_where_it_is() {
    let endpoints = |told: &Value| told["extensions"][0]["endpoints"].clone();
    let door = Door::open().await;
    door.push("demo/app", "latest", &TestImage::new("one")).await;
    for path in ["_oci/ext/discover", "demo/app/_oci/ext/discover"] {
        let told: Value = door.get(path).await.json().await.expect("JSON");
        assert_eq!(told["extensions"][0]["name"], "_oci");
        assert_eq!(endpoints(&told), serde_json::json!(["_oci/ext/discover", "_oci/tag-history"]));
    }
    // Elsewhere, where nobody asked for it, there is nothing.
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", weir::model::Role::Editor).await;
    let told = ada.get_json("/v2/_oci/ext/discover").await;
    assert_eq!(endpoints(&told), serde_json::json!(["_oci/ext/discover"]));
    TestImage::new("one").push_as(Some(("ada", ada.token())), weir.registry(), "demo/app", "latest").await;
    assert_eq!(ada.get(&format!("/v2/{HISTORY}/latest")).await.status(), StatusCode::NOT_FOUND);
    weir.stop().await;
}
