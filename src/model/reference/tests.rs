//! Image references: the grammar's edge cases, and every printed form.

use super::*;

const HEX: &str = "3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";

fn parse(text: &str) -> ImageReference {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn takes_references_apart() {
    let digest = format!("sha256:{HEX}");
    let with_both = format!("foo:t@{digest}");
    let bare = format!("sha256:{HEX}");
    let hub = format!("docker.io/user/app@{digest}");
    let long = format!("a/{}", "b".repeat(253));
    let sha512 = format!("foo@sha512:{}", "0".repeat(128));
    #[rustfmt::skip]
    let table = [
        // input                    registry            namespace       name        tag     id
        ("foo",                     "",                 "",             "foo",      "",     ""),
        ("foo:tag",                 "",                 "",             "foo",      "tag",  ""),
        ("foo:5000",                "",                 "",             "foo",      "5000", ""),
        ("bar/foo",                 "",                 "bar",          "foo",      "",     ""),
        ("bar/foo/baz:t",           "",                 "bar",          "foo/baz",  "t",    ""),
        ("bar:5000/baz",            "bar:5000",         "",             "baz",      "",     ""),
        ("bar:5000/foo/baz:t",      "bar:5000",         "foo",          "baz",      "t",    ""),
        ("localhost/bar",           "localhost",        "",             "bar",      "",     ""),
        ("localhost",               "localhost",        "",             "",         "",     ""),
        ("localhost:5000",          "localhost:5000",   "",             "",         "",     ""),
        ("localhostfoo",            "localhostfoo",     "",             "",         "",     ""),
        ("localhostfoo/bar",        "",                 "localhostfoo", "bar",      "",     ""),
        ("quay.io",                 "quay.io",          "",             "",         "",     ""),
        ("quay.io:latest",          "quay.io:latest",   "",             "",         "",     ""),
        ("quay.io/org",             "quay.io",          "",             "org",      "",     ""),
        ("foo.bar:tag",             "foo.bar:tag",      "",             "",         "",     ""),
        ("docker.io/user/p/app",    "docker.io",        "user",         "p/app",    "",     ""),
        ("127.0.0.1:5000/a/b/c:V1", "127.0.0.1:5000",   "a",            "b/c",      "V1",   ""),
        ("Quay.IO/org/app",         "Quay.IO",          "org",          "app",      "",     ""),
        ("Foo/bar",                 "",                 "Foo",          "bar",      "",     ""),
        ("a__b/c-----d_e.f:_x",     "",                 "a__b",         "c-----d_e.f", "_x", ""),
        (&with_both,                "",                 "",             "foo",      "t",    &digest),
        (&bare,                     "",                 "",             "sha256",   HEX,    ""),
        (&hub,                      "docker.io",        "user",         "app",      "",     &digest),
        (&long,                     "",                 "a",            &long[2..], "",     ""),
        (&sha512,                   "",                 "",             "foo",      "",     &sha512[4..]),
    ];
    for (text, registry, namespace, name, tag, id) in table {
        let found = parse(text);
        let found = [&found.registry, &found.namespace, &found.name, &found.tag, &found.id].map(String::as_str);
        assert_eq!(found, [registry, namespace, name, tag, id], "{text}");
    }
}

#[test]
fn refuses_with_the_words_docker_users_know() {
    let long = format!("a/{}", "b".repeat(254));
    let short_digest = format!("foo@sha256:{}", "0".repeat(32));
    let unknown = format!("foo@md5:{}", "0".repeat(32));
    let upper = format!("foo@SHA256:{HEX}");
    let tag129 = format!("foo:{}", "t".repeat(129));
    let format = "invalid reference format";
    let lower = "repository name must be lowercase";
    let mut table = vec![
        ("", "repository name must have at least one component"),
        (&*long, "repository name must not be more than 255 characters"),
        (&*short_digest, "invalid checksum digest length"),
        (&*unknown, "unsupported digest algorithm"),
        (&*upper, "unsupported digest algorithm"),
        (&*tag129, format),
    ];
    table.extend(["Foo", "foo/Bar", "x:5000/Up/y", "FOO:tag"].map(|text| (text, lower)));
    #[rustfmt::skip]
    table.extend([
        "foo@badid", "foo:", "foo@", ":t", "@", "/foo", "foo/", "a//b", "https://x/y", "foo:a/b:c", "a___b", "a..b", "a._b", "-a", "a-",
        "foo_bar.com:8080/a", "[::1]:5000/a", "[fe80::1]/a", "foo bar", "foo\n", "foo:.t", "foo@sha256:abc", "x:/a", "x:port/a", "é",
    ].map(|text| (text, format)));
    for (text, message) in table {
        let error = text.parse::<ImageReference>().expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn upper_case_hex_passes_but_is_no_digest_of_ours() {
    let reference = parse(&format!("foo@sha256:{}", HEX.to_uppercase()));
    assert_eq!(reference.id, format!("sha256:{}", HEX.to_uppercase()));
    assert_eq!(reference.digest(), None);
}

#[test]
fn prints_every_form() {
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
    assert_eq!(parse("quay.io").to_string(), "");
    assert_eq!(parse(&tagged_digest).as_repository().exact(), "foo");
    assert_eq!(parse("docker.io/a/b:1").as_v2().exact(), "registry-1.docker.io/a/b:1");
    assert_eq!(parse("index.docker.io/a/b").as_v2().exact(), "registry-1.docker.io/a/b");
    assert_eq!(parse("quay.io/a/b").as_v2().exact(), "quay.io/a/b");
}

#[test]
fn most_specific_keeps_what_decides() {
    let digest = format!("sha256:{HEX}");
    assert_eq!(parse(&format!("foo:t@{digest}")).most_specific(), parse(&format!("foo@{digest}")));
    let odd = ImageReference { name: "foo".into(), id: "badid".into(), ..ImageReference::default() };
    assert_eq!(odd.most_specific(), parse("foo:badid"));
    assert_eq!(odd.exact(), "foo:badid");
    let both = ImageReference { tag: "t".into(), ..odd };
    assert_eq!(both.most_specific().tag, "t");
}

#[test]
fn host_and_port_follow_the_scheme() {
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
fn the_same_image_has_many_names() {
    assert!(parse("foo").same_image(&parse("docker.io/library/foo:latest")));
    assert!(!parse("foo").same_image(&parse("docker.io:443/library/foo:latest")));
    assert!(!parse("foo").same_image(&parse("foo:1")));
}

#[test]
fn survives_being_written_and_read() {
    let digest = format!("sha256:{HEX}");
    for text in ["foo", "quay.io", "localhost:5000", "quay.io/a/b/c:t", "docker.io/foo", &format!("x:1/foo:t@{digest}")]
    {
        let reference = parse(text);
        assert_eq!(String::from(reference.clone()), text);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(serde_json::from_str::<ImageReference>(&json).unwrap(), reference);
    }
}

proptest::proptest! {
    #[test]
    fn anything_is_read_or_refused(text in "[a-zA-Z0-9._:/@-]{0,60}|\\PC{0,40}") {
        if let Ok(reference) = text.parse::<ImageReference>() {
            proptest::prop_assert_eq!(String::from(reference.clone()), text);
            // No form of what was read may fail to be made.
            for form in [reference.docker_client_defaults(), reference.daemon_minimal(), reference.as_v2(), reference.most_specific()] {
                proptest::prop_assert_eq!(form.exact().is_empty(), reference.name.is_empty());
            }
        }
    }
}
