//! Where a tag gets its images, chosen in the console without script.

use reqwest::StatusCode;
use weir::model::{SourceKind, Tag};
use weir::server::hash::sha256;
use weir::server::store::TagSpec;

use super::sample::{demo, digest, html, location, push, send, sequences, text};
use crate::support::{TestWeir, tester};
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};

const STREAM: &str = "/p/demo/streams/base";
const SOURCE: &str = "127.0.0.1:9/org/app:1";

async fn set(weir: &TestWeir, name: &str, spec: &TagSpec) {
    let (stream, tag) = ("base".parse().unwrap(), name.parse().unwrap());
    weir.store().set_tag("demo", &stream, &tag, spec, None, &tester()).await.expect("set");
}

async fn tag(weir: &TestWeir, name: &str) -> Tag {
    weir.store().tag("demo", "base", name).await.expect("the tag")
}

#[tokio::test]
async fn what_a_form_does_not_ask_for_stays() {
    let (weir, ada) = demo().await;
    let annotations = r#"{"team":"web"}"#.to_owned();
    let (import_mode, reference_policy) = ("Legacy".to_owned(), "Local".to_owned());
    let spec = TagSpec { import_mode, reference_policy, annotations, insecure: true, ..TagSpec::import(SOURCE) };
    set(&weir, "one", &spec).await;
    let before = tag(&weir, "one").await;
    let edit = format!("{STREAM}/tags/one/edit");
    let form = html(ada.get(&edit).await, StatusCode::OK).await;
    for chosen in ["value=\"Legacy\" selected", "value=\"Local\" selected"] {
        assert!(form.contains(chosen), "{chosen}: {form}");
    }

    // As a browser sends it, and as somebody's script does that knows nothing of modes.
    let browser = [("import_mode", "Legacy"), ("reference_policy", "Local")];
    for modes in [&browser[..], &[]] {
        let mut fields = vec![("way", "import"), ("reference", SOURCE), ("insecure", "on"), ("interval", "60")];
        fields.extend(modes);
        let saved = send(&ada, &edit, &fields).await;
        assert_eq!(saved.status(), StatusCode::SEE_OTHER);
        let now = tag(&weir, "one").await;
        assert_eq!((now.interval_ms, now.scheduled), (Some(3_600_000), 0));
        assert_eq!((now.import_mode.as_str(), now.reference_policy.as_str()), ("Legacy", "Local"));
        assert_eq!((&now.annotations, now.source), (&before.annotations, before.source.clone()));
    }
    let told = text(&html(ada.get(&format!("{STREAM}/tags/one")).await, StatusCode::OK).await);
    assert!(told.contains("(Legacy)") && told.contains("this registry (Local)"), "{told}");

    let saved = send(&ada, &edit, &[("way", "follow"), ("follows", "latest")]).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let now = tag(&weir, "one").await;
    assert_eq!(now.source_kind.as_deref(), Some(SourceKind::ImageStreamTag.as_str()));
    assert_eq!((now.reference_policy.as_str(), &now.annotations), ("Local", &before.annotations));
    weir.stop().await;
}

#[tokio::test]
async fn modes_are_chosen_and_refused_at_their_fields() {
    let (weir, ada) = demo().await;
    let add = format!("{STREAM}/add-tag");
    let fields = [
        ("way", "import"),
        ("import_tag", "named"),
        ("reference", SOURCE),
        ("import_mode", "Legacy"),
        ("reference_policy", "Source"),
        ("reference_only", "on"),
    ];
    let made = send(&ada, &add, &fields).await;
    assert_eq!((made.status(), location(&made)), (StatusCode::SEE_OTHER, "/p/demo/streams/base/tags/named"));
    let named = tag(&weir, "named").await;
    assert_eq!((named.reference_only, named.import_mode.as_str(), &named.digest), (1, "Legacy", &None));
    let told = text(&html(ada.get(&format!("{STREAM}/tags/named")).await, StatusCode::OK).await);
    assert!(told.contains("Only a name Nothing is imported") && told.contains(&format!("names {SOURCE}")), "{told}");
    let page = html(ada.get(STREAM).await, StatusCode::OK).await;
    assert!(text(&page).contains("Only a name") && !page.contains("tags/named/check"), "{}", text(&page));
    for (field, value) in [("import_mode", "Some"), ("reference_policy", "Everywhere")] {
        let fields = [("way", "import"), ("import_tag", "bad"), ("reference", SOURCE), (field, value)];
        let page = html(send(&ada, &add, &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(page.contains(&format!("{field}-error")), "{field}: {}", text(&page));
    }
    weir.stop().await;
}

/// A slip in a name moves nothing and ends nothing: what is there is changed on its own page, or knowingly.
#[tokio::test]
async fn a_tag_that_is_there_is_not_added() {
    let (weir, ada) = demo().await;
    set(&weir, "one", &TagSpec::import(SOURCE)).await;
    push(&weir, "base", "two", 2, &tester()).await;
    let add = format!("{STREAM}/add-tag");
    let (one, two) = (tag(&weir, "one").await, tag(&weir, "two").await);
    let image = digest(1);
    for (way, field, source) in [
        ("import", "import_tag", ("reference", "127.0.0.1:9/org/other:1")),
        ("follow", "follow_tag", ("follows", "latest")),
        ("point", "point_tag", ("image", image.as_str())),
    ] {
        for name in ["one", "two"] {
            let page =
                html(send(&ada, &add, &[("way", way), (field, name), source]).await, StatusCode::UNPROCESSABLE_ENTITY)
                    .await;
            let told = text(&page);
            assert!(page.contains(&format!("{field}-error")), "{told}");
            assert!(told.contains(&format!("base:{name} is there already: choose another name, or")), "{told}");
        }
    }
    assert_eq!((tag(&weir, "one").await, tag(&weir, "two").await), (one, two.clone()));
    let fields = [("way", "point"), ("point_tag", "two"), ("image", image.as_str()), ("replace", "on")];
    assert_eq!(send(&ada, &add, &fields).await.status(), StatusCode::SEE_OTHER);
    let moved = tag(&weir, "two").await;
    assert_eq!((moved.digest.as_deref(), moved.event_number), (Some(image.as_str()), two.event_number + 1));

    let told = text(&html(ada.get(&format!("{STREAM}/tags/one/delete")).await, StatusCode::OK).await);
    assert!(told.contains(&format!("Its source, {SOURCE} , ends for good")), "{told}");
    weir.stop().await;
}

#[tokio::test]
async fn a_tag_goes_back_to_what_is_pushed_and_keeps_its_image() {
    let (weir, ada) = demo().await;
    let follow = TagSpec { source: Some((SourceKind::ImageStreamTag, "latest".to_owned())), ..TagSpec::default() };
    set(&weir, "copy", &follow).await;
    let before = tag(&weir, "copy").await;
    assert!(before.digest.is_some());
    let edit = format!("{STREAM}/tags/copy/edit");
    assert!(html(ada.get(&edit).await, StatusCode::OK).await.contains("Stop following"));
    assert_eq!(send(&ada, &edit, &[("way", "push")]).await.status(), StatusCode::SEE_OTHER);
    let now = tag(&weir, "copy").await;
    assert_eq!((now.source_kind, now.source, now.digest), (None, None, before.digest));
    assert!(!html(ada.get(&edit).await, StatusCode::OK).await.contains("Stop following"));

    // Followed again, rolled back, and saved as it is: it stays back.
    let follow = [("way", "follow"), ("follows", "latest")];
    assert_eq!(send(&ada, &edit, &follow).await.status(), StatusCode::SEE_OTHER);
    push(&weir, "base", "latest", 7, &tester()).await;
    let rows = sequences(&weir, "base", "copy").await;
    let back = [("to", rows[1].to_string())];
    let back: Vec<_> = back.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let rolled = send(&ada, &format!("{STREAM}/tags/copy/rollback"), &back).await;
    assert_eq!(rolled.status(), StatusCode::SEE_OTHER);
    let held = tag(&weir, "copy").await.digest;
    assert_ne!(held, Some(digest(7)));
    assert_eq!(send(&ada, &edit, &follow).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(tag(&weir, "copy").await.digest, held);

    // A pin to an image of a project that one may not see is refused there.
    weir.make_project("secret").await;
    let image = format!("base@{}", digest(1));
    let fields = [("way", "point"), ("image", image.as_str()), ("image_project", "secret")];
    let page = html(send(&ada, &edit, &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(page.contains("image_project-error"), "{}", text(&page));
    weir.stop().await;
}

#[tokio::test]
async fn local_lookup_is_a_setting_of_the_stream() {
    let (weir, ada) = demo().await;
    let settings = format!("{STREAM}/settings");
    let is_local = async || weir.store().stream("demo", "base").await.expect("the stream").local_lookup;
    for (word, expected) in [("on", 1), ("", 1), ("off", 0)] {
        let saved = send(&ada, &settings, &[("description", "a base"), ("local_lookup", word)]).await;
        assert_eq!(saved.status(), StatusCode::SEE_OTHER);
        assert_eq!(is_local().await, expected, "{word:?}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn an_import_is_tried_before_anything_is_kept() {
    let ((weir, ada), upstream) = (demo().await, DockerRegistry::start());
    let (arm64, amd64) = (TestImage::new("arm64"), TestImage::new("amd64"));
    for image in [&arm64, &amd64] {
        image.push(upstream.address(), "org/app", image.digest().as_str()).await;
    }
    amd64.push(upstream.address(), "org/app", "one").await;
    let both = index_of(&[("arm64", &arm64), ("amd64", &amd64)]);
    push_manifest(upstream.address(), "org/app", "both", OCI_INDEX, both.clone()).await;
    let add = format!("{STREAM}/add-tag");
    let reference = |tag: &str| format!("{}/org/app:{tag}", upstream.address());
    let tried = async |page: &str, reference: &str, mode: &str, status: StatusCode| {
        let fields = [
            ("way", "import"),
            ("do", "try"),
            ("import_tag", ""),
            ("reference", reference),
            ("insecure", "on"),
            ("import_mode", mode),
        ];
        html(send(&ada, page, &fields).await, status).await
    };
    let page = tried(&add, &reference("both"), "PreserveOriginal", StatusCode::OK).await;
    let words = text(&page);
    assert!(
        words.contains("What this import would bring") && words.contains("This image is new to the stream"),
        "{words}"
    );
    assert!(words.contains("Platforms linux/arm64, linux/amd64") && words.contains("To fetch at the most"), "{words}");
    assert!(
        page.contains(sha256(&both).as_str()) && page.contains(&format!("value=\"{}\"", reference("both"))),
        "{page}"
    );
    let words = text(&tried(&add, &reference("both"), "Legacy", StatusCode::OK).await);
    assert!(words.contains("Platforms linux/amd64 To fetch"), "{words}");
    let words = text(&tried(&add, &reference("none"), "Legacy", StatusCode::UNPROCESSABLE_ENTITY).await);
    assert!(words.contains("does not have") || words.contains("not found"), "{words}");
    assert_eq!(weir.store().find_image(sha256(&both).as_str()).await.unwrap(), None, "nothing is kept");

    set(&weir, "one", &TagSpec { insecure: true, ..TagSpec::import(reference("one")) }).await;
    weir.settle().await;
    let before = tag(&weir, "one").await;
    let edit = format!("{STREAM}/tags/one/edit");
    let words = text(&tried(&edit, &reference("one"), "PreserveOriginal", StatusCode::OK).await);
    assert!(words.contains("The tag has this image already"), "{words}");
    tried(&edit, &reference("both"), "PreserveOriginal", StatusCode::OK).await;
    assert_eq!(tag(&weir, "one").await, before);
    let vic = weir.user("vic", "demo", weir::model::Role::Viewer).await;
    let fields = [("way", "import"), ("do", "try"), ("reference", SOURCE)];
    assert_eq!(send(&vic, &add, &fields).await.status(), StatusCode::FORBIDDEN);
    weir.stop().await;
}
