//! A repository with very many tags: laid out behind both servers' backs, as pushing them would take an hour, and listed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use sqlx::AnyPool;
use weir::server::hash::sha256;

use super::load::{Until, alternate, at_once};
use super::servers::{PROJECT, Server};
use super::table::{self, Row};

const COUNT: usize = 100_000;
/// The repository's second half.
pub const STREAM: &str = "tags";

/// The tags as Weir's rows.
pub async fn insert(url: &str, stream_id: &str) -> anyhow::Result<()> {
    let pool = AnyPool::connect(url).await?;
    sqlx::query(
        "with recursive n (i) as (select 0 union all select i + 1 from n where i + 1 < $1) \
         insert into tags (id, stream_id, name, digest, event_number, moved_at, created_at) \
         select 'tag-' || i, $2, 'v' || substr('000000' || i, -6), $3, 1, 0, 0 from n",
    )
    .bind(i64::try_from(COUNT)?)
    .bind(stream_id)
    .bind(sha256(b"").as_str())
    .execute(&pool)
    .await?;
    pool.close().await;
    Ok(())
}

/// The tags as distribution's directories, of which it lists no more than the names: what else a tag has would take minutes to make.
pub fn make_directories(store: &Path) -> anyhow::Result<()> {
    let tags = store.join("docker/registry/v2/repositories").join(PROJECT).join(STREAM).join("_manifests/tags");
    std::fs::create_dir_all(&tags)?;
    for number in 0..COUNT {
        std::fs::create_dir(tags.join(format!("v{number:06}")))?;
    }
    Ok(())
}

pub async fn measure(servers: &[&Server; 2]) -> anyhow::Result<()> {
    table::heading(&format!("Tags of a repository that has {COUNT}, 4 clients"));
    let repository = format!("{PROJECT}/{STREAM}");
    let path = &format!("/v2/{repository}/tags/list");
    for (what, is_all) in [("first 100 (?n=100)", false), ("all, following Link", true)] {
        let runs = alternate(servers, 2, async |server, _| {
            at_once(server, &repository, 4, Until::Done(if is_all { 1 } else { 5 }), async |connection, _, _| {
                let (mut next, mut tags, mut bytes) =
                    (Some(if is_all { path.clone() } else { format!("{path}?n=100") }), 0, 0);
                while let Some(path) = next.take() {
                    let (page, more) = connection.page(&path, None).await?;
                    bytes += page.len() as u64;
                    let page: serde_json::Value = serde_json::from_slice(&page)?;
                    tags += page["tags"].as_array().context("no list of tags")?.len();
                    next = more.filter(|_| is_all);
                }
                ensure!(tags == COUNT || !is_all && tags >= 100, "{} listed {tags} tags", server.name);
                Ok(bytes)
            })
            .await
        });
        Row::rate(what, runs.await?, None).print();
    }
    Ok(())
}
