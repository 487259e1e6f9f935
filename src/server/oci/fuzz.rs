//! Manifests, indexes and configurations that nobody honest would make: read or refused without a panic, in time that follows from their
//! length, and what is read is the same when it is read again, and can be kept by both databases.
//!
//! 10^5 random inputs of each kind, and as many bytes of no kind as an eighth of that; `WEIR_MODEL_STEPS` sets another number.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::manifest::MAX_SIZE;
use super::{Kind, Manifest};
use crate::model::{ImageConfig, NewImage, SearchTerms};
use crate::server::fuzzing::{Random, cases};
use crate::server::hash::{chain_ids, sha256};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const HEX: &str = "3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";

/// An image with everything that a manifest may say.
fn manifest() -> Value {
    let part =
        |media_type: &str, size: i64| json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": size});
    json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/vnd.example",
        "config": part(CONFIG, 7), "subject": part(IMAGE, 5), "annotations": {"a": "b"},
        "layers": [part("application/vnd.oci.image.layer.v1.tar+gzip", 9), part("x/y", 9)],
    })
}

fn index() -> Value {
    let platform = json!({"architecture": "arm", "os": "linux", "variant": "v7", "os.version": "10"});
    let part = json!({"mediaType": IMAGE, "digest": format!("sha256:{HEX}"), "size": 3, "platform": platform, "urls": ["http://x/"]});
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [part, part]})
}

fn config() -> Value {
    json!({
        "created": "2024-01-02T03:04:05Z", "author": "a", "architecture": "amd64", "os": "linux", "variant": "v8",
        "config": {"User": "1001", "Env": ["A=b", "PATH=/bin"], "Entrypoint": ["/start"], "Cmd": null, "WorkingDir": "/srv",
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "Labels": {"a": "1"}, "StopSignal": "SIGTERM"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{HEX}")]},
        "history": [{"created_by": "RUN x", "comment": "c"}, {"created_by": "ENV A=b", "empty_layer": true}],
    })
}

/// Any value, mostly small.
fn any_value(random: &mut Random, depth: usize) -> Value {
    let texts = ["", "a", IMAGE, INDEX, CONFIG, "sha256:", "\0", "a\0b", "\u{fffd}\u{10ffff}", "80/tcp", "A=b", "="];
    let numbers = [0, 1, 2, -1, i64::MAX, i64::MIN];
    match random.below(if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.choose(&numbers)),
        3 => json!([u64::MAX as f64, 0.5, 1e300][random.below(3)]),
        4 => json!(u64::MAX - random.below(2) as u64),
        5 => json!(format!("sha256:{HEX}")),
        6 => json!(random.choose(&texts)),
        7 => (0..random.below(4)).map(|_| any_value(random, depth - 1)).collect(),
        _ => {
            let pairs = (0..random.below(4)).map(|_| (any_key(random), any_value(random, depth - 1)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

fn any_key(random: &mut Random) -> String {
    let keys = [
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "digest",
        "size",
        "annotations",
        "platform",
        "subject",
        "artifactType",
        "architecture",
        "os",
        "variant",
        "urls",
        "Env",
        "Labels",
        "ExposedPorts",
        "rootfs",
        "diff_ids",
        "history",
        "created",
        "created_by",
        "empty_layer",
        "x",
        "",
        "\0",
    ];
    (*random.choose(&keys)).to_owned()
}

/// Puts another value in some place of a document, takes one away, or adds one.
fn disturb(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && random.below(5) > 0 => {
            let key = map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
            match random.below(6) {
                0 => _ = map.remove(&key),
                1 => _ = map.insert(any_key(random), any_value(random, 3)),
                _ => disturb(random, &mut map[&key]),
            }
        }
        Value::Array(list) if !list.is_empty() && random.below(5) > 0 => {
            let at = random.below(list.len());
            match random.below(6) {
                0 => list.truncate(at),
                1 => list.push(any_value(random, 3)),
                _ => disturb(random, &mut list[at]),
            }
        }
        other => *other = any_value(random, 3),
    }
}

/// A document that is nearly right: some values are others, or some bytes.
fn nearly(random: &mut Random, document: &Value) -> Vec<u8> {
    let mut document = document.clone();
    for _ in 0..random.below(4) {
        disturb(random, &mut document);
    }
    let mut bytes = document.to_string().into_bytes();
    if random.below(3) == 0 {
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = *random.choose(b"\"{}[]:,0e-\\u\0\xff\x80 n");
        }
        bytes.truncate(random.below(4 * bytes.len()));
    }
    bytes
}

/// PostgreSQL's text holds no NUL.
fn can_be_kept(image: &NewImage) -> bool {
    let children = image.children.iter().flat_map(|child| {
        [Some(&child.media_type), child.architecture.as_ref(), child.os.as_ref(), child.variant.as_ref()]
    });
    let layers = image.layers.iter().map(|layer| Some(&layer.media_type));
    let own = [
        Some(&image.media_type),
        Some(&image.manifest),
        Some(&image.annotations),
        image.artifact_type.as_ref(),
        image.config.as_ref(),
        image.architecture.as_ref(),
        image.os.as_ref(),
        image.variant.as_ref(),
        image.created.as_ref(),
    ];
    !children.chain(layers).chain(own).flatten().any(|text| text.contains('\0'))
}

fn check_manifest(sent_as: Option<&str>, bytes: &Bytes, config: &[u8]) {
    let Ok(manifest) = Manifest::parse(sent_as, bytes.clone()) else { return };
    assert!(manifest.bytes == *bytes && manifest.digest == sha256(bytes));
    assert_eq!(Manifest::parse(Some(&manifest.media_type), bytes.clone()).as_ref(), Ok(&manifest));
    let Ok(image) = manifest.to_image(Some(config)) else { return };
    assert!(image.size >= 0 && can_be_kept(&image), "{image:?}");
    let (parts, listed) = (image.layers.len(), image.children.len());
    match &manifest.kind {
        Kind::Image { layers, .. } => assert!(parts == layers.len() && listed == 0 && image.config_digest.is_some()),
        Kind::Index { manifests } => assert!(parts == 0 && listed == manifests.len() && image.config_digest.is_none()),
    }
}

fn check_config(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) else { return };
    let again: ImageConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    let annotations = String::from_utf8_lossy(bytes);
    let terms = SearchTerms::of_image(&config, &annotations);
    for (_, term) in terms.iter() {
        assert!(!term.is_empty() && !term.contains('\0'), "{term:?}");
    }
    assert!(chain_ids(&config.rootfs.diff_ids).len() <= config.rootfs.diff_ids.len());
    for layers in 0..3 {
        let steps = config.layer_steps(layers);
        assert!(steps.of_layers.len() == layers && steps.of_layers.iter().flatten().is_sorted());
    }
}

#[test]
fn manifests_are_read_or_refused() {
    let documents = [manifest(), index()];
    let types = [None, Some(IMAGE), Some(INDEX), Some("application/json; charset=utf-8"), Some("text/html"), Some("")];
    let config = config();
    cases(8, |random| {
        let document = &documents[random.below(documents.len())];
        let bytes = Bytes::from(nearly(random, document));
        let config = nearly(random, &config);
        check_manifest(*random.choose(&types), &bytes, &config);
    });
}

#[test]
fn configurations_are_read_or_refused() {
    let document = config();
    cases(8, |random| check_config(&nearly(random, &document)));
}

#[test]
fn random_bytes_are_refused_or_read() {
    cases(1, |random| {
        let bytes = random.bytes(300);
        check_config(&bytes);
        check_manifest(None, &Bytes::from(bytes), b"");
    });
}

/// What is as long as it may be costs no more than its length.
#[test]
fn time_is_bounded_by_the_length() {
    let repeated = |before: &str, piece: &str, after: &str| {
        let count = (MAX_SIZE - before.len() - after.len()) / piece.len();
        format!("{before}{}{after}", piece.repeat(count))
    };
    let part = format!(r#"{{"digest":"sha256:{HEX}","size":9}},"#);
    let last = part.trim_end_matches(',');
    let config = format!(r#"{{"schemaVersion":2,"config":{last},"layers":["#);
    let begun = Instant::now();
    for text in [
        repeated(&config, &part, &format!("{last}]}}")),
        repeated(r#"{"schemaVersion":2,"manifests":["#, &part, &format!("{last}]}}")),
        repeated(r#"{"annotations":"#, "{\"a\":", "1"),
        repeated("", "[", ""),
        repeated("{\"x\":\"", "\\u0000", "\"}"),
        repeated("", " ", ""),
        repeated(r#"{"history":["#, r#"{"created_by":"x"},"#, "{}]}"),
        repeated(r#"{"config":{"Env":["#, r#""A=b","#, r#""A=b"]}}"#),
        repeated(r#"{"rootfs":{"diff_ids":["#, r#""a","#, r#""a"]}}"#),
    ] {
        check_config(text.as_bytes());
        check_manifest(None, &Bytes::from(text), b"{}");
    }
    // Nine times 4 MiB; a second or two without optimisation.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
