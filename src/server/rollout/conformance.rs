//! What every engine must do, run against each of them.

use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::{Desired, Observed, Rollout, RolloutError};
use crate::model::{AppPort, AppSpec, Digest, EnvVar, PublishMode};

/// How long an engine may take for any one of these steps.
const PATIENCE: Duration = Duration::from_secs(90);

/// Images the engine under test can reach, as `(reference by digest, digest)`.
pub(super) struct Images {
    pub first: (String, Digest),
    pub second: (String, Digest),
    /// Cannot be run.
    pub missing: (String, Digest),
    pub registry: Option<(String, SecretString)>,
}

/// The wanted state of `demo/app` with one image; the published port is the engine's to choose.
pub(super) fn desired(image: &(String, Digest), rollout: i64, replicas: u32, images: &Images) -> Desired {
    Desired {
        project: "demo".to_owned(),
        app: "app".to_owned(),
        image: image.0.clone(),
        digest: image.1.clone(),
        rollout,
        spec: AppSpec {
            replicas,
            ports: vec![AppPort { container: 8080, published: None, mode: PublishMode::Host }],
            env: vec![EnvVar { name: "GREETING".to_owned(), value: "hello=world".to_owned() }],
            ..AppSpec::default()
        },
        registry: images.registry.clone(),
    }
}

/// Looks until the condition holds, and says what was last seen when it never does.
pub(super) async fn until(engine: &dyn Rollout, what: &str, holds: impl Fn(&Observed) -> bool) -> Observed {
    let start = Instant::now();
    loop {
        let seen = engine.observe("demo", "app").await.expect("observe");
        if holds(&seen) {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; last seen {seen:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn ids(seen: &Observed) -> Vec<String> {
    let mut ids: Vec<_> = seen.replicas.iter().map(|replica| replica.id.clone()).collect();
    ids.sort();
    ids
}

/// The whole life of an app.
pub(super) async fn suite(engine: &dyn Rollout, images: &Images) {
    engine.check().await.expect("the engine is ready for the suite");
    assert_eq!(engine.list().await, Ok(vec![]));
    assert_eq!(engine.observe("demo", "app").await, Ok(Observed::default()));
    engine.remove("demo", "app").await.expect("removing what is not there");

    starts_and_stays(engine, images).await;
    updates_and_scales(engine, images).await;
    stops_at_a_bad_image(engine, images).await;

    assert_eq!(engine.list().await, Ok(vec![("demo".to_owned(), "app".to_owned())]));
    engine.remove("demo", "app").await.expect("remove");
    engine.remove("demo", "app").await.expect("remove again");
    assert_eq!(engine.list().await, Ok(vec![]));
    assert_eq!(engine.observe("demo", "app").await, Ok(Observed::default()));
}

async fn starts_and_stays(engine: &dyn Rollout, images: &Images) {
    let mut wanted = desired(&images.first, 1, 2, images);
    engine.apply(&wanted).await.expect("apply");
    let seen = until(engine, "the first image runs", |seen| seen.settled(&wanted.digest, 2)).await;
    assert_eq!(seen.rollout, Some(1));
    for replica in &seen.replicas {
        assert_eq!(replica.state, "running");
        assert!(!replica.node.is_empty() && replica.since > 0);
        assert!(matches!(replica.ports[..], [(8080, published)] if published > 0), "{replica:?}");
    }

    engine.apply(&wanted).await.expect("the same again");
    let again = until(engine, "nothing changed", |seen| seen.settled(&wanted.digest, 2)).await;
    assert_eq!(ids(&again), ids(&seen), "the same state restarts nothing");

    wanted.rollout = 2;
    engine.apply(&wanted).await.expect("only the rollout's number is new");
    let again = until(engine, "the number is taken", |seen| seen.rollout == Some(2)).await;
    assert_eq!(ids(&again), ids(&seen), "another number restarts nothing");
    let again = until(engine, "it rests", |seen| seen.settled(&wanted.digest, 2)).await;
    assert_eq!(ids(&again), ids(&seen));
}

async fn updates_and_scales(engine: &dyn Rollout, images: &Images) {
    let before = engine.observe("demo", "app").await.expect("observe");
    let wanted = desired(&images.second, 3, 2, images);
    engine.apply(&wanted).await.expect("apply the second image");
    let seen = until(engine, "the second image runs", |seen| seen.settled(&wanted.digest, 2)).await;
    assert!(ids(&seen).iter().all(|id| !ids(&before).contains(id)), "every replica was replaced");

    let wider = desired(&images.second, 4, 3, images);
    engine.apply(&wider).await.expect("scale up");
    let three = until(engine, "three replicas", |seen| seen.settled(&wider.digest, 3)).await;
    assert!(ids(&seen).iter().all(|id| ids(&three).contains(id)), "scaling restarts nothing");
    engine.apply(&desired(&images.second, 5, 1, images)).await.expect("scale down");
    until(engine, "one replica", |seen| seen.settled(&wider.digest, 1)).await;
    engine.apply(&desired(&images.second, 6, 0, images)).await.expect("scale to nothing");
    until(engine, "no replica", |seen| seen.settled(&wider.digest, 0)).await;
    engine.apply(&desired(&images.second, 7, 1, images)).await.expect("scale up again");
    until(engine, "one replica again", |seen| seen.settled(&wider.digest, 1)).await;
}

async fn stops_at_a_bad_image(engine: &dyn Rollout, images: &Images) {
    let bad = desired(&images.missing, 8, 1, images);
    engine.apply(&bad).await.expect("an engine learns later that an image is bad");
    let failed = |seen: &Observed| seen.failed.is_some() && !seen.updating;
    let seen = until(engine, "the bad image is noticed", failed).await;
    assert!(seen.failed.as_deref().is_some_and(|reason| reason.contains("No such image")), "{seen:?}");
    assert!(seen.retryable);
    assert!(!seen.settled(&bad.digest, 1));
    assert_eq!(seen.ready_with(&images.second.1), 1, "the old replica goes on: {seen:?}");

    engine.apply(&bad).await.expect("trying again");
    until(engine, "it is noticed again", failed).await;

    let good = desired(&images.first, 9, 1, images);
    engine.apply(&good).await.expect("back to a good image");
    let seen = until(engine, "the good image runs", |seen| seen.settled(&good.digest, 1)).await;
    assert_eq!((seen.failed, seen.rollout), (None, Some(9)));
}

/// An engine that is not there.
pub(super) async fn away(engine: &dyn Rollout, images: &Images) {
    assert!(engine.check().await.is_err());
    assert!(matches!(engine.apply(&desired(&images.first, 1, 1, images)).await, Err(RolloutError::Transient(_))));
    assert!(matches!(engine.observe("demo", "app").await, Err(RolloutError::Transient(_))));
    assert!(matches!(engine.remove("demo", "app").await, Err(RolloutError::Transient(_))));
    assert!(matches!(engine.list().await, Err(RolloutError::Transient(_))));
}
