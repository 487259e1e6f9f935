//! Section 7 of the semantics: the rules that follow from a tag alone. One table for each.

use super::*;

const HOST: &str = "weir.test:5000";
const DIGEST: &str = "sha256:3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";

/// `demo/app:1`, without an image.
fn empty() -> TagFacts<'static> {
    TagFacts { project: "demo", stream: "app", tag: "1", ..TagFacts::default() }
}

fn imported() -> String {
    format!("docker.io/library/app@{DIGEST}")
}

fn pushed() -> String {
    format!("demo/app@{DIGEST}")
}

fn here() -> String {
    format!("{HOST}/demo/app@{DIGEST}")
}

#[test]
fn section_7_1_the_pull_spec_follows_the_policy_of_now() {
    let (imported, pushed) = (imported(), pushed());
    for (reference, local, expected, why) in [
        (Some(&imported), false, imported.clone(), Reason::PolicySource),
        (Some(&imported), true, here(), Reason::PolicyLocal),
        (Some(&pushed), false, here(), Reason::KeptHere),
        (Some(&pushed), true, here(), Reason::PolicyLocal),
        (None, false, here(), Reason::KeptHere),
    ] {
        let facts = TagFacts { digest: Some(DIGEST), reference: reference.map(String::as_str), local, ..empty() };
        for lookup in [Lookup::Image, Lookup::Recent, Lookup::Newest] {
            let found = resolve(&facts, lookup, HOST).unwrap();
            assert_eq!((&found.pull_spec, found.digest.as_deref()), (&expected, Some(DIGEST)), "{reference:?} {local}");
            let points = Reason::Points { title: "app:1".into(), digest: DIGEST.into() };
            assert_eq!(found.why, [points, why.clone()]);
            assert_eq!(found.here, Some(here()), "this server's own builds and apps pull from it whatever the policy");
            assert!(found.has_status && !found.newer && !found.is_tag_empty);
        }
    }
}

#[test]
fn section_7_1_an_image_of_another_repository_keeps_its_reference() {
    for other in ["demo/app2@sha256:aa", "demo/ap@sha256:aa", "demo2/app@sha256:aa", "demo/app/x@sha256:aa"] {
        assert_eq!(pulled_from(HOST, "demo", "app", other), other);
    }
    assert_eq!(pulled_from(HOST, "demo", "app", "demo/app@sha256:aa"), format!("{HOST}/demo/app@sha256:aa"));
}

#[test]
fn section_7_1_a_reference_only_tag_gives_what_was_typed() {
    for (local, digest) in [(false, None), (true, None), (false, Some(DIGEST))] {
        let facts = TagFacts { external: Some("docker.io/x:1"), reference_only: true, local, digest, ..empty() };
        let found = resolve(&facts, Lookup::Image, HOST).unwrap();
        assert_eq!((found.pull_spec.as_str(), found.digest, found.here), ("docker.io/x:1", None, None));
        assert_eq!(found.why, [Reason::ReferenceOnly]);
        assert!(found.has_status);
    }
}

#[test]
fn section_7_2_recent_is_the_last_known_good_and_newest_what_is_meant() {
    let imported = imported();
    let has = TagFacts {
        digest: Some(DIGEST),
        reference: Some(&imported),
        external: Some("docker.io/library/app:1"),
        ..empty()
    };
    let pending = TagFacts { newer: true, ..has };
    let not_yet = || Err(Unresolved::NotYet);
    let typed = "docker.io/library/app:1";
    let at_digest: &str = &imported;
    let guess = format!("{HOST}/demo/app:1");
    #[rustfmt::skip]
    let table = [
        // what is known                                            recent: pull spec, newer, status, empty           newest
        (has,                                                       (at_digest, false, true, false),                   Ok(at_digest)),
        (pending,                                                   (at_digest, true, true, false),                    Ok(typed)),
        (TagFacts { local: true, ..pending },                       (&here(), true, true, false),                      not_yet()),
        (TagFacts { external: None, ..pending },                    (at_digest, true, true, false),                    not_yet()),
        (TagFacts { digest: None, ..pending },                      (typed, true, false, false),                       Ok(typed)),
        (TagFacts { digest: None, local: true, ..pending },         (&guess, true, false, true),                       not_yet()),
        (empty(),                                                   (&guess, false, false, true),                      Ok(&*guess)),
    ];
    for (facts, (pull_spec, newer, status, is_empty), newest) in table {
        let recent = resolve(&facts, Lookup::Recent, HOST).unwrap();
        let got = (recent.pull_spec.as_str(), recent.newer, recent.has_status, recent.is_tag_empty);
        assert_eq!(got, (pull_spec, newer, status, is_empty), "{facts:?}");
        let found = resolve(&facts, Lookup::Newest, HOST);
        assert_eq!(found.as_ref().map(|found| found.pull_spec.as_str()), newest.as_ref().copied(), "{facts:?}");
    }
    assert_eq!(Unresolved::NotYet.to_string(), "the pull spec cannot be determined yet");
}

#[test]
fn section_7_2_the_latest_image_never_looks_at_the_source() {
    let pending = TagFacts { external: Some("docker.io/library/app:1"), newer: true, ..empty() };
    for facts in [pending, empty()] {
        assert_eq!(resolve(&facts, Lookup::Image, HOST), Err(Unresolved::NoImage("app:1".into())));
    }
    let has = TagFacts { digest: Some(DIGEST), ..pending };
    assert_eq!(resolve(&has, Lookup::Image, HOST).unwrap().digest.as_deref(), Some(DIGEST));
}

#[test]
fn section_7_3_candidates_are_single_components_and_names_of_this_registry() {
    let hosts = [HOST.to_owned(), "weir.example".to_owned()];
    let tag = |project: &str, stream: &str, tag: &str| StreamTag {
        project: project.into(),
        stream: stream.into(),
        tag: tag.into(),
    };
    for (text, expected, is_short) in [
        ("app", tag("demo", "app", "latest"), true),
        ("app:1", tag("demo", "app", "1"), true),
        ("my.app:1", tag("demo", "my.app", "1"), true),
        ("weir.test:5000/other/app", tag("other", "app", "latest"), false),
        ("weir.example/other/app:2", tag("other", "app", "2"), false),
    ] {
        assert_eq!(Named::read(text, "demo", &hosts), Ok(Named::Tag { tag: expected, short: is_short }), "{text}");
    }
    for (text, project, is_short) in [("app", "demo", true), ("weir.test:5000/other/app", "other", false)] {
        let image =
            Named::Image { project: project.into(), stream: "app".into(), digest: DIGEST.into(), short: is_short };
        assert_eq!(Named::read(&format!("{text}@{DIGEST}"), "demo", &hosts), Ok(image.clone()));
        assert_eq!(Named::read(&format!("{text}:1@{DIGEST}"), "demo", &hosts), Ok(image), "the digest wins");
    }
    for text in [
        "demo/app",
        "docker.io/app",
        "localhost/app",
        "weir.test:5000/app",
        "weir.test:5001/demo/app",
        "weir.test/demo/app",
        "weir.test:5000/demo/app/x",
    ] {
        assert!(matches!(Named::read(text, "demo", &hosts), Ok(Named::External(_))), "{text}");
    }
    assert_eq!(Named::read("App", "demo", &hosts), Err(ReferenceError::Uppercase));
}

#[test]
fn reasons_are_sentences_for_people() {
    let words = |reason: &Reason| reason.to_string();
    let stream = || ("app".to_owned(), "demo".to_owned());
    let ((stream, project), (other, in_project)) = (stream(), stream());
    assert_eq!(words(&Reason::ShortName { stream, project }), "app is a short name for the stream of demo");
    let not_local = words(&Reason::NotLocal { stream: other, project: in_project });
    assert_eq!(not_local, "demo has a stream app, but short names do not mean it: its lookupPolicy.local is false");
    let moved = Reason::Move { number: 3, kind: "import".into(), actor: "schedule".into() };
    assert_eq!(words(&moved), "since its move #3, import by schedule");
}
