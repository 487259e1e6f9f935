//! From a manifest and its configuration to the image the store keeps. Pushes and imports both come through here.

use std::collections::BTreeMap;

use super::manifest::{Descriptor, Kind, Manifest, ManifestError};
use crate::model::{ImageChild, ImageLayer, NewImage};

impl Manifest {
    /// The image the store keeps. `config` are the bytes of its configuration; what in them is not JSON, or cannot be kept, is left out.
    pub fn to_image(&self, config: Option<&[u8]>) -> Result<NewImage, ManifestError> {
        let manifest = str::from_utf8(&self.bytes).map_err(|error| ManifestError::Invalid(error.to_string()))?;
        let config = config.and_then(|bytes| str::from_utf8(bytes).ok());
        let claims = config.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(serde_json::Value::Null);
        // PostgreSQL keeps no NUL.
        let can_be_kept = |text: &&str| !text.is_empty() && !text.contains('\0');
        let claim = |name: &str| claims[name].as_str().filter(can_be_kept).map(str::to_owned);
        let (config_digest, layers) = match &self.kind {
            Kind::Image { config, layers } => (Some(config.digest.to_string()), layers.iter().map(layer).collect()),
            Kind::Index { .. } => (None, Vec::new()),
        };
        Ok(NewImage {
            digest: self.digest.to_string(),
            media_type: self.media_type.clone(),
            artifact_type: self.effective_artifact_type().map(str::to_owned),
            manifest: manifest.to_owned(),
            config_digest,
            config: config.filter(|_| !claims.is_null()).map(str::to_owned),
            subject: self.subject.as_ref().map(|subject| subject.digest.to_string()),
            architecture: claim("architecture"),
            os: claim("os"),
            variant: claim("variant"),
            created: claim("created"),
            annotations: serde_json::to_string(&self.annotations)
                .map_err(|error| ManifestError::Invalid(error.to_string()))?,
            layers,
            children: self.children().iter().map(child).collect(),
            left_out: Vec::new(),
            size: self.size(),
        })
    }

    /// Bytes of the distinct blobs; of the listed manifests for an index.
    fn size(&self) -> i64 {
        let parts: BTreeMap<_, _> = self.blobs().chain(self.children()).map(|part| (&part.digest, part.size)).collect();
        i64::try_from(parts.into_values().fold(0, u64::saturating_add)).unwrap_or(i64::MAX)
    }
}

fn layer(layer: &Descriptor) -> ImageLayer {
    ImageLayer { layer_digest: layer.digest.to_string(), size: size(layer), media_type: layer.media_type.clone() }
}

fn child(child: &Descriptor) -> ImageChild {
    let platform = child.platform.as_ref();
    let known = |text: &String| !text.is_empty();
    ImageChild {
        child_digest: child.digest.to_string(),
        media_type: child.media_type.clone(),
        size: size(child),
        architecture: platform.map(|platform| platform.architecture.clone()).filter(known),
        os: platform.map(|platform| platform.os.clone()).filter(known),
        variant: platform.and_then(|platform| platform.variant.clone()),
    }
}

fn size(descriptor: &Descriptor) -> i64 {
    i64::try_from(descriptor.size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_counts_a_layer_once_and_reads_its_configuration() {
        let digest = |c: &str| format!("sha256:{}", c.repeat(64));
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest("c"), "size": 10},
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest("1"), "size": 100},
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest("1"), "size": 100},
            ],
            "annotations": {"a": "b"},
        });
        let manifest = Manifest::parse(None, manifest.to_string().into()).unwrap();
        let config = br#"{"architecture":"arm64","os":"linux","created":"1970-01-01T00:00:00Z"}"#;
        let image = manifest.to_image(Some(config)).unwrap();
        assert_eq!((image.size, image.layers.len()), (110, 2));
        assert_eq!((image.architecture.as_deref(), image.os.as_deref()), (Some("arm64"), Some("linux")));
        assert_eq!(image.annotations, r#"{"a":"b"}"#);
        assert_eq!(manifest.to_image(Some(b"\xff")).unwrap().config, None);
    }
}
