//! Signatures: GPG's beside the registry, and cosign's in it. Debian 12 builds skopeo without cosign's format ("sigstore disabled"),
//! so those are pushed as cosign does it.

use std::path::Path;

use bytes::Bytes;
use serde_json::json;
use weir::server::hash::sha256;

use super::{both_ends, door_and_home, push_real_image, run, second_project, succeeds, words};
use crate::registry::door::header;
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

/// Makes a key in a home; gives its fingerprint. The agent that gpg starts ends with [`Agent`].
async fn make_key(home: &Path) -> String {
    // No splitting of words gives an empty passphrase.
    let mut make = vec!["--batch".to_owned(), "--quiet".to_owned(), "--passphrase".to_owned(), String::new()];
    make.extend(words("--quick-gen-key tester@example.com rsa2048 sign never"));
    succeeds("gpg", make, home).await;
    let listed = succeeds("gpg", words("--list-keys --with-colons"), home).await;
    let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
    line.split(':').nth(9).expect("a fingerprint").to_owned()
}

/// gpg's agent below a home.
struct Agent<'a>(&'a Path);

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("gpgconf").args(["--kill", "all"]).env("HOME", self.0).output();
    }
}

/// What is signed stays signed: the manifest comes back byte for byte.
#[tokio::test]
async fn of_gpg() {
    let (door, home) = door_and_home().await;
    let (home, address) = (home.path(), door.address.clone());
    let _agent = Agent(home);
    push_real_image(&door, home).await;
    let fingerprint = make_key(home).await;
    let key = home.join("public.gpg");
    succeeds("gpg", words(&format!("--batch --output {} --export", key.display())), home).await;
    let (lookaside, settings) = (home.join("signatures"), home.join("registries.d"));
    for directory in [&lookaside, &settings] {
        std::fs::create_dir(directory).expect("a directory");
    }
    let place = format!("file://{}", lookaside.display());
    let where_to = format!("docker:\n  {address}:\n    lookaside: {place}\n    lookaside-staging: {place}\n");
    std::fs::write(settings.join("weir.yaml"), where_to).expect("written");
    let trusted = json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key, "signedIdentity": {"type": "matchRepository"}}]);
    let policy = json!({"default": [{"type": "reject"}], "transports": {"docker": {address.clone(): trusted}}});
    std::fs::write(home.join("policy.json"), policy.to_string()).expect("written");

    let settings = format!("--registries.d {}", settings.display());
    let sign = format!(
        "{settings} copy {} --sign-by {fingerprint} docker://{address}/demo/real:1 docker://{address}/demo/signed:1",
        both_ends(&door)
    );
    succeeds("skopeo", words(&sign), home).await;
    let trusting = |image: &str| {
        let (policy, to) = (home.join("policy.json"), home.join(image.replace(':', "-")));
        words(&format!(
            "--policy {} {settings} copy --src-tls-verify=false --src-creds x:{} docker://{address}/demo/{image} dir:{}",
            policy.display(),
            door.token,
            to.display()
        ))
    };
    succeeds("skopeo", trusting("signed:1"), home).await;
    let unsigned = run("skopeo", trusting("real:1"), home).await;
    let said = String::from_utf8_lossy(&unsigned.stderr).into_owned();
    assert!(!unsigned.status.success() && said.contains("signature"), "{said}");
}

/// cosign tags a signature by the digest of what it signs, `sha256-<hex>.sig`, and asks for that tag; newer ones ask for referrers.
#[tokio::test]
async fn of_cosign() {
    let (door, home) = door_and_home().await;
    let address = door.address.clone();
    second_project(&door).await;
    let image = TestImage::new("signed");
    door.push("demo/app", "1", &image).await;
    let digest = image.digest();
    let name = format!("{}.sig", digest.as_str().replace(':', "-"));
    assert_eq!(door.get(&format!("demo/app/manifests/{name}")).await.status(), 404, "not signed yet");

    let payload =
        json!({"critical": {"image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"}});
    let payload = Bytes::from(payload.to_string());
    let config = json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [sha256(&payload)]}});
    let config = Bytes::from(config.to_string());
    let layer = json!({
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": sha256(&payload), "size": payload.len(),
        "annotations": {"dev.cosignproject.cosign/signature": "MEUCIQ=="},
    });
    let about = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(&config), "size": config.len()});
    let signature = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": about, "layers": [layer]});
    let signature = Bytes::from(signature.to_string());
    for blob in [&payload, &config] {
        door.put_blob("demo/app", blob).await;
    }
    assert_eq!(door.put_manifest("demo/app", &name, OCI_MANIFEST, &signature).await.status(), 201);

    // Copies take both tags along; what is signed is the digest, which stays.
    for tag in ["1", &name] {
        let copy = format!(
            "copy --preserve-digests {} docker://{address}/demo/app:{tag} docker://{address}/copies/app:{tag}",
            both_ends(&door)
        );
        succeeds("skopeo", words(&copy), home.path()).await;
    }
    let copied = door.get("copies/app/manifests/1").await;
    assert_eq!(header(&copied, "docker-content-digest"), digest.as_str());
    let copied = door.get(&format!("copies/app/manifests/{name}")).await;
    assert_eq!(copied.bytes().await.expect("the signature"), signature, "byte for byte");
}
