//! Section 2 of the semantics: every printed form. The grammar has its table in `table`, what no table holds is tried in `fuzz`.

mod fuzz;
mod table;

use super::*;

const HEX: &str = "3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";

fn parse(text: &str) -> ImageReference {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn section_1_3_upper_case_hex_passes_but_is_no_digest_of_ours() {
    let reference = parse(&format!("foo@sha256:{}", HEX.to_uppercase()));
    assert_eq!(reference.id, format!("sha256:{}", HEX.to_uppercase()));
    assert_eq!(reference.digest(), None);
}

#[test]
fn section_2_2_prints_every_form() {
    let d = format!("sha256:{HEX}");
    let tagged_digest = format!("foo:t@{d}");
    let at = |prefix: &str| format!("{prefix}@{d}");
    let (foo_at, lib_at) = (at("foo"), at("docker.io/library/foo"));
    #[rustfmt::skip]
    let table = [
        // input                            string                            client defaults                   daemon minimal
        ("foo",                             "foo",                            "docker.io/library/foo:latest",   "foo"),
        ("foo:latest",                      "foo:latest",                     "docker.io/library/foo:latest",   "foo"),
        ("docker.io/foo",                   "docker.io/library/foo",          "docker.io/library/foo:latest",   "docker.io/library/foo"),
        ("docker.io/library/foo:latest",    "docker.io/library/foo:latest",   "docker.io/library/foo:latest",   "docker.io/library/foo"),
        ("index.docker.io/user/foo:1",      "index.docker.io/user/foo:1",     "index.docker.io/user/foo:1",     "docker.io/user/foo:1"),
        ("registry-1.docker.io/foo",  "registry-1.docker.io/library/foo", "registry-1.docker.io/library/foo:latest", "docker.io/library/foo"),
        ("docker.io:443/foo",               "docker.io:443/foo",              "docker.io:443/foo:latest",       "docker.io:443/foo"),
        ("quay.io/library/foo:latest",      "quay.io/library/foo:latest",     "quay.io/library/foo:latest",     "quay.io/library/foo"),
        ("quay.io/org",                     "quay.io/org",                    "quay.io/org:latest",             "quay.io/org"),
        ("ns/name:1",                       "ns/name:1",                      "docker.io/ns/name:1",            "ns/name:1"),
        (&tagged_digest,                    &foo_at,                          &lib_at,                          &foo_at),
    ];
    for (text, string, defaults, minimal) in table {
        let reference = parse(text);
        assert_eq!(reference.to_string(), string, "string of {text}");
        assert_eq!(reference.docker_client_defaults().exact(), defaults, "client defaults of {text}");
        assert_eq!(reference.daemon_minimal().to_string(), minimal, "daemon minimal of {text}");
    }
    assert_eq!(parse("docker.io/foo").exact(), "docker.io/foo");
    assert_eq!(parse("docker.io/library/foo:latest").daemon_minimal().exact(), "docker.io/foo");
    assert_eq!(
        parse("docker.io/library/a/b").daemon_minimal().exact(),
        "docker.io/library/a/b",
        "an image of another namespace"
    );
    assert_eq!(parse("quay.io").to_string(), "");
    assert_eq!(parse(&tagged_digest).as_repository().exact(), "foo");
    assert_eq!(parse("docker.io/a/b:1").as_v2().exact(), "registry-1.docker.io/a/b:1");
    assert_eq!(parse("index.docker.io/a/b").as_v2().exact(), "registry-1.docker.io/a/b");
    assert_eq!(parse("quay.io/a/b").as_v2().exact(), "quay.io/a/b");
}

#[test]
fn section_2_2_what_engines_pull_is_written_in_full() {
    let digest = format!("sha256:{HEX}");
    for (text, full) in [
        ("foo", Some("docker.io/library/foo:latest".to_owned())),
        ("ns/foo:1", Some("docker.io/ns/foo:1".to_owned())),
        ("r:5000/foo:1@DIGEST", Some(format!("r:5000/foo@{digest}"))),
        ("quay.io", None),
        ("localhost:5000", None),
    ] {
        assert_eq!(parse(&text.replace("DIGEST", &digest)).pull_spec(), full, "{text}");
    }
    for (text, full) in [
        ("python3.12", "docker.io/library/python3.12:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("quay.io/org", "quay.io/org:latest"),
    ] {
        assert_eq!(ImageReference::of_engine(text).unwrap().pull_spec().as_deref(), Some(full), "{text}");
    }
    assert_eq!(ImageReference::of_engine("Foo"), Err(ReferenceError::Uppercase));
}

#[test]
fn c14_library_is_what_docker_hubs_short_names_leave_out() {
    let at = format!("@sha256:{HEX}");
    // What is written, and repository and tag or digest on Docker Hub; none for what is elsewhere.
    for (text, hub) in [
        ("busybox", Some(("library/busybox", ":latest"))),
        ("busybox:1", Some(("library/busybox", ":1"))),
        ("library/busybox", Some(("library/busybox", ":latest"))),
        ("docker.io/busybox", Some(("library/busybox", ":latest"))),
        ("docker.io/library/busybox:1", Some(("library/busybox", ":1"))),
        ("index.docker.io/busybox", Some(("library/busybox", ":latest"))),
        ("registry-1.docker.io/busybox:1", Some(("library/busybox", ":1"))),
        (&format!("busybox{at}"), Some(("library/busybox", at.as_str()))),
        (&format!("busybox:1{at}"), Some(("library/busybox", at.as_str()))),
        ("grafana/grafana", Some(("grafana/grafana", ":latest"))),
        ("docker.io/grafana/grafana:9", Some(("grafana/grafana", ":9"))),
        ("docker.io/a/b/c", Some(("a/b/c", ":latest"))),
        ("library/a/b", Some(("library/a/b", ":latest"))),
        ("docker.io:443/busybox", None),
        ("quay.io/busybox", None),
        ("localhost/busybox", None),
        ("localhost:5000/busybox", None),
        ("r:5000/library/busybox", None),
    ] {
        let full = parse(text).docker_client_defaults();
        let at_hub = full.as_v2().registry == "registry-1.docker.io";
        assert_eq!(at_hub, hub.is_some(), "{text}");
        let Some((repository, version)) = hub else {
            assert_eq!(full.repository_path(), parse(text).repository_path(), "{text}: nothing is put into it");
            continue;
        };
        assert_eq!(full.repository_path(), repository, "{text}");
        assert!(full.exact().ends_with(&format!("{repository}{version}")), "{text}: {}", full.exact());
        let asked = |reference: &ImageReference| reference.docker_client_defaults().as_v2().exact();
        assert_eq!(asked(&full.daemon_minimal()), asked(&full), "{text}");
        assert_eq!(asked(&parse(&full.daemon_minimal().exact())), asked(&full), "{text}, in short");
    }
}

#[test]
fn section_2_2_a_stored_reference_is_as_typed_at_the_digest() {
    let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
    for (typed, stored) in [("test:1", "test"), ("docker.io/test", "docker.io/test"), ("r:5000/a/b:t", "r:5000/a/b")] {
        assert_eq!(parse(typed).at_digest(&digest).exact(), format!("{stored}@{digest}"));
    }
}

#[test]
fn section_2_2_most_specific_keeps_what_decides() {
    let digest = format!("sha256:{HEX}");
    assert_eq!(parse(&format!("foo:t@{digest}")).most_specific(), parse(&format!("foo@{digest}")));
    let odd = ImageReference { name: "foo".into(), id: "badid".into(), ..ImageReference::default() };
    assert_eq!(odd.most_specific(), parse("foo:badid"));
    assert_eq!(odd.exact(), "foo:badid");
    let both = ImageReference { tag: "t".into(), ..odd };
    assert_eq!(both.most_specific().tag, "t");
}

#[test]
fn section_2_2_host_and_port_follow_the_scheme() {
    for (text, secure, insecure) in [
        ("foo", "registry-1.docker.io:443", "registry-1.docker.io:80"),
        ("quay.io/a", "quay.io:443", "quay.io:80"),
        ("r:5000/a", "r:5000", "r:5000"),
    ] {
        assert_eq!(parse(text).registry_host_port(false), secure);
        assert_eq!(parse(text).registry_host_port(true), insecure);
    }
}

#[test]
fn section_2_2_the_same_image_has_many_names() {
    assert!(parse("foo").same_image(&parse("docker.io/library/foo:latest")));
    assert!(!parse("foo").same_image(&parse("docker.io:443/library/foo:latest")));
    assert!(!parse("foo").same_image(&parse("foo:1")));
    assert!(parse("ns/foo").same_image(&parse("docker.io/ns/foo:latest")));
    assert!(!parse("index.docker.io/foo").same_image(&parse("foo")), "only an omitted registry is filled in");
}

#[test]
fn section_2_1_survives_being_written_and_read() {
    let digest = format!("sha256:{HEX}");
    for text in ["foo", "quay.io", "localhost:5000", "quay.io/a/b/c:t", "docker.io/foo", &format!("x:1/foo:t@{digest}")]
    {
        let reference = parse(text);
        assert_eq!(String::from(reference.clone()), text);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<ImageReference>(&json).unwrap(), reference);
    }
}
