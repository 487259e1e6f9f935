//! Two images of a stream as they are to be compared: of indexes, the manifests for one platform.

use super::compare::Side;
use super::views::Views;
use crate::model::{Image, ImageConfig, ImageLayer, USUAL_PLATFORM};
use crate::server::store::{self, Store};

/// Two images, and how they were chosen.
pub struct Pair {
    pub from: Side,
    pub to: Side,
    /// The platform, when one of them is for several.
    pub platform: Option<String>,
    /// Platforms that both are for.
    pub platforms: Vec<String>,
    /// Platforms that only one of them is for.
    pub only_from: Vec<String>,
    pub only_to: Vec<String>,
}

/// Why two images cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Unpaired {
    #[error("the image {0} is not stored here any more: only its digest is known")]
    Gone(String),
    #[error("the images have no platform in common: one is for {from}, the other for {to}")]
    NoPlatform { from: String, to: String },
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a manifest or an index offers.
struct Offer {
    image: Image,
    /// Platforms with the digest for each; empty for a manifest.
    platforms: Vec<(String, String)>,
    /// Digests of those that the repository left in another registry.
    left_out: Vec<String>,
}

impl Offer {
    /// Whether what there is for a platform is not here.
    fn lacks(&self, platform: &str) -> bool {
        self.platforms.iter().any(|(name, digest)| name == platform && self.left_out.contains(digest))
    }
}

/// Reads two images of a stream for a comparison, by their digests. Of what is for several platforms, `platform` is taken if both have it.
pub(super) async fn load_pair(
    views: &Views,
    store: &Store,
    stream_id: &str,
    (from, to): (&str, &str),
    platform: Option<&str>,
) -> Result<Pair, Unpaired> {
    let (from, to) = (offer(store, stream_id, from).await?, offer(store, stream_id, to).await?);
    let names = |offer: &Offer| offer.platforms.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let own = |offer: &Offer| match names(offer) {
        names if names.is_empty() => offer.image.platform().into_iter().collect(),
        names => names,
    };
    let (of_from, of_to) = (own(&from), own(&to));
    let common = || of_from.iter().filter(|name| of_to.contains(name));
    let mut platforms: Vec<String> = common().filter(|name| !from.lacks(name) && !to.lacks(name)).cloned().collect();
    if platforms.is_empty() {
        // Then it is told which image is not here.
        platforms = common().cloned().collect();
    }
    let several = !from.platforms.is_empty() || !to.platforms.is_empty();
    let chosen =
        [platform, Some(USUAL_PLATFORM)].into_iter().flatten().find(|name| platforms.iter().any(|it| it == name));
    let chosen = chosen.map(str::to_owned).or_else(|| platforms.first().cloned()).filter(|_| several);
    if several && chosen.is_none() {
        let words = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Unpaired::NoPlatform { from: words(&of_from), to: words(&of_to) });
    }
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| several && !those.contains(name)).cloned().collect::<Vec<_>>()
    };
    Ok(Pair {
        only_from: only(&of_from, &of_to),
        only_to: only(&of_to, &of_from),
        from: side(views, store, stream_id, from, chosen.as_deref()).await?,
        to: side(views, store, stream_id, to, chosen.as_deref()).await?,
        platform: chosen,
        platforms,
    })
}

async fn offer(store: &Store, stream_id: &str, digest: &str) -> Result<Offer, Unpaired> {
    let image = store.find_image(digest).await?.ok_or_else(|| Unpaired::Gone(digest.to_owned()))?;
    let children = store.list_children(digest).await?;
    let platforms = children.into_iter().filter_map(|child| Some((child.platform()?, child.child_digest)));
    let left_out = store.list_left_out(stream_id, digest).await?;
    Ok(Offer { image, platforms: platforms.collect(), left_out })
}

async fn side(
    views: &Views,
    store: &Store,
    stream_id: &str,
    offer: Offer,
    platform: Option<&str>,
) -> Result<Side, Unpaired> {
    let child = offer.platforms.into_iter().find(|(name, _)| Some(name.as_str()) == platform);
    let image = match child {
        Some((_, digest)) => {
            // An index may name what its repository does not have: that stays whose it is.
            let is_served = store.find_manifest_by_digest(stream_id, &digest).await?.is_some();
            let image = store.find_image(&digest).await?.filter(|_| is_served);
            image.ok_or(Unpaired::Gone(digest))?
        }
        None => offer.image,
    };
    let config: ImageConfig =
        image.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let layers: Vec<ImageLayer> = store.list_layers(&image.digest).await?;
    let (key, packages) = views.packages_by_key(store, stream_id, &image.digest).await?;
    Ok(Side { image, config, layers, packages, key })
}
