//! A manifest as the store keeps it: what pushes and imports have in common.

use std::collections::BTreeMap;

use super::manifest::{Descriptor, Manifest};
use crate::model::{ImageChild, ImageConfig, ImageLayer, NewImage};

impl Manifest {
    /// The store's record of this manifest. `config` is the text of the image configuration, of an image that has one;
    /// what does not read as one counts as none.
    pub fn record(&self, config: Option<&str>) -> NewImage {
        let read = config.and_then(|text| serde_json::from_str::<ImageConfig>(text).ok());
        let config = config.filter(|_| read.is_some()).map(str::to_owned);
        let read = read.unwrap_or_default();
        let mut blobs = self.blobs();
        let config_digest = blobs.next().map(|config| config.digest.to_string());
        NewImage {
            digest: self.digest.to_string(),
            media_type: self.media_type.clone(),
            artifact_type: self.artifact_type.clone(),
            manifest: String::from_utf8_lossy(&self.bytes).into_owned(),
            config_digest,
            config,
            subject: self.subject.as_ref().map(|subject| subject.digest.to_string()),
            architecture: some(read.architecture),
            os: some(read.os),
            variant: read.variant,
            created: read.created,
            annotations: serde_json::to_string(&self.annotations).unwrap_or_default(),
            layers: blobs.map(layer).collect(),
            children: self.children().iter().map(child).collect(),
            size: self.distinct_size(),
        }
    }

    /// The bytes of config and layers, each counted once.
    fn distinct_size(&self) -> i64 {
        let sizes: BTreeMap<_, _> = self.blobs().map(|blob| (&blob.digest, size(blob))).collect();
        sizes.values().fold(0_i64, |sum, size| sum.saturating_add(*size))
    }
}

fn layer(layer: &Descriptor) -> ImageLayer {
    ImageLayer { layer_digest: layer.digest.to_string(), size: size(layer), media_type: layer.media_type.clone() }
}

fn child(child: &Descriptor) -> ImageChild {
    let platform = child.platform.clone().unwrap_or_default();
    ImageChild {
        child_digest: child.digest.to_string(),
        media_type: child.media_type.clone(),
        size: size(child),
        architecture: some(platform.architecture),
        os: some(platform.os),
        variant: platform.variant,
    }
}

fn size(descriptor: &Descriptor) -> i64 {
    i64::try_from(descriptor.size).unwrap_or(i64::MAX)
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_repeat_count_once() {
        let (config, layer) = ("a".repeat(64), "b".repeat(64));
        let layer = format!(r#"{{"mediaType":"x","digest":"sha256:{layer}","size":9}}"#);
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"y","digest":"sha256:{config}","size":7}},"layers":[{layer},{layer}],
            "annotations":{{"k":"v"}}}}"#
        );
        let manifest = Manifest::parse(None, text.clone().into()).expect("a manifest");
        let record = manifest.record(Some(r#"{"architecture":"arm64","os":"linux","created":"2024-01-01T00:00:00Z"}"#));
        assert_eq!((record.size, record.layers.len()), (16, 2));
        assert_eq!((record.architecture.as_deref(), record.variant), (Some("arm64"), None));
        assert_eq!((record.manifest, record.annotations.as_str()), (text, r#"{"k":"v"}"#));
        assert!(manifest.record(Some("not JSON")).config.is_none());
    }
}
