//! Sections 2.1 and 2.3 of the semantics: what a text is taken apart into, or how it is refused.
//!
//! `<D>` stands for a digest, `<H>` for its hexadecimal part, `<255>` for so many letters. A `-` is an empty part.

use super::HEX;
use crate::model::ImageReference;

/// `input  registry namespace name tag id`
const READ: &str = "
foo                              -                    -            foo            -       -
f                                -                    -            f              -       -
1                                -                    -            1              -       -
foo:tag                          -                    -            foo            tag     -
foo:latest                       -                    -            foo            latest  -
foo:5000                         -                    -            foo            5000    -
foo:T                            -                    -            foo            T       -
foo:_                            -                    -            foo            _       -
foo:_x                           -                    -            foo            _x      -
foo:v1.0-rc_1                    -                    -            foo            v1.0-rc_1 -
foo:a..b                         -                    -            foo            a..b    -
foo:a--b                         -                    -            foo            a--b    -
foo:1-                           -                    -            foo            1-      -
foo:1.                           -                    -            foo            1.      -
foo:<128>                          -                    -            foo            <128>     -
foo@<D>                            -                    -            foo            -       <D>
foo:t@<D>                          -                    -            foo            t       <D>
foo:latest@<D>                     -                    -            foo            latest  <D>
foo-bar                          -                    -            foo-bar        -       -
foo--bar                         -                    -            foo--bar       -       -
foo---bar                        -                    -            foo---bar      -       -
foo_bar                          -                    -            foo_bar        -       -
foo__bar                         -                    -            foo__bar       -       -
a-1_b                            -                    -            a-1_b          -       -
bar/foo                          -                    bar          foo            -       -
bar/foo:t                        -                    bar          foo            t       -
bar/foo@<D>                        -                    bar          foo            -       <D>
bar/foo:t@<D>                      -                    bar          foo            t       <D>
bar/foo/baz                      -                    bar          foo/baz        -       -
bar/foo/baz:t                    -                    bar          foo/baz        t       -
bar/foo/baz:t@<D>                  -                    bar          foo/baz        t       <D>
a/b/c/d/e                        -                    a            b/c/d/e        -       -
a__b/c-----d_e.f:_x              -                    a__b         c-----d_e.f    _x      -
a_b/c                            -                    a_b          c              -       -
a-b/c                            -                    a-b          c              -       -
foo/bar.baz                      -                    foo          bar.baz        -       -
foo/localhost                    -                    foo          localhost      -       -
foo/b.c/d                        -                    foo          b.c/d          -       -
library/foo                      -                    library      foo            -       -
Foo/bar                          -                    Foo          bar            -       -
FOO/bar:t                        -                    FOO          bar            t       -
F-o-O/bar                        -                    F-o-O        bar            -       -
localhostfoo/bar                 -                    localhostfoo bar            -       -
localhosts/bar/baz               -                    localhosts   bar/baz        -       -
LOCALHOST/bar                    -                    LOCALHOST    bar            -       -
bar:5000/baz                     bar:5000             -            baz            -       -
bar:5000/baz:t                   bar:5000             -            baz            t       -
bar:5000/baz@<D>                   bar:5000             -            baz            -       <D>
bar:5000/foo/baz                 bar:5000             foo          baz            -       -
bar:5000/foo/baz:t               bar:5000             foo          baz            t       -
bar:5000/foo/baz:t@<D>             bar:5000             foo          baz            t       <D>
bar:5000/foo/baz/qux             bar:5000             foo          baz/qux        -       -
bar:0/baz                        bar:0                -            baz            -       -
bar:99999999/baz                 bar:99999999         -            baz            -       -
BAR:5000/baz                     BAR:5000             -            baz            -       -
b-a-r:1/baz                      b-a-r:1              -            baz            -       -
localhost/bar                    localhost            -            bar            -       -
localhost/bar:t                  localhost            -            bar            t       -
localhost/foo/bar                localhost            foo          bar            -       -
localhost:5000/bar               localhost:5000       -            bar            -       -
localhost:5000/foo/bar:t@<D>       localhost:5000       foo          bar            t       <D>
127.0.0.1/a                      127.0.0.1            -            a              -       -
127.0.0.1:5000/a/b/c:V1          127.0.0.1:5000       a            b/c            V1      -
1.2.3.4:5/x                      1.2.3.4:5            -            x              -       -
quay.io/org                      quay.io              -            org            -       -
quay.io/org:t                    quay.io              -            org            t       -
quay.io/org@<D>                    quay.io              -            org            -       <D>
quay.io/org/app                  quay.io              org          app            -       -
quay.io/org/app:v1               quay.io              org          app            v1      -
quay.io/org/app:v1@<D>             quay.io              org          app            v1      <D>
quay.io/a/b/c/d                  quay.io              a            b/c/d          -       -
Quay.IO/org/app                  Quay.IO              org          app            -       -
quay.io:443/org                  quay.io:443          -            org            -       -
a.b/c                            a.b                  -            c              -       -
a.b.c.d.e/f/g                    a.b.c.d.e            f            g              -       -
a-b.c-d/e                        a-b.c-d              -            e              -       -
a.b/c.d                          a.b                  -            c.d            -       -
a.b/c.d/e.f                      a.b                  c.d          e.f            -       -
x.y/z__w                         x.y                  -            z__w           -       -
xn--n3h.com/myimage:xn--n3h.com  xn--n3h.com          -            myimage        xn--n3h.com -
docker.io/foo                    docker.io            -            foo            -       -
docker.io/library/foo            docker.io            library      foo            -       -
docker.io/library/a/b            docker.io            library      a/b            -       -
docker.io/user/app:1             docker.io            user         app            1       -
docker.io/user/p/app             docker.io            user         p/app          -       -
docker.io/user/p/app@<D>           docker.io            user         p/app          -       <D>
docker.io:443/foo                docker.io:443        -            foo            -       -
index.docker.io/foo              index.docker.io      -            foo            -       -
registry-1.docker.io/user/foo:1  registry-1.docker.io user         foo            1       -
gcr.io/distroless/static:nonroot gcr.io               distroless   static         nonroot -
ghcr.io/org/team/app@<D>           ghcr.io              org          team/app       -       <D>
mcr.microsoft.com/dotnet/sdk:8.0 mcr.microsoft.com    dotnet       sdk            8.0     -
registry.k8s.io/pause:3.9        registry.k8s.io      -            pause          3.9     -
registry.access.redhat.com/ubi9/ubi-minimal registry.access.redhat.com ubi9 ubi-minimal - -
public.ecr.aws/docker/library/redis:7 public.ecr.aws  docker       library/redis  7       -
1234.dkr.ecr.eu-west-1.amazonaws.com/app:x 1234.dkr.ecr.eu-west-1.amazonaws.com - app x -
quay.io                          quay.io              -            -              -       -
quay.io:latest                   quay.io:latest       -            -              -       -
foo.bar:tag                      foo.bar:tag          -            -              -       -
foo.bar@<D>                        foo.bar@<D>            -            -              -       -
docker.io                        docker.io            -            -              -       -
localhost                        localhost            -            -              -       -
localhost:5000                   localhost:5000       -            -              -       -
localhostfoo                     localhostfoo         -            -              -       -
localhostfoo:t                   localhostfoo:t       -            -              -       -
localhost-1                      localhost-1          -            -              -       -
python3.12                       python3.12           -            -              -       -
1.2.3.4                          1.2.3.4              -            -              -       -
<D>                                -                    -            sha256         <H>       -
sha256                           -                    -            sha256         -       -
sha256@<D>                         -                    -            sha256         -       <D>
a/<253>                            -                    a            <253>            -       -
h.o/<251>                          h.o                  -            <251>            -       -
<255>                              -                    -            <255>            -       -
";

/// The words of a refusal, and texts refused so.
const REFUSED: &[(&str, &str)] = &[
    (
        "invalid reference format",
        "foo: foo@ :t @ : / // foo/ /foo a//b a/b/ /a/b foo/:t https://x/y http://quay.io/a docker://foo \
         foo@badid foo@sha256 foo@sha256: foo@:<H> foo@<H> foo@sha256:abc foo@sha256:zz foo@@<D> foo@<D>@<D> foo@<D>:t foo:t@ foo:t:u \
         foo:.t foo:-t foo:a/b:c foo:t/u foo:é foo:t+1 foo:t! foo:<129> a___b a..b a._b a_-b a.-b -a a- _a a_ .a a. a/-b a/b- a/.b \
         foo_bar.com:8080/a a_b.c:1/d [::1]:5000/a [fe80::1]/a ::1/a x:/a x:port/a x:-1/a x:5000:1/a a.-b.c:1/d .x:1/a x.:1/a -x:1/a \
         é/a foo/é 中/a foo%20bar foo\\bar foo?x foo#x foo=x $foo ${BASE} * foo/* ~foo a,b a;b 'foo' \"foo\"",
    ),
    (
        "repository name must be lowercase",
        "Foo foO FOO:tag Foo:t@<D> foo/Bar Foo/Bar x:5000/Up/y quay.io/Org/app quay.io/org/App:1 localhost/A FOO.io Python3.12",
    ),
    ("repository name must not be more than 255 characters", "<256> a/<254> h.o/<252> a/<254>:t a/<254>@<D>"),
    (
        "invalid checksum digest length",
        "foo@sha256:00000000000000000000000000000000 foo@<D>0 foo@sha512:<H> foo@sha384:<H> quay.io/a/b:t@sha256:00000000000000000000000000000000",
    ),
    (
        "unsupported digest algorithm",
        "foo@md5:00000000000000000000000000000000 foo@SHA256:<H> foo@Sha256:<H> foo@sha1:<H> foo@sha256+b64:<H> foo@a.b-c_d:<H>",
    ),
    // In this order: the name's length before the digest, the grammar before both.
    ("repository name must not be more than 255 characters", "a/<254>@md5:<H>"),
    ("invalid reference format", "a/<254>@badid Foo@badid"),
];

/// What a word of the tables stands for.
fn fill(word: &str) -> String {
    let mut text = if word == "-" { String::new() } else { word.to_owned() };
    for (mark, meaning) in [("<D>", format!("sha256:{HEX}")), ("<H>", HEX.to_owned())] {
        text = text.replace(mark, &meaning);
    }
    while let Some((before, rest)) = text.split_once('<') {
        let (length, after) = rest.split_once('>').expect("a closed mark");
        text = format!("{before}{}{after}", "b".repeat(length.parse().expect("a length")));
    }
    text
}

#[test]
fn section_2_1_takes_references_apart() {
    for row in READ.lines().filter(|row| !row.is_empty()) {
        let words: Vec<String> = row.split_whitespace().map(fill).collect();
        let [text, expected @ ..] = words.as_slice() else { panic!("{row}") };
        let found: ImageReference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let parts = [&found.registry, &found.namespace, &found.name, &found.tag, &found.id];
        assert!(parts.into_iter().eq(expected), "{text}: {found:?}");
        assert_eq!(String::from(found.clone()), *text, "written again");
        assert_eq!(found.name.is_empty(), found.exact().is_empty());
    }
}

#[test]
fn section_2_3_refuses_with_the_words_docker_users_know() {
    let mut rows: Vec<(&str, String)> = Vec::new();
    for (message, texts) in REFUSED {
        rows.extend(texts.split_whitespace().map(|text| (*message, fill(text))));
    }
    let odd = ["foo bar", " foo", "foo ", "foo\n", "foo\t", "foo\0", "foo:t\r\n"];
    rows.extend(odd.map(|text| ("invalid reference format", text.to_owned())));
    rows.push(("repository name must have at least one component", String::new()));
    for (message, text) in &rows {
        let error = text.parse::<ImageReference>().expect_err(text);
        assert_eq!(error.to_string(), *message, "{text}");
    }
}

#[test]
fn the_tables_hold_what_they_promise() {
    let read = READ.lines().filter(|row| !row.is_empty()).count();
    let refused: usize = REFUSED.iter().map(|(_, texts)| texts.split_whitespace().count()).sum();
    assert!(read + refused >= 150 && read >= 100, "{read} read, {refused} refused");
}
