//! What images hold and how they differ, as it is shown: worked out on threads of their own, a few at a time, as the readings of one image
//! may be 64 MiB of JSON, and kept for whoever looks next.
//!
//! An image never changes, but what was read of its layers does, and which of them a stream has. So results are kept by all of that.

use std::panic::resume_unwind;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::compare::{Compared, compare};
use super::pair::{Pair, Unpaired, load_pair};
use super::stack::image_packages;
use crate::model::ImagePackages;
use crate::server::store::{self, Store};

/// Views worked out side by side: pulls and pushes need the processors, too.
const AT_ONCE: usize = 2;
/// What is kept, about, in bytes. What is larger by itself is not kept.
const IMAGES_BYTES: u64 = 12 * 1024 * 1024;
const PAIRS_BYTES: u64 = 4 * 1024 * 1024;
/// What an entry takes besides its texts.
const AROUND: usize = 128;

/// An image's digest, and the state of what was read of its layers.
pub(super) type ImageKey = (String, String);

/// The views of one server. Clones share what is kept.
#[derive(Clone)]
pub struct Views(Arc<Shared>);

struct Shared {
    places: Arc<Semaphore>,
    images: Kept<ImageKey, ImagePackages>,
    pairs: Kept<(ImageKey, ImageKey), Compared>,
}

type Kept<K, V> = Cache<K, Arc<V>, Weight>;

impl Default for Views {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self(Arc::new(Shared { places, images: kept(IMAGES_BYTES), pairs: kept(PAIRS_BYTES) }))
    }
}

fn kept<K: Eq + std::hash::Hash, V>(bytes: u64) -> Kept<K, V>
where
    Weight: Weighter<K, Arc<V>>,
{
    // In one piece: each of several would keep only what fits into its part.
    let options = OptionsBuilder::new().estimated_items_capacity(256).weight_capacity(bytes).shards(1).build();
    // It can only fail without the two capacities.
    let options = options.unwrap_or_else(|_| unreachable!("both capacities are given"));
    Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

impl Views {
    /// The packages of an image, as far as the stream has what was read of its layers.
    pub async fn packages(
        &self,
        store: &Store,
        stream_id: &str,
        digest: &str,
    ) -> Result<Arc<ImagePackages>, store::Error> {
        Ok(self.packages_by_key(store, stream_id, digest).await?.1)
    }

    pub(super) async fn packages_by_key(
        &self,
        store: &Store,
        stream_id: &str,
        digest: &str,
    ) -> Result<(ImageKey, Arc<ImagePackages>), store::Error> {
        let key = (digest.to_owned(), store.state_of_layer_readings(stream_id, digest).await?);
        let packages = self.0.images.get_or_insert_async(&key, async {
            let place = self.0.places.clone().acquire_owned().await.ok();
            let readings = store.list_layer_readings(stream_id, digest).await?;
            Ok::<_, store::Error>(Arc::new(apart(place, move || image_packages(&readings)).await))
        });
        let packages = packages.await?;
        Ok((key, packages))
    }

    /// Two images of a stream by their digests, and how the second differs from the first. Of what is for several platforms, `platform` is
    /// taken if both have it.
    pub async fn compare(
        &self,
        store: &Store,
        stream_id: &str,
        digests: (&str, &str),
        platform: Option<&str>,
    ) -> Result<(Arc<Pair>, Arc<Compared>), Unpaired> {
        let pair = Arc::new(load_pair(self, store, stream_id, digests, platform).await?);
        let key = (pair.from.key.clone(), pair.to.key.clone());
        let compared = self.0.pairs.get_or_insert_async(&key, async {
            let place = self.0.places.clone().acquire_owned().await.ok();
            let both = Arc::clone(&pair);
            Ok::<_, Unpaired>(Arc::new(apart(place, move || compare(&both.from, &both.to)).await))
        });
        let compared = compared.await?;
        Ok((pair, compared))
    }
}

/// Does `work` on a thread that may take its time. It keeps its place to its end, also when nobody waits for it any more.
async fn apart<P: Send + 'static, T: Send + 'static>(place: P, work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match done.await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The server stops.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Bytes, about.
#[derive(Clone)]
struct Weight;

impl Weighter<ImageKey, Arc<ImagePackages>> for Weight {
    fn weight(&self, _: &ImageKey, it: &Arc<ImagePackages>) -> u64 {
        let more = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let packages = it.packages.iter().map(|it| {
            let package = &it.package;
            let texts =
                package.name.len() + package.version.len() + more(&package.architecture) + more(&package.source);
            2 * AROUND + texts + it.path.len() + it.layer_digest.len()
        });
        bytes(packages.chain(it.problems.iter().map(String::len)))
    }
}

impl Weighter<(ImageKey, ImageKey), Arc<Compared>> for Weight {
    fn weight(&self, _: &(ImageKey, ImageKey), it: &Arc<Compared>) -> u64 {
        let more = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let packages = it.packages.iter().map(|it| AROUND + it.name.len() + more(&it.from) + more(&it.to));
        let settings = it.settings.iter().map(|it| AROUND + it.name.len() + more(&it.from) + more(&it.to));
        let layers = it.layers.iter().map(|it| AROUND + it.layer.layer_digest.len() + it.layer.media_type.len());
        bytes(packages.chain(settings).chain(layers).chain(it.unknown.iter().map(String::len)))
    }
}

fn bytes(parts: impl Iterator<Item = usize>) -> u64 {
    u64::try_from(4 * AROUND + parts.sum::<usize>()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
