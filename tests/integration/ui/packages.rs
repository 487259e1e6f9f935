//! Packages of pushed images, and images compared by them: pushed through the registry, read in the background, shown and told by REST.

use bytes::Bytes;
use reqwest::{Client as Http, StatusCode};
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::hash::sha256;

use super::sample::{html, text};
use crate::support::{Client, TestWeir};
use crate::upstreams::images::client;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A server with project `demo`, and its editor ada.
struct Pushing {
    weir: TestWeir,
    ada: Client,
    http: Http,
}

impl Pushing {
    async fn start() -> Self {
        let weir = TestWeir::start().await;
        let ada = weir.user("ada", "demo", Role::Editor).await;
        Self { weir, ada, http: client() }
    }

    async fn blob(&self, bytes: &[u8]) {
        let url = format!("{}/v2/demo/app/blobs/uploads/?digest={}", self.weir.url, sha256(bytes));
        let put = self.http.post(url).bearer_auth(self.ada.token()).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
    }

    async fn manifest(&self, reference: &str, media_type: &str, manifest: &Value) -> String {
        let bytes = Bytes::from(manifest.to_string());
        let url = format!("{}/v2/demo/app/manifests/{reference}", self.weir.url);
        let put = self.http.put(url).bearer_auth(self.ada.token()).header("content-type", media_type);
        let put = put.body(bytes.clone()).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED, "{}", put.text().await.unwrap());
        sha256(&bytes).to_string()
    }

    /// Pushes an image of these layers; gives its digest.
    async fn push(&self, tag: &str, layers: &[Vec<u8>], config: Value) -> String {
        let config = json!({"architecture": "amd64", "os": "linux", "config": config}).to_string();
        for blob in layers.iter().map(Vec::as_slice).chain([config.as_bytes()]) {
            self.blob(blob).await;
        }
        let part = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": sha256(bytes).to_string(), "size": bytes.len()});
        let layers: Vec<Value> = layers.iter().map(|layer| part(LAYER, layer)).collect();
        let config = part("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.manifest(tag, MANIFEST, &manifest).await
    }

    async fn page(&self, path: &str) -> String {
        html(self.ada.get(&format!("/p/demo/streams/app/{path}")).await, StatusCode::OK).await
    }

    async fn rest(&self, path: &str) -> Value {
        self.ada.get_json(&format!("/weir/v1/projects/demo/streams/app/{path}")).await
    }
}

/// A layer with these files.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A layer with dpkg's list of packages, `name version` each.
fn dpkg(packages: &[&str]) -> Vec<u8> {
    let records = packages.iter().map(|text| {
        let (name, version) = text.split_once(' ').unwrap();
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    });
    layer(&[("var/lib/dpkg/status", &records.collect::<String>())])
}

const RUN: &str = r#"{"Entrypoint": ["/start"], "User": "1001", "Env": ["A=1", "DB_PASSWORD=hunter2"]}"#;
const RUN_AS_ROOT: &str = r#"{"Entrypoint": ["/start"], "Env": ["A=2", "DB_PASSWORD=hunter3"]}"#;

/// Two images on one base, the second one newer in three packages.
async fn two_images() -> (Pushing, String, String) {
    let pushing = Pushing::start().await;
    let base = dpkg(&["libc6 2.36-9", "openssl 3.0.11-1", "tzdata 2024a-0", "zlib1g 1:1.2.13"]);
    let npm = layer(&[("app/node_modules/left-pad/package.json", r#"{"name": "left-pad", "version": "1.3.0"}"#)]);
    let newer = dpkg(&["curl 7.88.1-10", "libc6 2.36-10", "openssl 3.0.9-1", "tzdata 2024b-0"]);
    let old = pushing.push("latest", &[base.clone(), npm], serde_json::from_str(RUN).unwrap()).await;
    let new = pushing.push("latest", &[base, newer], serde_json::from_str(RUN_AS_ROOT).unwrap()).await;
    (pushing, old, new)
}

#[tokio::test]
async fn packages_are_read_in_the_background_and_shown() {
    let (pushing, old, new) = two_images().await;
    let page = pushing.page(&format!("images/{old}")).await;
    assert!(page.contains("2 layers are still to be read"), "{page}");
    let waiting = pushing.rest(&format!("images/{old}/packages")).await;
    assert_eq!((&waiting["waiting"], &waiting["total"]), (&json!(2), &json!(0)));

    pushing.weir.settle().await;
    let page = text(&pushing.page(&format!("images/{old}")).await);
    for words in ["5 packages: 4 of dpkg, 1 of Python", "left-pad", "1:1.2.13"] {
        let words = words.replace("Python", "npm");
        assert!(page.contains(&words), "{words}: {page}");
    }
    let found = text(&pushing.page(&format!("images/{old}/packages?q=LIBC")).await);
    assert!(found.contains("1 of 5 packages") && found.contains("libc6") && !found.contains("tzdata"), "{found}");
    let nothing = text(&pushing.page(&format!("images/{old}/packages?q=zzz")).await);
    assert!(nothing.contains("No package fits") && nothing.contains("Clear search"), "{nothing}");

    // The tag was moved, not the packages: tzdata came with the second layer in its newer version.
    let list = pushing.rest(&format!("images/{}/packages?limit=2", &new[..20])).await;
    assert_eq!((&list["digest"], &list["total"], &list["next"]), (&json!(new), &json!(4), &json!(2)));
    assert_eq!(list["items"][0]["name"], "curl");
    let rest = pushing.rest(&format!("images/{new}/packages?limit=2&after=2")).await;
    let tzdata = &rest["items"][1];
    assert_eq!(
        (&tzdata["version"], &tzdata["layer"]["number"], &rest["next"]),
        (&json!("2024b-0"), &json!(2), &json!(null))
    );
    assert_eq!((&tzdata["kind"], &tzdata["path"]), (&json!("dpkg"), &json!("var/lib/dpkg/status")));
}

const CARGO_LOCK: &str = r#"version = 4

[[package]]
name = "serde"
version = "1.0.203"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "shop"
version = "0.1.0"
"#;

#[tokio::test]
async fn lock_files_and_jars_tell_of_what_nobody_wrote_down() {
    let pushing = Pushing::start().await;
    let manifest = r#"{"name": "left-pad", "version": "1.3.0"}"#;
    let npm = |version: &str| {
        let express = format!(r#""node_modules/express": {{"version": "{version}"}}"#);
        format!(r#"{{"packages": {{"node_modules/left-pad": {{"version": "1.3.0"}}, {express}}}}}"#)
    };
    let base = layer(&[
        ("shop/Cargo.lock", CARGO_LOCK),
        ("shop/vendor/serde/Cargo.lock", "no lock file of the application's"),
        ("api/go.mod", "module api\n\nrequire golang.org/x/net v0.25.0\n"),
        ("api/go.sum", "golang.org/x/net v0.25.0 h1:x=\nseen.example/x v1.0.0 h1:y=\n"),
        ("java/lib/guava-32.1.3-jre.jar", ""),
        ("installed/package-lock.json", &npm("4.18.2")),
        ("installed/node_modules/left-pad/package.json", manifest),
        ("front/package-lock.json", &npm("4.18.2")),
    ]);
    let old = pushing.push("1", std::slice::from_ref(&base), json!({})).await;
    let above = layer(&[
        ("shop/Cargo.lock", &CARGO_LOCK.replace("1.0.203", "1.0.9")),
        ("api/.wh.go.mod", ""),
        ("java/lib/.wh.guava-32.1.3-jre.jar", ""),
        ("java/lib/guava-33.0.0-jre.jar", ""),
        ("front/package-lock.json", &npm("4.19.0")),
    ]);
    let new = pushing.push("2", &[base, above], json!({})).await;
    pushing.weir.settle().await;

    let list = |told: Value| -> Vec<String> {
        let word = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let row = |it: &Value| {
            let words = ["name", "version", "kind", "evidence", "path"].map(|key| word(it, key));
            format!("{} @{}", words.join(" "), it["layer"]["number"])
        };
        assert_eq!(told["problems"], json!([]));
        told["items"].as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(
        list(pushing.rest(&format!("images/{old}/packages")).await),
        [
            "express 4.18.2 npm lock-file front/package-lock.json @1",
            "golang.org/x/net v0.25.0 go lock-file api/go.mod @1",
            "guava 32.1.3-jre java file-name java/lib/guava-32.1.3-jre.jar @1",
            "left-pad 1.3.0 npm installed installed/node_modules/left-pad/package.json @1",
            "serde 1.0.203 cargo lock-file shop/Cargo.lock @1",
        ],
        "what is installed is listed once, and what was meant to be beside it is not listed"
    );
    assert_eq!(
        list(pushing.rest(&format!("images/{new}/packages?after=1")).await),
        [
            "golang.org/x/net v0.25.0 go lock-file api/go.sum @1",
            "guava 33.0.0-jre java file-name java/lib/guava-33.0.0-jre.jar @2",
            "left-pad 1.3.0 npm installed installed/node_modules/left-pad/package.json @1",
            "seen.example/x v1.0.0 go lock-file api/go.sum @1",
            "serde 1.0.9 cargo lock-file shop/Cargo.lock @2",
        ]
    );
    let page = text(&pushing.page(&format!("images/{old}/packages")).await);
    for words in [
        "5 packages: 2 of npm, 1 of Cargo, 1 of Go, 1 of Java; 3 of them known from lock files only",
        "Cargo , lock file shop/Cargo.lock",
        "Java , file name java/lib/guava-32.1.3-jre.jar",
        "npm installed/node_modules/left-pad/package.json",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }

    let compared = format!("compare?from={old}&to={new}");
    let told = pushing.rest(&compared).await;
    let changes: Vec<String> = told["packages"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| ["change", "name", "evidence"].map(|key| it[key].as_str().unwrap()).join(" "))
        .collect();
    assert_eq!(
        changes,
        ["up express lock-file", "up guava file-name", "added seen.example/x lock-file", "down serde lock-file",]
    );
    let page = text(&pushing.page(&compared).await);
    assert!(page.contains("serde Older 1.0.203 1.0.9 layer 2 Cargo , lock file"), "{page}");
}

#[tokio::test]
async fn a_broken_lock_file_is_told_of_and_leaves_the_others() {
    let pushing = Pushing::start().await;
    let files = layer(&[
        ("app/package-lock.json", r#"{"packages": {"node_modules/a": {"version": "1"#),
        ("app/requirements.txt", "flask==3.0.0\nrequests>=2\n"),
    ]);
    let digest = pushing.push("latest", &[files], json!({})).await;
    pushing.weir.settle().await;
    let told = pushing.rest(&format!("images/{digest}/packages")).await;
    assert_eq!((&told["total"], &told["items"][0]["name"]), (&json!(1), &json!("flask")));
    let problem = told["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("app/package-lock.json of layer 1 was not read: it does not read: EOF"), "{problem}");
    let page = text(&pushing.page(&format!("images/{digest}/packages")).await);
    assert!(
        page.contains("The list is not whole") && page.contains("1 package: 1 of Python; all known from"),
        "{page}"
    );
}

#[tokio::test]
async fn two_images_are_compared() {
    let (pushing, old, new) = two_images().await;
    let early = pushing.rest(&format!("compare?from={old}&to={new}")).await;
    assert!(early["verdict"].as_str().unwrap().contains("packages not read yet"), "{early}");
    pushing.weir.settle().await;
    let verdict = "Same base, 2 packages newer, 1 older, 1 added, 2 removed, entrypoint and command unchanged";
    let told = pushing.rest(&format!("compare?from={old}&to={new}")).await;
    let said = told["verdict"].as_str().unwrap();
    assert!(said.starts_with(verdict) && said.ends_with("Look: user 1001 → root."), "{said}");
    let changes: Vec<String> = told["packages"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it["change"].as_str().unwrap(), it["name"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, ["added curl", "removed left-pad", "up libc6", "down openssl", "up tzdata", "removed zlib1g"]);
    assert_eq!((&told["sharedLayers"], &told["packages"]["up"]), (&json!(1), &json!(2)));
    let hidden = told["settings"].as_array().unwrap().iter().find(|it| it["name"] == "DB_PASSWORD").unwrap();
    assert_eq!((&hidden["from"], &hidden["to"]), (&json!("hidden"), &json!("hidden")));

    let page = pushing.page(&format!("compare?from={old}&to={new}&tag=latest")).await;
    let words = text(&page);
    for part in [
        verdict,
        "Roll back latest to left…",
        "libc6 Newer 2.36-9 2.36-10",
        "1 shared; left 2 layers, right 2.",
        "Swap",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!page.contains("hunter"), "values that sound secret stay hidden");
    let down = text(&pushing.page(&format!("compare?from={old}&to={new}&f=down")).await);
    assert!(down.contains("openssl Older") && !down.contains("libc6 Newer"), "{down}");
    // From the tag's history and before a rollback one gets there.
    let history = pushing.page("tags/latest").await;
    assert!(history.contains("Compare with current") && history.contains("Compare with previous"), "{history}");
    let dialog = text(&pushing.page("tags/latest/rollback").await);
    for part in
        ["Same base, 1 package newer, 2 older, 2 added, 1 removed", "Full comparison", "libc6 older: 2.36-10 → 2.36-9"]
    {
        assert!(dialog.contains(part), "{part}: {dialog}");
    }
    assert!(text(&pushing.page("compare").await).contains("Choose two images"));
}

#[tokio::test]
async fn what_is_not_ones_to_see_is_not_there() {
    let (pushing, old, new) = two_images().await;
    let eve = pushing.weir.user("eve", "other", Role::Admin).await;
    let viewer = pushing.weir.user("vic", "demo", Role::Viewer).await;
    let pages = [format!("images/{old}/packages"), format!("compare?from={old}&to={new}")];
    for page in &pages {
        let (console, rest) =
            (format!("/p/demo/streams/app/{page}"), format!("/weir/v1/projects/demo/streams/app/{page}"));
        assert_eq!(eve.get(&console).await.status(), StatusCode::NOT_FOUND);
        // As everywhere at that door: nobody learns from it which projects there are.
        assert_eq!(eve.get(&rest).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(viewer.get(&console).await.status(), StatusCode::OK);
        assert_eq!(viewer.get(&rest).await.status(), StatusCode::OK);
    }
    // An image of another stream is none of this one.
    pushing.ada.get(&format!("/p/demo/streams/app/images/{old}")).await;
    let other = format!("sha256:{}", "e".repeat(64));
    for path in [format!("images/{other}/packages"), format!("compare?from={old}&to={other}")] {
        assert_eq!(viewer.get(&format!("/p/demo/streams/app/{path}")).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            viewer.get(&format!("/weir/v1/projects/demo/streams/app/{path}")).await.status(),
            StatusCode::NOT_FOUND
        );
    }
    for bad in ["compare", "compare?from=a", "compare?from=a&to=b&limit=0", "images/a/packages?limit=x"] {
        let status = viewer.get(&format!("/weir/v1/projects/demo/streams/app/{bad}")).await.status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn layers_that_cannot_be_read_say_why() {
    let pushing = Pushing::start().await;
    let base = dpkg(&["a 1"]);
    let broken = base[..540].to_vec();
    let digest = pushing.push("latest", &[base, broken, b"no archive at all".repeat(99)], json!({})).await;
    pushing.weir.settle().await;
    let page = text(&pushing.page(&format!("images/{digest}/packages")).await);
    for words in [
        "The list is not whole",
        "Layer 2 was not read: it ends in the middle.",
        "Layer 3 was not read: it is no tar archive",
        "1 package: 1 of dpkg",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn of_several_platforms_the_same_one_is_compared() {
    let pushing = Pushing::start().await;
    let mut indexes = Vec::new();
    for (tag, version, platforms) in [("1", "1", &["amd64", "arm64"][..]), ("2", "2", &["amd64"])] {
        let mut manifests = Vec::new();
        for platform in platforms {
            let package = format!("{platform} {version}");
            let digest = pushing.push(&format!("{tag}-{platform}"), &[dpkg(&[&package])], json!({})).await;
            let size = pushing.weir.store().find_image(&digest).await.unwrap().unwrap().manifest.len();
            manifests.push(json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": platform}}));
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        indexes.push(pushing.manifest(tag, media_type, &index).await);
    }
    pushing.weir.settle().await;
    let compared = format!("compare?from={}&to={}", indexes[0], indexes[1]);
    let told = pushing.rest(&compared).await;
    assert_eq!((&told["platform"], &told["packages"]["items"][0]["to"]), (&json!("linux/amd64"), &json!("2")));
    let page = text(&pushing.page(&compared).await);
    assert!(page.contains("Only the left one is for linux/arm64."), "{page}");
    let index = text(&pushing.page(&format!("images/{}/packages", indexes[0])).await);
    assert!(index.contains("each has packages of its own"), "{index}");
    // The index's own page shows the inside of one of them, and offers the other.
    let inside = format!("images/{}", indexes[0]);
    for (asked, shown) in [("", "amd64"), ("?platform=linux/arm64", "arm64"), ("?platform=none", "amd64")] {
        let page = pushing.page(&format!("{inside}{asked}")).await;
        let words = text(&page);
        assert!(words.contains(&format!("Inside, for linux/{shown}")), "{asked}: {words}");
        assert!(
            page.contains(&format!("<code>{shown}</code>")) || words.contains(&format!("{shown} 1")),
            "{asked}: {words}"
        );
        assert!(page.contains("platform=linux%2Farm64") || page.contains("platform=linux/arm64"), "{page}");
    }
}
