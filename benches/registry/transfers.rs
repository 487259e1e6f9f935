//! Pulls and pushes: manifests, blobs of two sizes, and many clients that push at once.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hyper::Method;

use super::content::{Blob, Family, Image};
use super::load::{Run, Until, alternate, at_once};
use super::servers::{PROJECT, Server};
use super::table::{self, Row};
use super::wire::Connection;

const ROUNDS: usize = 3;
const EACH: Duration = Duration::from_millis(1500);
const MEGABYTE: usize = 1_000_000;

/// The two sizes of blobs, with how many clients move them at once and how many each of them pushes in a round.
const SIZES: [(usize, usize, usize); 2] = [(MEGABYTE, 16, 8), (100 * MEGABYTE, 2, 2)];
const MANIFEST_CLIENTS: usize = 32;
const PUSHING_CLIENTS: usize = 200;
const IMAGES_EACH: usize = 2;

/// `GET` and `HEAD` of one image's manifest.
pub async fn manifests(servers: &[&Server; 2]) -> anyhow::Result<()> {
    table::heading(&format!("Manifests, {MANIFEST_CLIENTS} clients, each with one request under way all the time"));
    let repository = &format!("{PROJECT}/app");
    let layers = Family::new(1000);
    let image = Image::new((0..5).map(|_| layers.blob()).collect());
    for server in servers {
        image.push(&mut Connection::open(server, repository).await?, repository, "latest").await?;
    }
    let digest = image.digest().to_string();
    for (method, size) in [(Method::GET, image.manifest.len() as u64), (Method::HEAD, 0)] {
        for (how, reference) in [("tag", "latest"), ("digest", digest.as_str())] {
            let path = &format!("/v2/{repository}/manifests/{reference}");
            let method = &method;
            let runs = alternate(servers, ROUNDS, async |server, _| {
                at_once(server, repository, MANIFEST_CLIENTS, Until::Elapsed(EACH), async |connection, _, _| {
                    let read = connection.read(method.clone(), path).await?;
                    ensure!(read == size, "{path} has {read} bytes, not {size}");
                    Ok(read)
                })
                .await
            });
            Row::rate(format!("{method} by {how}"), runs.await?, Some(5.0)).print();
        }
    }
    Ok(())
}

/// Downloads.
pub async fn downloads(servers: &[&Server; 2]) -> anyhow::Result<()> {
    table::heading("Blobs down");
    let repository = &format!("{PROJECT}/down");
    for (size, clients, _) in SIZES {
        let blob = Family::new(size).blob();
        for server in servers {
            blob.upload(&mut Connection::open(server, repository).await?, repository).await?;
        }
        let path = &format!("/v2/{repository}/blobs/{}", blob.digest);
        let runs = alternate(servers, ROUNDS, async |server, _| {
            at_once(server, repository, clients, Until::Elapsed(EACH), async |connection, _, _| {
                let read = connection.read(Method::GET, path).await?;
                ensure!(read == blob.size(), "{path} has {read} bytes");
                Ok(read)
            })
            .await
        });
        Row::throughput(format!("{} MB, {clients} clients", size / MEGABYTE), runs.await?, Some(1.2)).print();
    }
    Ok(())
}

/// Uploads of blobs that no server has seen.
pub async fn uploads(servers: &[&Server; 2]) -> anyhow::Result<()> {
    table::heading("Blobs up (POST, PATCH, PUT), each synced to disk before it is acknowledged");
    let repository = &format!("{PROJECT}/up");
    for (size, clients, each) in SIZES {
        let family = Family::new(size);
        let runs = alternate(servers, ROUNDS, async |server, _| {
            let blobs: Vec<Blob> = (0..clients * each).map(|_| family.blob()).collect();
            at_once(server, repository, clients, Until::Done(each), async |connection, client, number| {
                blobs[client * each + number].upload(connection, repository).await
            })
            .await
        });
        Row::throughput(format!("{} MB, {clients} clients", size / MEGABYTE), runs.await?, Some(1.2)).print();
    }
    Ok(())
}

/// Many clients with small images for one repository.
pub async fn small_images(servers: &[&Server; 2]) -> anyhow::Result<()> {
    table::heading(&format!("{PUSHING_CLIENTS} clients push {IMAGES_EACH} small images each to one repository"));
    let repository = &format!("{PROJECT}/small");
    let layers = Family::new(4096);
    let times = RefCell::new([Vec::new(), Vec::new()]);
    let runs: [Run; 2] = alternate(servers, 1, async |server, _| {
        let images: Vec<Image> = (0..PUSHING_CLIENTS * IMAGES_EACH).map(|_| Image::new(vec![layers.blob()])).collect();
        let own = usize::from(server.name != servers[0].name);
        at_once(server, repository, PUSHING_CLIENTS, Until::Done(IMAGES_EACH), async |connection, client, number| {
            let (image, tag) = (&images[client * IMAGES_EACH + number], format!("client-{client}-{number}"));
            let began = Instant::now();
            let bytes = image.push(connection, repository, &tag).await?;
            times.borrow_mut()[own].push(began.elapsed());
            Ok(bytes)
        })
        .await
    })
    .await?;
    Row::rate("images", runs, None).print();
    let p95 = times.into_inner().map(|mut times| {
        times.sort_unstable();
        times.get(times.len() * 95 / 100).copied().unwrap_or_default().as_secs_f64()
    });
    Row::less("an image's push, p95", p95, None, |seconds| format!("{:.0} ms", seconds * 1000.0)).print();
    Ok(())
}
