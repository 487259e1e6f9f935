//! Many scheduled tags over twenty registries with limits of all kinds, hour by hour on a simulated clock, through the real schedule,
//! importer, client and database. `make bench` runs it with 10,000 tags and prints what it found; tests run it with fewer.

use std::collections::HashMap;
use std::time::Instant;

use axum::http::Method;

use super::testing::{Allows, HOUR, MINUTE, Registry, SECOND, START, Site};
use crate::model::now;
use crate::model::time::testing::TIME;
use crate::server::store::testing::quick_store;

const REGISTRIES: usize = 20;
const PROJECTS: usize = 10;
/// One change in so many tags an hour.
const CHANGES: usize = 100;
const INTERVAL: i64 = 15 * MINUTE;

/// What was seen of one tag: when it was asked for last, and the longest it was not.
type Gaps = HashMap<String, (i64, i64)>;

#[expect(clippy::disallowed_methods, reason = "the size is that of the test run")]
fn from_environment(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Every fourth registry has an allowance of pulls, as Docker Hub has; every fourth counts whatever is asked; and all turn away who asks
/// too much in a second.
fn allows(number: usize, tags: usize) -> Allows {
    let tags = tags as u64;
    let a_second = Some(30);
    match number % 4 {
        0 => Allows { pulls: Some((tags * 2 + 50, 6 * HOUR)), counts_heads: false, a_second },
        1 => Allows { pulls: Some((tags * 8 + 50, HOUR)), counts_heads: true, a_second },
        _ => Allows { pulls: None, counts_heads: false, a_second },
    }
}

#[tokio::test]
async fn scheduled_tags_are_checked_in_time_and_no_registry_is_asked_too_much() {
    let tags = from_environment("WEIR_SIMULATED_TAGS", 400);
    let hours = i64::try_from(from_environment("WEIR_SIMULATED_HOURS", 1)).unwrap();
    let began = (Instant::now(), cpu_seconds());
    let site = Site::start(quick_store().await).await;
    let each = tags / REGISTRIES;
    let mut registries = Vec::new();
    for number in 0..REGISTRIES {
        registries.push(Registry::start(allows(number, each)).await);
    }
    for project in 0..PROJECTS {
        site.project(&format!("team-{project}")).await;
    }
    for number in 0..tags {
        let reference = registries[number % REGISTRIES].reference(&name_of(number));
        site.follow(&format!("team-{}", number % PROJECTS), &format!("stream-{}:t{number}", number / 50), &reference)
            .await;
    }
    // Everything comes in at first, at the pace that registries bear.
    site.pass(INTERVAL).await;
    let imported = registries.iter().map(|registry| registry.take().len()).sum::<usize>();

    let mut gaps = Gaps::new();
    let (mut heads, mut others, mut busiest) = (0, 0, 0);
    let (first, mut changed) = (now(), Vec::new());
    let mut next_change = 0;
    while now() < first + hours * HOUR {
        let due = usize::try_from((now() - first) / MINUTE).unwrap() * tags / CHANGES / 60;
        while changed.len() <= due {
            next_change = (next_change + 7919) % tags;
            registries[next_change % REGISTRIES].change(&name_of(next_change));
            changed.push((now(), next_change));
        }
        site.pass(MINUTE).await;
        for (number, registry) in registries.iter().enumerate() {
            let asked = registry.take();
            let in_a_second = asked.chunk_by(|a, b| a.at / SECOND == b.at / SECOND).map(<[_]>::len).max();
            busiest = busiest.max(in_a_second.unwrap_or(0));
            for one in asked {
                if one.method != Method::HEAD {
                    others += 1;
                    continue;
                }
                heads += 1;
                let (last, longest) = gaps.entry(format!("{number} {}", one.what)).or_insert((one.at, 0));
                *longest = (*longest).max(one.at - *last);
                *last = one.at;
            }
        }
    }
    let refused: usize = registries.iter().map(Registry::refused).sum();
    let latest = gaps.values().map(|(last, longest)| (*longest).max(now() - last)).max().unwrap_or(0);
    let expected = tags as i64 * hours * HOUR / INTERVAL;
    println!(
        "\nImport schedule: {tags} tags over {REGISTRIES} registries, {} changes in {hours} simulated hours (interval {} min)\n\
         first import: {imported} requests; then {heads} HEADs ({expected} intervals), {others} GETs, {refused} refused\n\
         longest time between two checks of a tag: {:.1} min; most requests to one registry in a second: {busiest}\n\
         real time {:.1} s, CPU {:.1} s ({:.2} % of one core in simulated time, registries included), peak memory {} MB",
        changed.len(),
        INTERVAL / MINUTE,
        latest as f64 / MINUTE as f64,
        began.0.elapsed().as_secs_f64(),
        cpu_seconds() - began.1,
        (cpu_seconds() - began.1) * 100.0 / ((now() - START) as f64 / 1000.0),
        peak_memory_mb(),
    );
    let told: Vec<_> = registries.iter().map(Registry::refused).collect();
    assert_eq!(refused, 0, "registries were provoked to refuse: {told:?}");
    assert_eq!(gaps.len(), tags, "every tag was checked");
    assert!(latest <= INTERVAL, "a tag was not checked for {latest} ms");
    assert!(heads as i64 <= expected * 130 / 100, "{heads} HEADs are too many for {expected} intervals");
    for (at, number) in changed.into_iter().filter(|(at, _)| *at < now() - INTERVAL) {
        let tag = site.tag(&format!("team-{}", number % PROJECTS), &format!("stream-{}:t{number}", number / 50)).await;
        let moved = tag.moved_at.unwrap_or(0);
        assert!(moved >= at, "what changed at {at} was not taken over: t{number} moved at {moved}");
    }
    TIME.set(None);
}

fn name_of(number: usize) -> String {
    format!("org/app-{}:{number}", number / 50)
}

/// What this process has used of processors.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // 100 ticks a second on Linux.
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
