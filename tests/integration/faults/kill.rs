//! The program is killed in the midst of 200 pushes, again and again: what it said it has, it has, whole.
//!
//! `WEIR_TEST_KILL_ROUNDS` says how often (`make soak` says 200); `WEIR_TEST_SEED` repeats a run's moments of death.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::{Site, verify};
use crate::stories::load::{Acknowledged, Pusher};
use crate::upstreams::images::TestImage;

const ROUNDS: u64 = 20;
/// After so many the next round begins on an empty directory: what has to be looked at again each time should stay small.
const ROUNDS_OF_A_DIRECTORY: u64 = 20;
const PUSHES: usize = 200;
/// Repositories that are pushed to.
const STREAMS: usize = 8;
/// Images that are looked at together.
const LOOKS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives() {
    let seed = number("WEIR_TEST_SEED").unwrap_or_else(rand::random);
    let rounds = number("WEIR_TEST_KILL_ROUNDS").unwrap_or(ROUNDS);
    println!("WEIR_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut done, mut tally) = (0, Tally::default());
    while done < rounds {
        let series = ROUNDS_OF_A_DIRECTORY.min(rounds - done);
        one_directory(series, &mut random, &mut tally).await;
        done += series;
    }
    println!("killed {rounds} times: {} of {} pushes acknowledged, none lost", tally.acknowledged, tally.begun);
    let shares = tally.acknowledged * 20 > tally.begun && tally.acknowledged < tally.begun;
    assert!(shares, "it was not killed in the midst of things: {tally:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[derive(Debug, Default)]
struct Tally {
    begun: usize,
    acknowledged: usize,
}

async fn one_directory(rounds: u64, random: &mut StdRng, tally: &mut Tally) {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path();
    let mut site = Site::open(data, &[]).await;
    let token = site.token.clone();
    // Undisturbed, they all come through.
    let (began, mut all) = (Instant::now(), push_all(site.pusher(), "whole", random.random(), Arc::default()).await);
    assert_eq!(all.len(), PUSHES);
    let whole_life = began.elapsed();
    for round in 0..rounds {
        let (pusher, name, seed) = (site.pusher(), format!("round-{round}"), random.random());
        let (began, acknowledged) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let pushes = tokio::spawn(push_all(pusher, name, seed, Arc::clone(&acknowledged)));
        // In the beginning blobs come in; the acknowledgements come close together, later. Death comes to both, however slow the
        // machine is at the moment.
        let (longest, most) = match random.random_bool(0.5) {
            true => (whole_life.mul_f64(random.random_range(0.0..0.5)), usize::MAX),
            false => (Duration::MAX, random.random_range(1..PUSHES)),
        };
        while began.elapsed() < longest && acknowledged.load(Ordering::Relaxed) < most && !pushes.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        site.weir.kill();
        let life = began.elapsed();
        let fresh = pushes.await.expect("the pushes");
        println!("round {round}: lived {life:?}, acknowledged {}", fresh.len());
        (tally.begun, tally.acknowledged) = (tally.begun + PUSHES, tally.acknowledged + fresh.len());
        verify(data, &[]);
        site = Site::open_again(data, &[], &token);
        check(&site, &fresh).await;
        all.extend(fresh);
    }
    check(&site, &all).await;
    // Whoever pushes again what was not acknowledged finds nothing in the way.
    assert_eq!(push_all(site.pusher(), "again", random.random(), Arc::default()).await.len(), PUSHES);
    verify(data, &[]);
}

/// Pushes at once; counts those that were acknowledged, and gives them in the end.
async fn push_all(pusher: Pusher, name: impl Display, seed: u64, count: Arc<AtomicUsize>) -> Vec<Acknowledged> {
    let mut random = StdRng::seed_from_u64(seed);
    let pushes = (0..PUSHES).map(|n| {
        let (pusher, count, in_parts) = (pusher.clone(), Arc::clone(&count), random.random_bool(0.3));
        let image = TestImage::new(&format!("{name}-{n}-{}", random.random::<u64>()));
        let (stream, tag) = (format!("stream-{}", n % STREAMS), format!("{name}-{n}"));
        tokio::spawn(async move {
            let pushed = pusher.push(&stream, &tag, &image, in_parts).await;
            pushed.is_ok().then(|| {
                count.fetch_add(1, Ordering::Relaxed);
                Acknowledged { stream, tag, image }
            })
        })
    });
    let pushes: Vec<_> = pushes.collect();
    // A push panics over any answer that is not the right one; none at all is the server's death.
    join_all(pushes).await.into_iter().filter_map(|push| push.expect("its answers were right")).collect()
}

/// Everything is there, under its tag and its digest.
async fn check(site: &Site, pushes: &[Acknowledged]) {
    let tags: HashSet<_> = pushes.iter().map(|push| (&push.stream, &push.tag)).collect();
    assert_eq!(tags.len(), pushes.len(), "each has a tag of its own");
    let looks = pushes.iter().map(|push| site.pulls(&push.stream, &push.tag, &push.image));
    stream::iter(looks).buffer_unordered(LOOKS).collect::<Vec<()>>().await;
}
