use serde_json::json;

use super::*;

fn index(platforms: &[&str]) -> Manifest {
    let manifests: Vec<_> = (0..)
        .zip(platforms)
        .map(|(number, text)| {
            let mut words = text.split('/');
            let (os, architecture, variant) = (words.next(), words.next(), words.next());
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(number),
                "size": 2,
                "platform": {"os": os, "architecture": architecture, "variant": variant},
            })
        })
        .collect();
    of(&manifests)
}

fn of(manifests: &[serde_json::Value]) -> Manifest {
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    Manifest::parse(Some(media_type), index.to_string().into()).unwrap()
}

fn digest(number: usize) -> String {
    format!("sha256:{number:064}")
}

fn chosen(platforms: &str) -> Selection {
    Selection { platforms: platforms.parse().unwrap(), ..Selection::default() }
}

fn only(selection: &Selection, index: &Manifest) -> usize {
    let only = selection.clone().in_mode("Legacy");
    let child = only.only(index).expect("one is taken").digest.clone();
    index.children().iter().position(|listed| listed.digest == child).unwrap()
}

/// SEMANTICS 6.3: "Manifest list + Legacy: choose ONE child".
#[test]
fn section_6_3_legacy_takes_the_preferred_child() {
    let all = index(&["linux/s390x", "linux/arm64/v8", "linux/amd64", "windows/amd64"]);
    let own = if own_architecture() == "arm64" { 1 } else { 2 };
    assert_eq!(only(&Selection::default(), &all), own);
    let prefers = |annotations: serde_json::Value| {
        let preferred = preferred(&annotations.to_string());
        only(&Selection { preferred, ..Selection::default() }, &all)
    };
    assert_eq!(prefers(json!({PREFER_ARCHITECTURE: "s390x"})), 0);
    assert_eq!(prefers(json!({PREFER_OS: "windows", PREFER_ARCHITECTURE: "amd64"})), 3);
    assert_eq!(prefers(json!({PREFER_OS: "", "team": "x"})), own, "nothing is preferred");
    assert_eq!(prefers(json!({PREFER_ARCHITECTURE: "riscv64"})), own, "it has no such");
    assert_eq!(only(&chosen("linux/riscv64, linux/arm64"), &all), 1, "the stream's platforms come before the server's");
    assert_eq!(only(&Selection::default(), &index(&["plan9/mips", "linux/s390x"])), 0, "or else the first");
    assert_eq!(Selection::default().only(&all), None, "PreserveOriginal takes the index");
    assert_eq!(chosen("linux/amd64").in_mode("Legacy").only(&of(&[])), None);
}

#[test]
fn what_the_stream_did_not_choose_stays_with_what_is_about_it() {
    let manifest = |number, os: &str, architecture: &str, about: Option<usize>| {
        let mut child = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(number),
            "size": 2,
            "platform": {"os": os, "architecture": architecture},
        });
        if let Some(about) = about {
            child["annotations"] = json!({KIND: "attestation-manifest", ABOUT: digest(about)});
        }
        child
    };
    let all = of(&[
        manifest(0, "linux", "amd64", None),
        manifest(1, "linux", "arm64", None),
        manifest(2, "unknown", "unknown", Some(0)),
        manifest(3, "unknown", "unknown", Some(1)),
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(4), "size": 2}),
        json!({"mediaType": "application/x-cache", "digest": digest(5), "size": 2, "platform": {"os": "linux", "architecture": "arm64"}}),
    ]);
    let left = |platforms: &str| {
        let left = chosen(platforms).left_out(&all);
        (0..6).filter(|number| left.contains(&digest(*number).parse().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(left("linux/amd64"), [1, 3]);
    assert_eq!(left("linux/arm64"), [0, 2]);
    assert!(left("linux/amd64 linux/arm64").is_empty() && left("").is_empty());

    let twice = index(&["linux/arm/v6", "linux/amd64"]);
    let mut listed: Vec<_> = twice.children().iter().map(|child| json!(child)).collect();
    listed.push(listed[0].clone());
    listed[2]["platform"]["variant"] = json!("v7");
    assert!(chosen("linux/arm/v7").left_out(&of(&listed)).contains(&digest(1).parse().unwrap()));
    assert!(!chosen("linux/arm/v7").left_out(&of(&listed)).contains(&digest(0).parse().unwrap()), "it is chosen, too");
}

#[test]
fn an_index_without_any_chosen_platform_is_refused_by_name() {
    let all = index(&["linux/s390x", "linux/arm/v7", "unknown/unknown"]);
    let refusal = chosen("linux/amd64").check(&all).unwrap_err();
    assert_eq!(refusal.reason(), "no-platform");
    let says = refusal.to_string();
    assert!(
        says.contains("linux/amd64") && says.contains("linux/arm/v7, linux/s390x") && !says.contains("unknown"),
        "{says}"
    );
    assert!(chosen("linux/amd64 linux/arm").check(&all).is_ok());
    assert!(chosen("linux/amd64").check(&index(&["unknown/unknown"])).is_ok(), "nothing in it runs");
    assert!(Selection::default().check(&all).is_ok());
}
