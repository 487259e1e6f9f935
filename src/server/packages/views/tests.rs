//! What is shown is worked out once, anew when it would differ, and only of what a stream has.

use super::*;
use crate::model::{
    Actor, Evidence, ImageChild, ImageLayer, LayerContents, NewImage, Package, PackageDatabase, PackageKind, Stream,
};
use crate::server::store::testing::{each_store, project};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

async fn stream(store: &Store, project: &str, name: &str) -> Stream {
    store.ensure_stream(project, &name.parse().unwrap(), &Actor::person("ada")).await.unwrap()
}

/// Puts an image of one layer into a stream.
async fn put(store: &Store, stream: &Stream, digest: &str, layer: &str) {
    store.link_blob(&stream.id, layer, 1, None).await.unwrap();
    let layer = ImageLayer { layer_digest: layer.to_owned(), size: 1, media_type: TAR.to_owned() };
    let (os, architecture) = (Some("linux".to_owned()), Some("amd64".to_owned()));
    let (digest, manifest) = (digest.to_owned(), "{}".to_owned());
    let image = NewImage { digest, manifest, layers: vec![layer], os, architecture, ..NewImage::default() };
    store.put_manifest(stream, &image, None, &Actor::person("ada")).await.unwrap();
}

async fn read_next_layer(store: &Store, package: &str) {
    let package = Package { name: package.to_owned(), version: "1".to_owned(), architecture: None, source: None };
    let path = "var/lib/dpkg/status".to_owned();
    let (kind, evidence) = (PackageKind::Dpkg, Evidence::Installed);
    let database = PackageDatabase { path, kind, evidence, packages: vec![package], problem: None };
    let contents = LayerContents { databases: vec![database], ..LayerContents::default() };
    let layer = store.claim_layer(60_000).await.unwrap().expect("a layer").digest;
    assert!(store.record_layer(&layer, Ok(&contents)).await.unwrap());
}

#[tokio::test]
async fn a_view_is_worked_out_once_and_anew_when_it_would_differ() {
    for store in each_store().await {
        project(&store, "demo").await;
        let views = Views::default();
        let app = stream(&store, "demo", "app").await;
        put(&store, &app, "sha256:i", "sha256:a").await;
        let waiting = views.packages(&store, &app.id, "sha256:i").await.unwrap();
        assert_eq!((waiting.waiting, waiting.layers), (1, 1));
        read_next_layer(&store, "one").await;
        let read = views.packages(&store, &app.id, "sha256:i").await.unwrap();
        assert_eq!(read.packages[0].package.name, "one", "it is not what was kept");
        let again = views.packages(&store, &app.id, "sha256:i").await.unwrap();
        assert!(Arc::ptr_eq(&read, &again), "it is kept");

        put(&store, &app, "sha256:j", "sha256:b").await;
        read_next_layer(&store, "two").await;
        let both = ("sha256:i", "sha256:j");
        let (_, first) = views.compare(&store, &app.id, both, None).await.unwrap();
        let (_, second) = views.compare(&store, &app.id, both, None).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second) && first.packages.len() == 2);

        // Another stream does not get what this one was shown.
        let other = stream(&store, "demo", "other").await;
        assert!(views.packages(&store, &other.id, "sha256:i").await.unwrap().packages.is_empty());
    }
}

#[tokio::test]
async fn what_is_compared_is_what_the_repository_serves() {
    for store in each_store().await {
        let listed = |digest: &str| ImageChild {
            child_digest: digest.to_owned(),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size: 2,
            architecture: Some("amd64".to_owned()),
            os: Some("linux".to_owned()),
            variant: None,
        };
        for name in ["vault", "demo"] {
            project(&store, name).await;
        }
        let vault = stream(&store, "vault", "own").await;
        put(&store, &vault, "sha256:secret", "sha256:a").await;
        read_next_layer(&store, "secret").await;
        // An index may be recorded before what it lists is there.
        let app = stream(&store, "demo", "app").await;
        put(&store, &app, "sha256:mine", "sha256:b").await;
        let index = NewImage {
            digest: "sha256:index".to_owned(),
            manifest: "{}".to_owned(),
            children: vec![listed("sha256:secret")],
            ..NewImage::default()
        };
        store.put_incomplete(&app, &index, "evil.example/x", None, &Actor::person("eve")).await.unwrap();
        let views = Views::default();
        let both = ("sha256:index", "sha256:mine");
        let compared = views.compare(&store, &app.id, both, None).await.map(|_| ());
        assert!(matches!(&compared, Err(Unpaired::Gone(digest)) if digest == "sha256:secret"), "{compared:?}");
        store.link_blob(&app.id, "sha256:a", 1, None).await.unwrap();
        put(&store, &app, "sha256:secret", "sha256:a").await;
        assert!(views.compare(&store, &app.id, both, None).await.is_ok(), "once it is theirs");
    }
}

#[tokio::test]
async fn no_more_is_kept_than_fits() {
    let views = Views::default();
    let package = |number: usize| crate::model::ImagePackage {
        kind: PackageKind::Npm,
        evidence: Evidence::Installed,
        package: Package { name: format!("p{number}"), version: "1".repeat(700), architecture: None, source: None },
        path: String::new(),
        layer: 0,
        layer_digest: String::new(),
    };
    let large = |count: usize| {
        Arc::new(ImagePackages { packages: (0..count).map(package).collect(), ..ImagePackages::default() })
    };
    for number in 0..40 {
        views.0.images.insert((number.to_string(), String::new()), large(1000));
    }
    let weight = views.0.images.weight();
    assert!(weight <= IMAGES_BYTES && weight > IMAGES_BYTES / 2, "{weight}");
    let too_large = ("large".to_owned(), String::new());
    views.0.images.insert(too_large.clone(), large(20_000));
    assert!(views.0.images.get(&too_large).is_none() && views.0.images.weight() <= IMAGES_BYTES);
}
