//! A server on which seven automations each have a tag to move.

use reqwest::Method;
use serde_json::json;
use weir::model::{BuildPhase, EventKind, Outcome, Role, RollbackMode, SourceKind, TagEvent, now};
use weir::server::store::{BuildEnd, BuildRequest, ConfigFields, NewToken, TagRollback, TagSpec};

use crate::imports::upstream::Misbehaving;
use crate::stories::inline_config;
use crate::support::{Client, TestWeir, tester};
use crate::upstreams::images::TestImage;

/// Whatever moves a tag by itself. Each has the tag `latest` of a stream of its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mover {
    Push,
    /// The tag follows another one, which is pushed to.
    Follow,
    /// A scheduled check.
    Schedule,
    /// A check that somebody asked for.
    Check,
    /// A check that a webhook moved forward.
    Webhook,
    Build,
    /// A tag it is built on is rolled back, and everything built on that with it.
    Restore,
}

pub const MOVERS: [Mover; 7] =
    [Mover::Push, Mover::Follow, Mover::Schedule, Mover::Check, Mover::Webhook, Mover::Build, Mover::Restore];

impl Mover {
    pub fn stream(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What its rows in a history say.
    fn kind(self) -> EventKind {
        match self {
            Self::Push => EventKind::Push,
            Self::Follow => EventKind::Follow,
            Self::Schedule | Self::Check | Self::Webhook => EventKind::Import,
            Self::Build => EventKind::Build,
            Self::Restore => EventKind::Restore,
        }
    }
}

pub struct Site {
    pub weir: TestWeir,
    pub ada: Client,
    /// One for each of those that import.
    registries: Vec<(Mover, Misbehaving)>,
}

impl Site {
    /// Every mover's tag has had `images`, one after the other.
    pub async fn with_history(images: &[&TestImage]) -> Self {
        let weir = TestWeir::start().await;
        let ada = weir.user("ada", "demo", Role::Admin).await;
        let mut site = Self { weir, ada, registries: Vec::new() };
        for mover in MOVERS {
            site.prepare(mover, images).await;
        }
        for image in images {
            for mover in MOVERS.into_iter().filter(|mover| *mover != Mover::Restore) {
                site.offer(mover, image).await;
            }
        }
        for mover in MOVERS {
            let moves: Vec<_> = site.history(mover).await.into_iter().rev().map(|row| row.digest.unwrap()).collect();
            let expected: Vec<_> = images.iter().map(|image| image.digest().to_string()).collect();
            assert_eq!(moves, expected, "{mover:?}");
        }
        site
    }

    async fn prepare(&mut self, mover: Mover, images: &[&TestImage]) {
        let store = self.weir.store();
        let (stream, latest) = (mover.stream().parse().unwrap(), "latest".parse().unwrap());
        let unprompted = |fields: ConfigFields| ConfigFields { image_trigger: false, config_trigger: false, ..fields };
        match mover {
            Mover::Push => {}
            Mover::Follow => {
                store.ensure_stream("demo", &"followed".parse().unwrap(), &tester()).await.expect("a stream");
                let source = Some((SourceKind::ImageStreamTag, "followed:latest".to_owned()));
                let spec = TagSpec { source, ..TagSpec::default() };
                store.set_tag("demo", &stream, &latest, &spec, None, &tester()).await.expect("it follows");
            }
            Mover::Schedule | Mover::Check | Mover::Webhook => {
                let registry = Misbehaving::start(images[0]).await;
                let from = registry.reference("org/app:1");
                let spec = TagSpec { insecure: true, scheduled: mover != Mover::Check, ..TagSpec::import(from) };
                store.set_tag("demo", &stream, &latest, &spec, None, &tester()).await.expect("it follows");
                self.registries.push((mover, registry));
            }
            Mover::Build => {
                let config = unprompted(inline_config("demo", "build", "FROM scratch\n"));
                store.create_config("demo", &"build".parse().unwrap(), &config, &tester()).await.expect("a config");
            }
            Mover::Restore => {
                let config = unprompted(inline_config("demo", "restore", "FROM ground:latest\n"));
                store.create_config("demo", &"restore".parse().unwrap(), &config, &tester()).await.expect("a config");
                // While the ground was at its n-th image, so was what is built on it.
                for image in images {
                    self.push("ground", &ground_of(image)).await;
                    self.push("restore", image).await;
                }
                self.push("ground", &TestImage::new("the newest ground")).await;
            }
        }
    }

    pub async fn push(&self, stream: &str, image: &TestImage) {
        self.push_as(self.ada.token(), stream, image).await;
    }

    async fn push_as(&self, token: &str, stream: &str, image: &TestImage) {
        image.push_as(Some(("x", token)), self.weir.registry(), &format!("demo/{stream}"), "latest").await;
    }

    /// Lets the mover want the tag to point to the image.
    pub async fn offer(&self, mover: Mover, image: &TestImage) {
        let registry = self.registries.iter().find(|(of, _)| *of == mover).map(|(_, registry)| registry);
        if let Some(registry) = registry {
            registry.set(image);
        }
        match mover {
            Mover::Push => self.push("push", image).await,
            Mover::Follow => self.push("followed", image).await,
            Mover::Schedule => self.weir.run_sql("update tag_imports set next_at = 1 where next_at is not null").await,
            Mover::Check => {
                let asked = self.ada.post("/weir/v1/projects/demo/streams/check/tags/latest/check", &json!({})).await;
                assert_eq!(asked.status(), 200);
            }
            Mover::Webhook => self.call_webhook().await,
            Mover::Build => self.build(image).await,
            Mover::Restore => {
                let ground = self.weir.store().tag("demo", "ground", "latest").await.expect("a tag");
                let history = self.weir.store().list_history(&ground.id, None, 100).await.expect("its history");
                let digest = ground_of(image).digest().to_string();
                // The oldest such row: what was built then was built on it.
                let to = history.iter().rfind(|row| row.digest.as_ref() == Some(&digest)).expect("a row").sequence;
                let back = TagRollback { mode: RollbackMode::Restore, reject: false, ..TagRollback::to(to) };
                self.weir.store().roll_back_tag("demo", "ground", "latest", &back, &tester()).await.expect("it went");
            }
        }
        self.weir.settle().await;
    }

    async fn call_webhook(&self) {
        let hook = self.ada.get_json("/weir/v1/projects/demo/registry-hook").await;
        let path = format!("/weir/v1/projects/demo/registry-hook/{}", hook["secret"].as_str().expect("a secret"));
        let event = json!({"events": [{"action": "push", "target": {"repository": "org/app", "tag": "1"}}]});
        // It was checked a moment ago, and hints do not bring a registry's checks that close together.
        self.weir.run_sql("update tag_imports set last_try_at = 1").await;
        let asked = self.weir.anon().request(Method::POST, &path).json(&event).send().await.expect("an answer");
        assert_eq!(asked.status(), 202);
    }

    /// What a worker does with a build whose output is this image.
    async fn build(&self, image: &TestImage) {
        let store = self.weir.store();
        store.start_build("demo", "build", BuildRequest::manual(tester())).await.expect("requested");
        let build = store.claim_build("worker of a test", 60_000).await.expect("asked").expect("a build");
        store.record_running(&build).await.expect("it runs");
        let name = build.name();
        let new = NewToken::build(&name, &build.project_id, &build.id, now() + 60_000);
        self.push_as(&self.weir.token_for(new).await, "build", image).await;
        let digest = Some(image.digest().to_string());
        let end = BuildEnd { phase: BuildPhase::Complete, reason: None, message: None, digest };
        assert!(store.finish_build(&build, &end).await.expect("it ends"));
    }

    pub async fn history(&self, mover: Mover) -> Vec<TagEvent> {
        let tag = self.weir.store().tag("demo", &mover.stream(), "latest").await.expect("the tag");
        self.weir.store().list_history(&tag.id, None, 100).await.expect("its history")
    }

    pub async fn roll_back(&self, mover: Mover, to: &TestImage) {
        let digest = to.digest().to_string();
        let row = self.history(mover).await.into_iter().find(|row| row.digest.as_ref() == Some(&digest));
        let to = row.expect("a row with that image").sequence;
        let back = TagRollback { mode: RollbackMode::Tag, ..TagRollback::to(to) };
        self.weir.store().roll_back_tag("demo", &mover.stream(), "latest", &back, &tester()).await.expect("back");
    }

    pub async fn resume(&self, mover: Mover) -> Option<Outcome> {
        let resumed = self.weir.store().resume_tag("demo", &mover.stream(), "latest", &tester()).await;
        resumed.expect("it was held").map(|moved| moved.outcome)
    }

    pub async fn assert_points_to(&self, mover: Mover, image: &TestImage) {
        let tag = self.weir.store().tag("demo", &mover.stream(), "latest").await.expect("the tag");
        assert_eq!(tag.digest, Some(image.digest().to_string()), "{mover:?}");
        let pulled = self.ada.get(&format!("/v2/demo/{}/manifests/latest", mover.stream())).await;
        assert!(pulled.bytes().await.expect("bytes") == image.manifest, "{mover:?}");
    }

    /// The newest row says that this image was kept off.
    pub async fn assert_skipped(&self, mover: Mover, image: &TestImage, outcome: Outcome) {
        let newest = self.history(mover).await.remove(0);
        let told = (newest.kind, newest.outcome, newest.digest);
        assert_eq!(told, (mover.kind(), outcome, Some(image.digest().to_string())), "{mover:?}");
        assert!(!newest.actor.is_empty(), "{mover:?}: somebody wanted it");
    }
}

/// What the image of the tag that is restored was built on.
fn ground_of(image: &TestImage) -> TestImage {
    TestImage::new(&format!("the ground of {}", image.digest()))
}
