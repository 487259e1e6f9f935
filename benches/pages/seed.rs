//! What the pages show: projects alike but for their size. Everything comes in by the store's own verbs.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use weir::model::{Actor, BuildConfigSpec, EventKind, NewImage, Source, SourceKind, Stream};
use weir::server::builder::dockerfile;
use weir::server::hash::sha256;
use weir::server::oci::Manifest;
use weir::server::store::{ConfigFields, Store, TagMove, TagSpec};
use weir::server::wake::Wake;

/// How much there is of everything.
#[derive(Clone, Copy)]
pub struct Size {
    pub project: &'static str,
    /// Streams of the project.
    pub streams: usize,
    /// Tags of one stream.
    pub tags: usize,
    /// Moves of one tag.
    pub moves: usize,
}

/// The same page should cost the same in each.
pub const SIZES: [Size; 3] = [
    Size { project: "small", streams: 100, tags: 100, moves: 1_000 },
    Size { project: "middle", streams: 1_000, tags: 1_000, moves: 10_000 },
    Size { project: "large", streams: 10_000, tags: 10_000, moves: 100_000 },
];

/// Builds on one stream of each project, for the graph to draw.
const BUILDS: usize = 100;

/// Every so many streams have a tag that follows one which has no image yet.
const FOLLOWING: usize = 10;
/// Every so many streams have a tag that is held.
const HELD: usize = 25;

/// Where files are not written to a disk, so that a transaction for each of so many rows takes no time.
const MEMORY: &str = "/dev/shm";

/// Fills a new data directory.
pub async fn lay_out(data: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let memory = if Path::new(MEMORY).is_dir() { tempfile::tempdir_in(MEMORY)? } else { tempfile::tempdir()? };
    let store = open(memory.path()).await?;
    for size in SIZES {
        fill(&store, size).await?;
    }
    store.close().await;
    std::fs::create_dir_all(data)?;
    for file in ["weir.db", "weir.db-wal", "key"] {
        let from = memory.path().join(file);
        if from.exists() {
            std::fs::copy(from, data.join(file)).with_context(|| format!("copying {file}"))?;
        }
    }
    let pushes: usize = SIZES.iter().map(|size| size.streams + size.tags + size.moves).sum();
    println!("Laid out by {pushes} pushes in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn open(directory: &Path) -> anyhow::Result<Store> {
    let url = format!("sqlite://{}", directory.join("weir.db").display());
    Ok(Store::open(&url, &directory.join("key"), Wake::default()).await?)
}

async fn fill(store: &Store, size: Size) -> anyhow::Result<()> {
    let actor = Actor::person("admin");
    store.create_project(&size.project.parse()?, "", "", None, &actor).await?;
    for number in 0..size.streams {
        let stream = store.ensure_stream(size.project, &format!("stream-{number:04}").parse()?, &actor).await?;
        push(store, &stream, "latest", &image(number)?).await?;
        if number % FOLLOWING == 0 {
            let source = Some((SourceKind::ImageStreamTag, "later".to_owned()));
            let spec = TagSpec { source, ..TagSpec::default() };
            store.set_tag(size.project, &stream.name.parse()?, &"followed".parse()?, &spec, None, &actor).await?;
        }
        if number % HELD == 0 {
            let name = format!("stream-{number:04}");
            store.hold_tag(size.project, &name, "latest", Some("kept back"), &actor).await?;
        }
    }
    for number in 0..BUILDS {
        let name = format!("app-{number:03}");
        let config = config(size.project, &name, "stream-0000")?;
        store.create_config(size.project, &name.parse()?, &config, &actor).await?;
    }
    let many = store.ensure_stream(size.project, &"many".parse()?, &actor).await?;
    for number in 0..size.tags {
        push(store, &many, &format!("v{number:05}"), &image(number)?).await?;
    }
    let moved = store.ensure_stream(size.project, &"moved".parse()?, &actor).await?;
    for number in 0..size.moves {
        push(store, &moved, "latest", &image(number)?).await?;
    }
    Ok(())
}

async fn push(store: &Store, stream: &Stream, tag: &str, image: &NewImage) -> anyhow::Result<()> {
    let tag = tag.parse()?;
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    if let (Some(digest), Some(config)) = (&image.config_digest, &image.config) {
        store.link_blob(&stream.id, digest, i64::try_from(config.len())?, None).await?;
    }
    store.put_manifest(stream, image, Some(to), &Actor::person("admin")).await?;
    Ok(())
}

/// The image of that number, as a push records it.
pub fn image(number: usize) -> anyhow::Result<NewImage> {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{{"Env":["N={number}"]}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    );
    let digest = sha256(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    Ok(Manifest::parse(None, Bytes::from(manifest))?.to_image(Some(config.as_bytes()))?)
}

/// How long the push of a base takes to become a request for each of its dependents, in the store alone.
pub async fn dependents(store: &Store) -> anyhow::Result<()> {
    println!("\nPush of a base → builds of all that is built on it are requested\n");
    for (count, target) in [(2, 2.0), (200, 5.0)] {
        let project = format!("fan-{count}");
        let actor = Actor::person("admin");
        store.create_project(&project.parse()?, "", "", None, &actor).await?;
        let base = store.ensure_stream(&project, &"base".parse()?, &actor).await?;
        push(store, &base, "latest", &image(0)?).await?;
        for number in 0..count {
            let name = format!("app-{number:03}");
            store.create_config(&project, &name.parse()?, &config(&project, &name, "base")?, &actor).await?;
        }
        // Each is new and builds; those of before are not what is measured.
        store.request_ready_builds().await?;
        while let Some(build) = store.claim_build("bench", 60_000).await? {
            let end = weir::server::store::BuildEnd {
                phase: weir::model::BuildPhase::Complete,
                reason: None,
                message: None,
                digest: None,
            };
            store.finish_build(&build, &end).await?;
        }
        let began = Instant::now();
        push(store, &base, "latest", &image(1)?).await?;
        let requested = store.request_ready_builds().await?.len();
        let took = began.elapsed().as_secs_f64();
        anyhow::ensure!(requested == count, "{requested} of {count} builds were requested");
        let verdict = if took <= target { "" } else { "OVER" };
        println!(
            "{count:>4} dependents: {:>8.1} ms (target: {target} s until they are queued)  {verdict}",
            took * 1000.0
        );
    }
    Ok(())
}

/// A build of a stream's image into the stream of its own name.
fn config(project: &str, name: &str, base: &str) -> anyhow::Result<ConfigFields> {
    let source = Source { dockerfile: Some(format!("FROM {base}:latest\n")), ..Source::default() };
    let spec = BuildConfigSpec::new(source, name.parse()?, "latest".parse()?);
    let inputs = dockerfile::known_inputs(&spec, project, &[])?;
    Ok(ConfigFields::new(spec, inputs))
}
