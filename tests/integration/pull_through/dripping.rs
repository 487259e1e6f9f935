//! Other registries that send next to nothing: their downloads end, and leave others room meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::task::TaskTracker;
use weir::model::{InsecureRegistries, Role};
use weir::server::hash::sha256;
use weir::server::importer::{Importer, MirrorSets, SiteLogins, Surroundings};
use weir::server::oci::{Client as OciClient, Options, Pace};
use weir::server::registry;
use weir::server::state::AppState;
use weir::server::store::TagSpec;

use super::{Story, until};
use crate::support::{Client, tester};
use crate::upstreams::images::TestImage;
use crate::upstreams::{Flow, Tap};

/// A second door of the story's server, whose downloads have to keep this pace; Ada is at it.
async fn door_with(story: &Story, pace: Pace) -> Client {
    let state = story.weir.state.clone();
    let client = OciClient::new(Options { pace, ..Options::default() });
    let around = Surroundings {
        own_hosts: Vec::new(),
        mirrors: MirrorSets::default(),
        logins: SiteLogins::default(),
        insecure: InsecureRegistries::default(),
        tracker: TaskTracker::new(),
        stop: state.stop.clone(),
    };
    let importer = Importer::new(state.store.clone(), state.blobs.clone(), Arc::new(client), around);
    let app = registry::router(&AppState { importer, ..state }).into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, app).into_future());
    Client::new(&url, Some(story.ada.token().to_owned()))
}

#[tokio::test]
async fn a_download_that_drips_ends_and_begins_anew() {
    let tap = Tap::shut(&TestImage::large("drip", 100_000)).await;
    let story = Story::following(&tap.reference()).await;
    let window = Duration::from_millis(800);
    let ada = door_with(&story, Pace { window, bytes_per_second: 4096 }).await;
    let blob = format!("/v2/demo/base/blobs/{}", sha256(&tap.image.layer));
    assert_eq!(ada.get("/v2/demo/base/manifests/latest").await.status(), 200);
    tap.set(Flow::Drip);
    for _ in 0..2 {
        let answer = ada.get(&blob).await;
        assert_eq!(answer.status(), 200);
        let body = tokio::time::timeout(super::PATIENCE, answer.bytes()).await.expect("an end");
        assert!(body.is_err(), "a body that ended well");
    }
    until("nothing is left of it", async || story.uploads().await == 0).await;
    let told = ada.get(&blob).await;
    assert_eq!(told.status(), 504);
    let text = told.text().await.expect("a body");
    assert!(text.contains("sent less than 4096 bytes a second"), "{text}");
    assert_eq!(tap.downloads_of(&tap.image.layer), 2, "for the while it is not asked");
    story.weir.stop().await;
}

#[tokio::test]
async fn those_that_drip_leave_others_room() {
    let story = Story::begin().await;
    let sue = story.weir.user("sue", "shop", Role::Editor).await;
    // Each is another registry, so only the project's share holds them back.
    let shut: Vec<Tap> = join_all((0..14).map(async |number| {
        let tap = Tap::shut(&TestImage::large(&format!("drip {number}"), 100_000)).await;
        let stream = format!("drip-{number}");
        story.follow(&stream, &tap.reference()).await;
        let manifest = story.ada.get(&format!("/v2/demo/{stream}/manifests/latest")).await;
        assert_eq!(manifest.status(), 200);
        tap
    }))
    .await;
    let asked = || shut.iter().map(|tap| tap.downloads_of(&tap.image.layer)).sum::<usize>();
    let pulls = shut.iter().enumerate().map(async |(number, tap)| {
        let path = format!("/v2/demo/drip-{number}/blobs/{}", sha256(&tap.image.layer));
        story.ada.get(&path).await.bytes().await.expect("a whole body")
    });
    let others = async {
        until("the project has its share", async || asked() >= 12).await;
        let good = Tap::shut(&TestImage::new("good")).await;
        good.open_wide();
        let spec = TagSpec { insecure: true, ..TagSpec::import(good.reference()) };
        let names = ("good".parse().expect("a name"), "latest".parse().expect("a name"));
        story.weir.store().set_tag("shop", &names.0, &names.1, &spec, None, &tester()).await.expect("it follows");
        assert_eq!(sue.get("/v2/shop/good/manifests/latest").await.status(), 200);
        let layer = sue.get(&format!("/v2/shop/good/blobs/{}", sha256(&good.image.layer))).await;
        assert_eq!(layer.bytes().await.expect("a whole body"), good.image.layer);
        assert_eq!(asked(), 12, "the others of the project wait");
        for tap in &shut {
            tap.open_wide();
        }
    };
    let (bodies, ()) = futures_util::future::join(join_all(pulls), others).await;
    assert!(bodies.iter().zip(&shut).all(|(body, tap)| *body == tap.image.layer), "all came in the end");
    story.weir.stop().await;
}
