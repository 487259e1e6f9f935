//! Media types as SQL has them. Statements are static texts, so these are too; a test holds them against `oci-spec`.

/// Manifests and indexes. What else an index lists is a blob.
macro_rules! manifest_types {
    () => {
        "'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json', \
         'application/vnd.docker.distribution.manifest.v2+json', 'application/vnd.docker.distribution.manifest.list.v2+json'"
    };
}

/// Layers that are file systems. Others are charts, signatures, or encrypted.
macro_rules! file_system_layer_types {
    () => {
        "'application/vnd.oci.image.layer.v1.tar', 'application/vnd.oci.image.layer.v1.tar+gzip', \
         'application/vnd.oci.image.layer.v1.tar+zstd', 'application/vnd.oci.image.layer.nondistributable.v1.tar', \
         'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', \
         'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'application/vnd.docker.image.rootfs.diff.tar', \
         'application/vnd.docker.image.rootfs.diff.tar.gzip', 'application/vnd.docker.image.rootfs.diff.tar.zstd', \
         'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'"
    };
}

pub(super) use {file_system_layer_types, manifest_types};

#[cfg(test)]
mod tests {
    use oci_spec::image::MediaType;

    fn listed(list: &str) -> Vec<&str> {
        list.split(',').map(|quoted| quoted.trim().trim_matches('\'')).collect()
    }

    #[test]
    fn the_specifications_types_are_listed() {
        let manifests = listed(manifest_types!());
        assert_eq!(manifests[..2], [MediaType::ImageManifest, MediaType::ImageIndex].map(|it| it.to_string()));
        let layers = listed(file_system_layer_types!());
        let known = [
            MediaType::ImageLayer,
            MediaType::ImageLayerGzip,
            MediaType::ImageLayerZstd,
            MediaType::ImageLayerNonDistributable,
            MediaType::ImageLayerNonDistributableGzip,
            MediaType::ImageLayerNonDistributableZstd,
        ];
        assert_eq!(layers[..6], known.map(|it| it.to_string()));
        let docker = manifests[2..].iter().chain(&layers[6..]);
        assert!(docker.into_iter().all(|it| it.starts_with("application/vnd.docker.")));
    }

    #[test]
    fn manifests_are_what_the_client_takes_for_manifests() {
        for media_type in listed(manifest_types!()) {
            assert!(crate::server::oci::manifest::ACCEPTED.contains(&media_type), "{media_type}");
        }
    }
}
