//! Pulls through the door are counted, and a stop and a start lose none of them.

use axum::http::Method;
use reqwest::StatusCode;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use serde_json::json;

use crate::support::{Client, RunningWeir, run_weir};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};

#[tokio::test]
async fn pulls_are_counted_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let weir = RunningWeir::start(data, &["--admin-password", "first"]);
    let token = run_weir(["token", "create", "--user", "admin", "--data-dir", data.to_str().unwrap()]);
    let token = token.stdout.trim().to_owned();
    let admin = Client::new(&weir.url, Some(token.clone()));
    let project = json!({"metadata": {"name": "shop"}});
    admin.post_json("/apis/project.openshift.io/v1/projectrequests", &project, StatusCode::CREATED).await;
    let host = weir.url.trim_start_matches("http://").to_owned();
    let image = TestImage::new("shop");
    image.push_as(Some(("admin", "first")), &host, "shop/web", "1").await;
    let index = index_of(&[("amd64", &image)]);
    let put = admin.request(Method::PUT, "/v2/shop/web/manifests/all").header("content-type", OCI_INDEX);
    assert_eq!(put.body(index).send().await.unwrap().status(), StatusCode::CREATED);

    let pull = async |reference: &str| {
        let answer = admin.get(&format!("/v2/shop/web/manifests/{reference}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.headers()[ETAG].to_str().unwrap().to_owned()
    };
    // By tag, and by the digest it points to: two pulls. Looks are none, neither with HEAD nor with what one has already.
    let etag = pull("1").await;
    pull(image.digest().as_str()).await;
    let head = admin.request(Method::HEAD, "/v2/shop/web/manifests/1").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let known =
        admin.request(Method::GET, "/v2/shop/web/manifests/1").header(IF_NONE_MATCH, etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    pull("all").await;
    assert_eq!(admin.get("/v2/shop/web/manifests/none").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(weir.terminate().0, Some(0));

    let weir = RunningWeir::start(data, &[]);
    let admin = Client::new(&weir.url, Some(token));
    let usage = admin.get_json("/weir/v1/projects/shop/usage").await;
    let web = &usage["streams"][0];
    assert_eq!((&web["name"], &web["pulls30d"], &web["pushes30d"]), (&json!("web"), &json!(3), &json!(2)), "{usage}");
    let page = admin.get("/p/shop/streams/web/tags/1").await.text().await.unwrap();
    assert!(page.contains("2 pulls, 1 push"), "{page}");
    let page = admin.get("/p/shop/streams/web/tags/all").await.text().await.unwrap();
    assert!(page.contains("1 pull, 1 push"), "{page}");
    weir.terminate();
    let verified = run_weir(["verify", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
