//! Tags as they were: `GET manifests/<tag>--asof-YYYYMMDDTHHMMZ`.

use super::Registry;
use super::error::{Error, Result};
use crate::model::{PastTag, PastTagError, StoredManifest, Stream};
use crate::server::store::Past;

/// What the tag pointed to when the minute ended. A name that is not well written is nobody's: no tag may have it.
pub(super) async fn find(registry: &Registry, stream: &Stream, reference: &str) -> Result<StoredManifest> {
    let unknown = |why: String| Error::manifest_unknown_because(reference, why);
    let past: PastTag = reference.parse().map_err(|cause: PastTagError| unknown(cause.to_string()))?;
    let name = format!("{}:{}", stream.repository(), past.tag);
    let why = match registry.store.manifest_at(&stream.id, &past).await? {
        Past::Manifest(manifest) => return Ok(manifest),
        Past::Future => format!("that minute is not over: {name} as it is now is pulled by its own name"),
        Past::Nothing => format!("{name} had no image then"),
        Past::Deleted => format!("{name} was deleted then"),
        Past::Gone(digest) => format!("{name} pointed to {digest} then, which this repository does not have any more"),
    };
    Err(unknown(why))
}
