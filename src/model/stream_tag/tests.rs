//! Section 1 of the semantics: names of streams and tags, digests in part, and the forms they are joined in. One test for each rule.

use super::*;

const HEX: &str = "3c87c572822935df60f0f5d3665bd376841a7fcfeb806b5f212de6a00e9a7b25";

#[test]
fn section_1_1_the_pushable_path_has_at_most_255_characters() {
    let name = |project: usize, stream: usize| {
        format!("{}/{}", "p".repeat(project), "s".repeat(stream)).parse::<RepositoryName>()
    };
    for (project, stream, fits) in [(63, 191, true), (63, 192, false), (4, 250, true), (4, 251, false), (1, 253, true)]
    {
        let found = name(project, stream);
        assert_eq!(found.is_ok(), fits, "{project}/{stream}");
        if let Err(error) = found {
            assert_eq!(error.to_string(), "'namespace/name' cannot be longer than 255 characters");
        }
    }
}

#[test]
fn section_1_1_a_repository_is_a_project_and_a_stream() {
    let repository: RepositoryName = "demo/httpd-base".parse().unwrap();
    assert_eq!((repository.project.as_str(), repository.stream.as_str()), ("demo", "httpd-base"));
    assert_eq!(repository.to_string(), "demo/httpd-base");
    for (bad, message) in [
        ("demo", "name or generateName is required"),
        ("demo/", "name or generateName is required"),
        ("/base", "name or generateName is required"),
        ("demo/a/b", "may not contain '/'"),
        ("demo/..", "may not be '..'"),
        ("demo/a%2fb", "may not contain '%'"),
    ] {
        assert_eq!(bad.parse::<RepositoryName>().unwrap_err().to_string(), message, "{bad}");
    }
}

#[test]
fn section_1_2_a_title_that_is_looked_up_has_one_colon_and_both_halves() {
    assert_eq!(TagTitle::halves("base:latest"), Some(("base", "latest")));
    assert_eq!(TagTitle::halves("base:odd+name"), Some(("base", "odd+name")), "old tags stay readable and deletable");
    for bad in ["base", "base:", ":latest", "a:b:c", ":", ""] {
        assert_eq!(TagTitle::halves(bad), None, "{bad}");
    }
}

#[test]
fn section_1_2_a_title_that_is_made_may_leave_the_tag_out() {
    for (text, stream, tag) in [
        ("base", "base", "latest"),
        ("base:", "base", "latest"),
        ("base:1.0", "base", "1.0"),
        ("base:V1_x", "base", "V1_x"),
    ] {
        let title: TagTitle = text.parse().unwrap();
        assert_eq!((title.stream.as_str(), title.tag.as_str()), (stream, tag), "{text}");
        assert_eq!(title.to_string(), format!("{stream}:{tag}"));
    }
    for (bad, part) in [
        ("base:a:b", "invalid tag \"a:b\" format"),
        ("base:+", "invalid tag \"+\" format"),
        ("Base:1", "must match \"[a-z0-9]+"),
        (":1", "name or generateName is required"),
        ("base:x--asof-20261101T1403Z", "names with \"--asof-\""),
    ] {
        let message = bad.parse::<TagTitle>().unwrap_err().to_string();
        assert!(message.contains(part), "{bad}: {message}");
    }
}

#[test]
fn section_1_2_a_tag_may_be_written_with_its_project() {
    let tag = |project: &str, stream: &str, tag: &str| StreamTag {
        project: project.into(),
        stream: stream.into(),
        tag: tag.into(),
    };
    for (text, expected) in [
        ("base", tag("demo", "base", "latest")),
        ("base:1", tag("demo", "base", "1")),
        ("other/base", tag("other", "base", "latest")),
        ("other/base:1", tag("other", "base", "1")),
    ] {
        let found = StreamTag::parse(text, "demo").unwrap();
        assert_eq!(found, expected, "{text}");
        assert_eq!(StreamTag::parse(&found.to_string(), "elsewhere").unwrap(), expected, "printed and read");
        assert_eq!(StreamTag::parse(&found.title_in("demo"), "demo").unwrap(), expected);
    }
    for bad in ["", "a/b/c:1", "Other/base", "/base", "other/", "base:a:b", "base@sha256:aa"] {
        assert!(StreamTag::parse(bad, "demo").is_err(), "{bad}");
    }
}

#[test]
fn section_1_3_an_image_of_a_stream_is_named_with_an_at() {
    assert_eq!(image_halves("base@sha256:3c"), Some(("base", "sha256:3c")));
    for bad in ["base", "base@", "@3c", "a@b@c", "base:latest"] {
        assert_eq!(image_halves(bad), None, "{bad}");
    }
}

#[test]
fn section_1_3_a_digest_may_be_abbreviated_with_or_without_its_algorithm() {
    let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
    let longer: Digest = format!("sha512:{HEX}{HEX}").parse().unwrap();
    for (text, matches, matches_longer, distinct) in [
        ("3", true, true, false),
        ("3c87c57", true, true, true),
        (HEX, true, true, true),
        ("s", true, true, false),
        ("sha", true, true, false),
        ("sha256", true, false, false),
        ("sha5", false, true, false),
        ("sha256:", true, false, false),
        ("sha256:3", true, false, false),
        ("sha256:3c87", true, false, false),
        ("sha512:3c87c57", false, true, true),
        (digest.as_str(), true, false, true),
        (longer.as_str(), false, true, true),
        ("4", false, false, false),
        ("87c5728", false, false, true),
    ] {
        let prefix: DigestPrefix = text.parse().unwrap();
        assert_eq!(prefix.to_string(), text);
        assert_eq!(prefix.matches(&digest), matches, "{text}");
        assert_eq!(prefix.matches(&longer), matches_longer, "{text}");
        assert_eq!(prefix.is_distinct(), distinct, "{text}");
        let whole = [&digest, &longer].into_iter().find(|digest| digest.as_str() == text).cloned();
        assert_eq!(prefix.whole(), whole, "{text}");
        let within = |digest: &Digest| {
            prefix
                .ranges()
                .iter()
                .any(|(begin, end)| begin.as_str() <= digest.as_str() && digest.as_str() < end.as_str())
        };
        assert_eq!(within(&digest), matches, "{text} in {:?}", prefix.ranges());
        assert_eq!(within(&longer), matches_longer, "{text} in {:?}", prefix.ranges());
    }
    for bad in [
        "",
        "latest",
        "3C87",
        "md5:3c",
        "SHA256:3c",
        "sha256:3C",
        "sha256:xyz",
        ":3c",
        "sha1",
        "sha2567",
        "sha256 ",
        &"a".repeat(129),
    ] {
        assert!(bad.parse::<DigestPrefix>().is_err(), "{bad}");
    }
}

#[test]
fn section_3_4_a_source_is_a_tag_or_an_image_of_this_or_another_stream() {
    let stream = |name: &str| Some(name.parse::<StreamName>().unwrap());
    let tag = |name: &str| name.parse::<TagName>().unwrap();
    let id = |text: &str| text.parse::<DigestPrefix>().unwrap();
    assert_eq!(SourceName::tag("3.6"), Ok(SourceName::Tag { stream: None, tag: tag("3.6") }));
    assert_eq!(SourceName::tag("python:3.6"), Ok(SourceName::Tag { stream: stream("python"), tag: tag("3.6") }));
    assert_eq!(SourceName::image("sha256:3c"), Ok(SourceName::Image { stream: None, id: id("sha256:3c") }));
    assert_eq!(SourceName::image("python@3c"), Ok(SourceName::Image { stream: stream("python"), id: id("3c") }));
    let form = "must be of the form <tag>, <repo>:<tag>, <id>, or <repo>@<id>";
    for bad in ["a:b:c", "a/b:c", "a:", ":b", "a@b"] {
        assert_eq!(SourceName::tag(bad).unwrap_err().to_string(), form, "{bad}");
    }
    for bad in ["a@b@c", "a/b@3c", "a@", "@3c"] {
        assert_eq!(SourceName::image(bad).unwrap_err().to_string(), form, "{bad}");
    }
    assert!(SourceName::image("latest").unwrap_err().to_string().contains("is not the beginning of a digest"));
    assert!(SourceName::tag("a b").unwrap_err().to_string().contains("invalid tag"));
}
