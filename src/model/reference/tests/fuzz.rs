//! Names of any shape, made at random: read or refused without a panic and in bounded time, and the same after being written and read.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::model::{DigestPrefix, ImageReference, RepositoryName, SourceName, StreamTag, TagTitle};

/// How many texts are tried: 100,000, or what `WEIR_FUZZ_INPUTS` says.
#[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
fn inputs() -> u32 {
    std::env::var("WEIR_FUZZ_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

fn try_all(strategy: &impl Strategy<Value = String>, part: u32, check: impl Fn(&str) -> Result<(), TestCaseError>) {
    let config = Config { cases: inputs() / part, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    if let Err(error) = runner.run(strategy, |text| check(&text)) {
        panic!("{error}");
    }
}

/// Pieces that references are made of, put together as chance has it: most are nearly right.
fn near_references() -> impl Strategy<Value = String> {
    let hex = "3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";
    let pieces = [
        "foo",
        "a",
        "1",
        "Foo",
        "library",
        "localhost",
        "docker.io",
        "index.docker.io",
        "quay.io",
        "x:5000",
        ":",
        ":",
        ":latest",
        ":t",
        "/",
        "/",
        "/",
        "@",
        "@sha256:",
        "@sha512:",
        hex,
        "_",
        "__",
        ".",
        "-",
        "--",
        "é",
        " ",
        "[::1]",
        "https://",
        "--asof-20261101T1403Z",
        "\0",
    ];
    let piece = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// Letters of the grammar in any order, and any letters at all.
fn letters() -> impl Strategy<Value = String> {
    let letter = proptest::sample::select("abz019AZ._-:/@+%\u{212a}\u{130}é\n".chars().collect::<Vec<_>>());
    proptest::collection::vec(prop_oneof![20 => letter, 1 => any::<char>()], 0..40).prop_map(String::from_iter)
}

fn reads_the_same(text: &str) -> Result<(), TestCaseError> {
    let Ok(reference) = text.parse::<ImageReference>() else { return Ok(()) };
    prop_assert_eq!(&String::from(reference.clone()), text);
    prop_assert_eq!(text.parse(), Ok(reference.clone()));
    if reference.name.is_empty() {
        return Ok(());
    }
    // A digest wins over the tag in what is printed.
    prop_assert_eq!(reference.exact().parse(), Ok(reference.most_specific()));
    let string: ImageReference = reference.to_string().parse()?;
    prop_assert!(string.same_image(&reference.most_specific()), "{} of {}", string, text);
    // Without a dot or a port, a capital letter is that of a namespace, which must stay first; and defaults need room.
    let lower = reference.namespace.bytes().all(|b| !b.is_ascii_uppercase());
    if lower && text.len() < 200 {
        let full = reference.docker_client_defaults().exact();
        let again: ImageReference = full.parse()?;
        prop_assert!(again.same_image(&reference.most_specific()), "{} of {}", full, text);
        let short = reference.daemon_minimal().exact();
        let again: ImageReference = short.parse()?;
        let (again, reference) = (again.daemon_minimal(), reference.most_specific().daemon_minimal());
        prop_assert!(again.same_image(&reference), "{} of {}", short, text);
    }
    Ok(())
}

fn names_read_the_same(text: &str) -> Result<(), TestCaseError> {
    if let Ok(title) = text.parse::<TagTitle>() {
        prop_assert_eq!(title.to_string().parse(), Ok(title));
    }
    if let Ok(tag) = StreamTag::parse(text, "demo") {
        prop_assert_eq!(StreamTag::parse(&tag.to_string(), "other"), Ok(tag));
    }
    if let Ok(name) = text.parse::<RepositoryName>() {
        prop_assert_eq!(name.to_string(), text);
        // Whatever can be pushed to can be pulled from.
        let pulled = format!("localhost/{text}").parse::<ImageReference>();
        prop_assert!(pulled.is_ok() || text.len() > 245);
    }
    if let Ok(prefix) = text.parse::<DigestPrefix>() {
        prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
    }
    // Neither must panic.
    let _ = (SourceName::tag(text), SourceName::image(text));
    Ok(())
}

#[test]
fn what_is_nearly_a_reference_is_read_or_refused() {
    try_all(&near_references(), 1, reads_the_same);
}

#[test]
fn letters_in_any_order_are_read_or_refused() {
    try_all(&letters(), 4, reads_the_same);
}

#[test]
fn names_are_read_or_refused() {
    try_all(&prop_oneof![near_references(), letters()], 4, names_read_the_same);
}

/// What would make a backtracking matcher slow is refused as fast as anything.
#[test]
fn time_is_bounded_by_the_length() {
    let begun = Instant::now();
    for piece in ["a", "a-", "a_", "a.", "a/", "A", "-", "_", ":", "/", "@", "a:", "é", "\u{130}", "a@sha256:"] {
        for end in ["", "!", "/", ":t", "@sha256:x"] {
            let text = format!("{}{end}", piece.repeat(1_000_000 / piece.len()));
            assert!(text.parse::<ImageReference>().is_err());
            let _ = (text.parse::<TagTitle>(), text.parse::<DigestPrefix>(), SourceName::image(&text));
        }
    }
    // 75 megabytes; a second or two without optimisation.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
