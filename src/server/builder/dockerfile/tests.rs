//! The corpus: Dockerfiles as people write them, and what each takes in.

use super::*;
use crate::model::Digest;

/// Name, Dockerfile, build arguments, expected `kind reference stage` lines.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CORPUS: &[Case] = &[
    ("plain", "FROM alpine\n", &[], &["FROM alpine 0"]),
    ("no newline at the end", "FROM alpine:3.20", &[], &["FROM alpine:3.20 0"]),
    ("lower case", "from alpine as base\nrun true\nfrom base\n", &[], &["FROM alpine base"]),
    ("platform", "FROM --platform=linux/arm64 quay.io/a/b:1 AS x\n", &[], &["FROM quay.io/a/b:1 x"]),
    ("platform argument", "FROM --platform=$BUILDPLATFORM a/b\n", &[], &["FROM a/b 0"]),
    (
        "port and digest",
        "FROM localhost:5000/p/s@sha256:1111111111111111111111111111111111111111111111111111111111111111\n",
        &[],
        &["FROM localhost:5000/p/s@sha256:1111111111111111111111111111111111111111111111111111111111111111 0"],
    ),
    ("scratch", "FROM scratch\nCOPY a /a\n", &[], &[]),
    ("copy from image", "FROM scratch\nCOPY --from=busybox:1 /bin/sh /sh\n", &[], &["COPY --from busybox:1 0"]),
    ("copy from alias", "FROM a AS one\nFROM b\nCOPY --from=one /x /x\n", &[], &["FROM a one", "FROM b 1"]),
    (
        "copy from alias in other case",
        "FROM a AS One\nFROM b\nCOPY --from=oNE /x /x\n",
        &[],
        &["FROM a one", "FROM b 1"],
    ),
    ("copy from number", "FROM a\nFROM b\nCOPY --from=0 /x /x\n", &[], &["FROM a 0", "FROM b 1"]),
    (
        "copy with other flags",
        "FROM a\nCOPY --chown=1:1 --from=tools:2 --chmod=755 /x /y /z/\n",
        &[],
        &["FROM a 0", "COPY --from tools:2 0"],
    ),
    ("copy in json form", "FROM a\nCOPY --from=tools [\"/x y\", \"/z\"]\n", &[], &["FROM a 0", "COPY --from tools 0"]),
    ("add from", "FROM a\nADD --from=data:v1 /d /d\n", &[], &["FROM a 0", "ADD --from data:v1 0"]),
    (
        "mount",
        "FROM a\nRUN --mount=type=bind,from=gcc:13,source=/usr,target=/gcc make\n",
        &[],
        &["FROM a 0", "mount gcc:13 0"],
    ),
    ("mount from stage", "FROM a AS s\nFROM b\nRUN --mount=from=s,target=/s true\n", &[], &["FROM a s", "FROM b 1"]),
    (
        "two mounts",
        "FROM a\nRUN --mount=type=cache,target=/c --mount=target=/m,from=\"m:1\" --network=none true\n",
        &[],
        &["FROM a 0", "mount m:1 0"],
    ),
    (
        "mount, quoted field",
        "FROM a\nRUN --mount=type=bind,\"from=m:1\",target=/m true\n",
        &[],
        &["FROM a 0", "mount m:1 0"],
    ),
    ("syntax", "# syntax=docker/dockerfile:1.7\nFROM a\n", &[], &["syntax docker/dockerfile:1.7 0", "FROM a 0"]),
    ("syntax after a comment is a comment", "# hello\n# syntax=docker/dockerfile:1\nFROM a\n", &[], &["FROM a 0"]),
    (
        "all six forms",
        "# syntax=front:1\nARG V=2\nFROM base:${V} AS b\nFROM run:1\nCOPY --from=copy:1 / /\nADD --from=add:1 / /\nRUN --mount=from=mount:1,target=/m true\nCOPY --from=b / /\n",
        &[],
        &[
            "syntax front:1 0",
            "FROM base:2 b",
            "FROM run:1 1",
            "COPY --from copy:1 1",
            "ADD --from add:1 1",
            "mount mount:1 1",
        ],
    ),
    ("argument with default", "ARG TAG=3\nFROM a:$TAG\n", &[], &["FROM a:3 0"]),
    ("argument given", "ARG TAG=3\nFROM a:$TAG\n", &[("TAG", "4")], &["FROM a:4 0"]),
    ("argument given without default", "ARG BASE\nFROM ${BASE}\n", &[("BASE", "x/y:z")], &["FROM x/y:z 0"]),
    ("given but not declared", "FROM a:${TAG:-dev}\n", &[("TAG", "4")], &["FROM a:dev 0"]),
    ("default in the reference", "ARG R\nFROM ${R:-docker.io}/a\n", &[], &["FROM docker.io/a 0"]),
    ("alternative in the reference", "ARG DEBUG=1\nFROM a${DEBUG:+-debug}\n", &[], &["FROM a-debug 0"]),
    ("arguments upon arguments", "ARG V=1\nARG IMG=base:${V}\nFROM $IMG\n", &[("V", "9")], &["FROM base:9 0"]),
    ("several arguments on a line", "ARG A=x B=\"y\"\nFROM $A/$B\n", &[], &["FROM x/y 0"]),
    ("quoted default", "ARG A='x:1'\nFROM \"$A\"\n", &[], &["FROM x:1 0"]),
    (
        "argument after FROM is not global",
        "ARG A=one\nFROM $A\nARG A=two\nFROM $A\n",
        &[],
        &["FROM one 0", "FROM one 1"],
    ),
    (
        "argument in copy",
        "ARG V=1\nFROM a\nARG V\nCOPY --from=t:$V / /\n",
        &[("V", "2")],
        &["FROM a 0", "COPY --from t:2 0"],
    ),
    ("env in copy", "FROM a\nENV V=7 W=8\nCOPY --from=t:$V$W / /\n", &[], &["FROM a 0", "COPY --from t:78 0"]),
    ("old env in copy", "FROM a\nENV V 7\nCOPY --from=t:$V / /\n", &[], &["FROM a 0", "COPY --from t:7 0"]),
    (
        "stage by argument",
        "ARG WHICH=prod\nFROM a AS dev\nFROM b AS prod\nFROM $WHICH\n",
        &[],
        &["FROM a dev", "FROM b prod"],
    ),
    (
        "continuation",
        "FROM \\\n  --platform=linux/amd64 \\\n  a:1 \\\n  AS x\nRUN a \\\n FROM b\n",
        &[],
        &["FROM a:1 x"],
    ),
    (
        "comment within a continuation",
        "FROM a\nRUN x \\\n# FROM evil\n\n  && y\nCOPY --from=t / /\n",
        &[],
        &["FROM a 0", "COPY --from t 0"],
    ),
    ("comments and blanks", "\n\n# FROM no\n  # indented\n  FROM a\n\n# end", &[], &["FROM a 0"]),
    (
        "crlf",
        "ARG V=1\r\nFROM a:$V AS b\r\nRUN x \\\r\n  y\r\nFROM b\r\nCOPY --from=t / /\r\n",
        &[],
        &["FROM a:1 b", "COPY --from t 1"],
    ),
    ("byte order mark", "\u{feff}FROM a\n", &[], &["FROM a 0"]),
    ("byte order mark and directive", "\u{feff}# escape=`\nFROM a `\n AS x\n", &[], &["FROM a x"]),
    (
        "escape directive",
        "# escape=`\nFROM a\nRUN dir C:\\\nCOPY --from=t `\n x y\n",
        &[],
        &["FROM a 0", "COPY --from t 0"],
    ),
    (
        "here-document of run",
        "FROM a\nRUN <<EOF\nFROM evil\nCOPY --from=evil / /\nEOF\nCOPY --from=t / /\n",
        &[],
        &["FROM a 0", "COPY --from t 0"],
    ),
    (
        "here-document behind a command",
        "FROM a\nRUN cat > /x <<'EOF' && true\nFROM evil\nEOF\nFROM b\n",
        &[],
        &["FROM a 0", "FROM b 1"],
    ),
    (
        "here-document of copy",
        "FROM a\nCOPY <<-\"END\" /x\n\tFROM evil\n\tEND\nFROM b\n",
        &[],
        &["FROM a 0", "FROM b 1"],
    ),
    ("two here-documents", "FROM a\nCOPY <<A <<B /d/\nFROM evil\nA\nit's\nB\nFROM b\n", &[], &["FROM a 0", "FROM b 1"]),
    (
        "here-document that says FROM with an apostrophe",
        "FROM a\nRUN --mount=from=m,target=/m <<EOF\nit's \\\nEOF\nFROM b\n",
        &[],
        &["FROM a 0", "mount m 0", "FROM b 1"],
    ),
    ("no here-document", "FROM a\nRUN test $((1<<2)) = 4 && echo \"<<EOF\"\nFROM b\n", &[], &["FROM a 0", "FROM b 1"]),
    (
        "onbuild is for later builds",
        "FROM a\nONBUILD COPY --from=evil / /\nONBUILD RUN --mount=from=evil,target=/ x\n",
        &[],
        &["FROM a 0"],
    ),
    ("shell that looks like json", "FROM a\nRUN [ -e /x ] || true\nFROM b\n", &[], &["FROM a 0", "FROM b 1"]),
    (
        "the same image twice",
        "FROM a AS x\nFROM a\nCOPY --from=a / /\n",
        &[],
        &["FROM a x", "FROM a 1", "COPY --from a 1"],
    ),
    ("an alias hides an image", "FROM alpine AS alpine\nFROM alpine\n", &[], &["FROM alpine alpine"]),
    ("an alias used twice", "FROM a AS x\nFROM b AS x\nCOPY --from=x / /\n", &[], &["FROM a x", "FROM b x"]),
    (
        "everything else",
        "FROM a\nLABEL a=b\nEXPOSE 80\nUSER 1\nWORKDIR /x\nVOLUME /v\nSTOPSIGNAL 9\nSHELL [\"/bin/sh\"]\nHEALTHCHECK --interval=1s CMD true\nENTRYPOINT [\"x\"]\nCMD y\n",
        &[],
        &["FROM a 0"],
    ),
];

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn pinned(reference: &str) -> PinnedInput {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let pull_spec = format!("weir:5000/p/{}@{digest}", reference.split([':', '/']).next().unwrap());
    PinnedInput { reference: reference.into(), pull_spec, digest: Some(digest) }
}

#[test]
fn corpus() {
    for (name, dockerfile, args, expected) in CORPUS {
        let found: Vec<String> = inputs(dockerfile, &owned(args))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .iter()
            .map(|input| format!("{} {} {}", input.kind.as_str(), input.reference, input.stage))
            .collect();
        assert_eq!(found, *expected, "{name}");
    }
}

/// Pinning every input leaves a Dockerfile that still parses and takes in the pinned images and nothing else.
#[test]
fn pinned_corpus_takes_in_the_pins() {
    for (name, dockerfile, args, _) in CORPUS {
        let args = owned(args);
        let Ok(before) = inputs(dockerfile, &args) else { continue };
        let pins: Vec<PinnedInput> = before.iter().map(|input| pinned(&input.reference)).collect();
        let env = owned(&[("GREETING", "it's \"5 $\" \\ `")]);
        let after = pin(dockerfile, &args, &pins, None, &env).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = inputs(&after, &args).unwrap_or_else(|error| panic!("{name}: {error}\n{after}"));
        assert_eq!(found.len(), before.len(), "{name}\n{after}");
        for (old, new) in before.iter().zip(&found) {
            assert_eq!((old.kind, &old.stage), (new.kind, &new.stage), "{name}");
            if old.kind != InputKind::Syntax {
                assert_eq!(new.reference, pinned(&old.reference).pull_spec, "{name}\n{after}");
            }
        }
    }
}

#[test]
fn errors_name_the_line_and_the_remedy() {
    for (dockerfile, line, word) in [
        ("", 1, "FROM"),
        ("# only a comment\n", 1, "FROM"),
        ("RUN x\nFROM a\n", 1, "FROM"),
        ("FROM a\nFORM b\n", 2, "FORM"),
        ("FROM\n", 1, "FROM"),
        ("FROM a b\n", 1, "AS"),
        ("FROM a # comment\n", 1, "AS"),
        ("\n\nFROM ${BASE}\n", 3, "build argument"),
        ("FROM a\nFROM ${BASE#x}\n", 2, "not supported"),
        ("FROM A/B:c\n", 1, "reference"),
        ("FROM dir:/etc\n", 1, "reference"),
        ("FROM oci-archive:/srv/x.tar\n", 1, "reference"),
        ("FROM docker://a\n", 1, "reference"),
        ("FROM a AS 1x\n", 1, "name a stage"),
        ("FROM a\nCOPY --from=3 / /\n", 2, "stage above"),
        ("FROM a\nCOPY --from=later / /\nFROM b AS later\n", 2, "stage above"),
        ("FROM a\nCOPY --from / /\n", 2, "--from needs a value"),
        ("FROM a\nRUN --mount=from=,target=/x y\n", 2, "names nothing"),
        ("FROM a\nONBUILD FROM b\n", 2, "ONBUILD"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "EOF"),
    ] {
        let error = inputs(dockerfile, &[]).expect_err(dockerfile);
        assert!(error.line == line && error.message.contains(word), "{dockerfile:?}: {error}");
    }
}

#[test]
fn pins_in_place_and_sets_the_environment() {
    let dockerfile = "# hello\r\nARG V=1\r\nFROM --platform=linux/amd64 base:$V AS b\r\nRUN x\r\nFROM b\r\n\
        COPY --from=tools --chown=1 / /\r\nRUN --mount=type=bind,from=m:2,target=/m y\r\n";
    let pins = ["base:1", "tools", "m:2"].map(pinned);
    let env = owned(&[("A", "1"), ("B", "a \"b\" $c")]);
    insta::assert_snapshot!(pin(dockerfile, &[], &pins, None, &env).unwrap().replace('\r', ""), @r#"
    # hello
    ARG V=1
    FROM --platform=linux/amd64 weir:5000/p/base@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa AS b
    ENV A="1" B="a \"b\" \$c"
    RUN x
    FROM b
    ENV A="1" B="a \"b\" \$c"
    COPY --from=weir:5000/p/tools@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --chown=1 / /
    RUN --mount=type=bind,from=weir:5000/p/m@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,target=/m y
    "#);
    assert_eq!(pin(dockerfile, &[], &[], None, &[]).unwrap(), dockerfile, "nothing to pin, nothing changed");
}

#[test]
fn the_strategys_image_replaces_the_last_from() {
    let dockerfile = "FROM a AS x\nFROM ${UNSET} AS final\nCOPY --from=x / /\n";
    let strategy = pinned("httpd-base:latest");
    let after = pin(dockerfile, &[], &[], Some(&strategy), &[]).unwrap();
    assert_eq!(after, format!("FROM a AS x\nFROM {} AS final\nCOPY --from=x / /\n", strategy.pull_spec));
    let found = inputs_with_strategy(dockerfile, &[], "httpd-base:latest").unwrap();
    assert_eq!(found[1].kind, InputKind::Strategy);
    assert_eq!((found[1].reference.as_str(), found[1].stage.as_str()), ("httpd-base:latest", "final"));
}

#[test]
fn a_config_takes_in_its_strategys_image_and_what_that_does_not_replace() {
    let spec = BuildConfigSpec {
        source: crate::model::Source::default(),
        strategy_from: Some(StrategyFrom::ImageStreamTag("httpd-base:latest".to_owned())),
        build_args: Vec::new(),
        env: Vec::new(),
        no_cache: false,
        output_stream: "app".parse().unwrap(),
        output_tag: "latest".parse().unwrap(),
    };
    for (dockerfile, expected) in [
        ("FROM a", vec!["httpd-base:latest"]),
        ("FROM scratch", vec!["httpd-base:latest"]),
        // The last FROM names a stage: what the stage is made from stays.
        ("FROM a AS x\nFROM x", vec!["httpd-base:latest", "a"]),
        ("FROM a AS x\nFROM b\nCOPY --from=x / /", vec!["httpd-base:latest", "a"]),
    ] {
        let found = inputs_of_config(dockerfile, &spec, "demo", &[]).unwrap();
        let found: Vec<&str> = found.iter().map(|input| input.reference.as_str()).collect();
        assert_eq!(found, expected, "{dockerfile}");
    }
}

#[test]
fn the_base_is_found_through_stages() {
    for (dockerfile, expected) in [
        ("FROM a", Some("a")),
        ("FROM scratch", None),
        ("FROM a AS x\nFROM b", Some("b")),
        ("FROM a AS x\nFROM b\nFROM X", Some("a")),
        ("FROM scratch AS x\nFROM x AS y\nFROM y", None),
        ("FROM a AS x\nFROM b AS x\nFROM x", Some("b")),
    ] {
        assert_eq!(base(dockerfile, &[], None).unwrap().as_deref(), expected, "{dockerfile}");
    }
    assert_eq!(base("FROM a\nFROM b", &[], Some("s")).unwrap().as_deref(), Some("s"));
}

#[test]
fn an_instruction_is_appended_to_any_ending() {
    for ending in ["FROM a", "FROM a\n", "FROM a\r\n", "FROM a\nRUN x \\\n", "FROM a\nRUN x \\"] {
        let text = append(ending, "COPY --from=t / /");
        assert_eq!(inputs(&text, &[]).unwrap().len(), 2, "{text:?}");
    }
}

#[test]
fn refuses_an_environment_a_dockerfile_cannot_carry() {
    assert!(env_instruction(&owned(&[("A", "x\ny")]), '\\').is_err());
    assert!(env_instruction(&owned(&[("A B", "x")]), '\\').is_err());
    assert_eq!(env_instruction(&owned(&[("A", "C:\\x `y`")]), '`').unwrap(), "ENV A=\"C:\\x ``y``\"");
}

proptest::proptest! {
    /// Whatever a user saves as a Dockerfile is read or refused; it takes nothing down.
    #[test]
    fn survives_anything(parts in proptest::collection::vec(proptest::sample::select(vec![
        "FROM ", "a", " AS x", "\n", "\r\n", "RUN ", "COPY ", "--from=", "--mount=", "from=", ",", "\"", "'", "\\", "`", "<<EOF", "<<", "EOF",
        "ARG ", "ENV ", "X", "=", "${", "}", ":-", "$X", "# ", "escape=`", "syntax=", "ONBUILD ", " ", "\t", "é", "[", "]", "\u{feff}", "{",
    ]), 0..40)) {
        let text = parts.concat();
        if let Ok(found) = inputs(&text, &[]) {
            let pins: Vec<PinnedInput> = found.iter().map(|input| pinned(&input.reference)).collect();
            proptest::prop_assert!(pin(&text, &[], &pins, None, &[]).is_ok());
        }
    }
}
