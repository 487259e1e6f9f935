//! What things are found by, and what somebody looks for.
//!
//! A term is found by its beginning, so a name has one for each of its words, from there to its end: `httpd-base` is found by `httpd`,
//! `httpd-b` and `base`, and not by `ttp`.

use std::collections::{BTreeMap, BTreeSet};

use super::{DigestPrefix, ImageConfig};

/// A longer text is not looked for to its end.
const LONGEST: usize = 120;
/// Of one thing. An image with more labels than this is found by the first of them.
const MOST: usize = 160;
/// More words of a description say nothing new.
const MOST_WORDS: usize = 32;
/// So many words are looked for at once.
pub const SEARCHED_WORDS: usize = 3;

/// What can be found, by the words before a colon.
const KINDS: [&str; 5] = ["stream", "tag", "image", "build", "app"];

/// Where a term comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SearchField {
    Name,
    Description,
    Source,
    Label,
    Env,
    Port,
    Base,
}

impl SearchField {
    /// As it is stored, and written before a colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Description => "description",
            Self::Source => "source",
            Self::Label => "label",
            Self::Env => "env",
            Self::Port => "port",
            Self::Base => "base",
        }
    }
}

/// The terms of one thing, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchTerms(BTreeSet<(SearchField, String)>);

impl SearchTerms {
    /// Of a stream; labels are a JSON object of text.
    pub fn of_stream(name: &str, description: &str, labels: &str) -> Self {
        let mut terms = Self::default();
        terms.add_words(SearchField::Name, name, &['-', '_', '.']);
        for word in description.split_whitespace().take(MOST_WORDS) {
            terms.add(SearchField::Description, word.trim_matches(|c: char| !c.is_alphanumeric()));
        }
        terms.add_labels(&pairs(labels));
        terms
    }

    /// Of a tag; its source is what it imports, follows or is pinned to.
    pub fn of_tag(name: &str, source: Option<&str>) -> Self {
        let mut terms = Self::default();
        terms.add_words(SearchField::Name, name, &['-', '_', '.']);
        terms.add_words(SearchField::Source, source.unwrap_or_default(), &['/', ':', '@', '-']);
        terms
    }

    /// Of a build or an app.
    pub fn of_name(name: &str) -> Self {
        let mut terms = Self::default();
        terms.add_words(SearchField::Name, name, &['-']);
        terms
    }

    /// Of an image, but for its base; annotations are a JSON object of text, and count as labels do. Values of variables may be secrets:
    /// only names.
    pub fn of_image(config: &ImageConfig, annotations: &str) -> Self {
        let mut terms = Self::default();
        let annotations = pairs(annotations);
        for pair in &config.config.env {
            terms.add_words(SearchField::Env, pair.split('=').next().unwrap_or_default(), &['_']);
        }
        for port in &config.config.exposed_ports {
            terms.add(SearchField::Port, port);
        }
        terms.add_labels(&config.config.labels);
        terms.add_labels(&annotations);
        terms
    }

    /// Adds an image that this one is built on, as far as it is known.
    pub fn add_base(&mut self, name: Option<&str>, digest: Option<&str>) {
        self.add_words(SearchField::Base, name.unwrap_or_default(), &['/', ':', '-']);
        self.add_words(SearchField::Base, digest.unwrap_or_default(), &[':']);
    }

    /// Whether it is found by nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Field and term, each pair once.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(field, term)| (field.as_str(), term.as_str()))
    }

    fn add_labels(&mut self, labels: &BTreeMap<String, String>) {
        for (name, value) in labels {
            self.add(SearchField::Label, &format!("{name}={value}"));
            self.add(SearchField::Label, value);
        }
    }

    /// The text, and what is left of it behind each of the marks.
    fn add_words(&mut self, field: SearchField, text: &str, marks: &[char]) {
        // Cut first: behind each mark all of what is left is looked at.
        let text: String = text.trim().chars().take(4 * LONGEST).collect();
        self.add(field, &text);
        for (at, mark) in text.match_indices(marks) {
            self.add(field, &text[at + mark.len()..]);
        }
    }

    fn add(&mut self, field: SearchField, text: &str) {
        let term = normal(text);
        if !term.is_empty() && self.0.len() < MOST {
            self.0.insert((field, term));
        }
    }
}

/// The annotations by which builders say what they built on (OCI image-spec, "Pre-Defined Annotation Keys").
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of [`BASE_NAME`].
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// `<stream>:<tag>` as a term.
pub fn title_term(stream: &str, tag: &str) -> String {
    normal(&format!("{stream}:{tag}"))
}

/// In lower case, without what no database can keep.
fn normal(text: &str) -> String {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    text.to_lowercase()
}

fn pairs(json: &str) -> BTreeMap<String, String> {
    serde_json::from_str(json).unwrap_or_default()
}

/// What somebody looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// Words that all have to be found, in lower case. At least one, at most [`SEARCHED_WORDS`].
    pub words: Vec<String>,
    /// `field:` before them: only there, which is at images and, for labels, at streams.
    pub field: Option<SearchField>,
    /// `app:` and the like before them: only such things. The tags of a stream named `app` are found all the same, as titles.
    pub kind: Option<&'static str>,
    /// The whole may be the beginning of `<stream>:<tag>`.
    pub title: Option<String>,
    /// The whole may be the beginning of a digest.
    pub digest: Option<DigestPrefix>,
    /// It says that it is a digest, and has too few digits to mean one.
    pub is_short_digest: bool,
    /// It has more words than are looked for.
    pub is_cut: bool,
}

/// What is said of a digest with too few digits.
pub const SHORT_DIGEST: &str = "write at least 7 digits of the digest";

impl SearchQuery {
    /// Reads what was typed; none when that is nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let text = normal(text);
        let (field, rest) = match text.split_once(':') {
            Some(("label", rest)) => (Some(SearchField::Label), rest),
            Some(("env", rest)) => (Some(SearchField::Env), rest),
            Some(("port", rest)) => (Some(SearchField::Port), rest),
            Some(("base", rest)) => (Some(SearchField::Base), rest),
            _ => (None, text.as_str()),
        };
        let kind = text.split_once(':').filter(|_| field.is_none());
        let kind = kind.and_then(|(word, rest)| Some((KINDS.into_iter().find(|kind| *kind == word)?, rest)));
        let (kind, rest) = kind.map_or((None, rest), |(kind, rest)| (Some(kind), rest));
        let mut words = words_of(rest, field);
        let is_cut = words.len() > SEARCHED_WORDS;
        words.truncate(SEARCHED_WORDS);
        if text.is_empty() || words.is_empty() && field.is_none() && kind.is_none() {
            return None;
        }
        let is_one_word = !text.contains(char::is_whitespace);
        let title = (is_one_word && text.contains(':')).then(|| text.clone());
        let digest = rest.strip_prefix("digest:").unwrap_or(rest).parse::<DigestPrefix>().ok();
        let digest = digest.filter(|digest| field.is_none() && digest.is_distinct());
        let named = ["digest:", "sha256:", "sha512:"].iter().filter_map(|prefix| rest.strip_prefix(prefix)).next_back();
        let is_short_digest = named.is_some_and(|digits| {
            digits.len() < DigestPrefix::DISTINCT && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let is_short_digest = is_short_digest && field.is_none();
        Some(Self { words, field, kind, title, digest, is_short_digest, is_cut })
    }
}

/// The words of what was typed. A label's value may be several: `team=red & blue` is one term, as it is stored.
fn words_of(text: &str, field: Option<SearchField>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let of_value = field == Some(SearchField::Label) && !word.contains('=');
        match words.last_mut().filter(|last| of_value && last.contains('=')) {
            Some(last) => *last = format!("{last} {word}"),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// From where to where the terms lie that begin so, in the order of their bytes: the second is behind them all.
pub fn beginning_with(word: &str) -> (String, String) {
    (word.to_owned(), format!("{word}\u{10ffff}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(terms: &SearchTerms, field: &str) -> Vec<String> {
        terms.iter().filter(|(found, _)| *found == field).map(|(_, term)| term.to_owned()).collect()
    }

    #[test]
    fn names_are_found_by_each_of_their_words() {
        let stream = SearchTerms::of_stream("httpd-base_2", "The team's (web) server", r#"{"team":"Web"}"#);
        assert_eq!(of(&stream, "name"), ["2", "base_2", "httpd-base_2"]);
        assert_eq!(of(&stream, "description"), ["server", "team's", "the", "web"]);
        assert_eq!(of(&stream, "label"), ["team=web", "web"]);
        let tag = SearchTerms::of_tag("V1.2-rc", Some("docker.io/library/python:3.6"));
        assert_eq!(of(&tag, "name"), ["2-rc", "rc", "v1.2-rc"]);
        assert_eq!(of(&tag, "source"), ["3.6", "docker.io/library/python:3.6", "library/python:3.6", "python:3.6"]);
    }

    #[test]
    fn images_are_found_by_what_they_are_made_of() {
        let config: ImageConfig = serde_json::from_str(
            r#"{"config": {"Env": ["PATH=/bin", "DB_PASSWORD=hunter2"], "ExposedPorts": {"8080/tcp": {}},
                "Labels": {"maintainer": "ada"}}}"#,
        )
        .unwrap();
        let mut terms = SearchTerms::of_image(&config, r#"{"maintainer": "ada"}"#);
        assert!(of(&terms, "base").is_empty() && !terms.is_empty());
        terms.add_base(Some("docker.io/library/python:3.12"), None);
        terms.add_base(None, Some("sha256:3c87"));
        assert_eq!(of(&terms, "env"), ["db_password", "password", "path"]);
        assert_eq!(of(&terms, "port"), ["8080/tcp"]);
        assert!(
            of(&terms, "base").contains(&"python:3.12".to_owned()) && of(&terms, "base").contains(&"3c87".to_owned())
        );
        assert!(of(&terms, "label").contains(&"maintainer=ada".to_owned()));
        assert!(terms.iter().all(|(_, term)| !term.contains("hunter2")), "values of variables are nobody's business");
        let many: String = (0..500).map(|n| format!("\"l{n}\":\"{}\",", "x".repeat(1000))).collect();
        let many = SearchTerms::of_image(&ImageConfig::default(), &format!("{{{}\"z\":\"\\u0000\"}}", many));
        assert!(many.iter().count() <= MOST && many.iter().all(|(_, term)| term.chars().count() <= LONGEST));
    }

    #[test]
    fn of_a_long_text_only_the_beginning_is_looked_at() {
        let long = format!("{}/needle", "a/b-".repeat(200));
        let terms = of(&SearchTerms::of_tag("x", Some(&long)), "source");
        assert!(!terms.iter().any(|term| term.contains("needle")), "{terms:?}");
        let short = format!("{}/needle", "a/b-".repeat(100));
        assert!(of(&SearchTerms::of_tag("x", Some(&short)), "source").contains(&"needle".to_owned()));
    }

    #[test]
    fn what_is_typed_is_read_as_what_it_may_be() {
        let read = |text: &str| SearchQuery::parse(text).unwrap();
        assert_eq!(SearchQuery::parse("  \n"), None);
        assert_eq!(read(" HTTPD "), SearchQuery { words: vec!["httpd".into()], ..SearchQuery::default() });
        let cut = read("web 8080 a b");
        assert_eq!((cut.words, cut.is_cut), (vec!["web".into(), "8080".into(), "a".into()], true));
        assert!(!read("web 8080 a").is_cut);
        assert_eq!(read("label:team=Red & Blue app=x").words, ["team=red & blue", "app=x"]);
        assert_eq!(read("label:red blue").words, ["red", "blue"]);
        assert_eq!(read("team=red blue").words, ["team=red", "blue"]);
        let title = read("web:la");
        assert_eq!((title.title.as_deref(), title.field, title.kind), (Some("web:la"), None, None));
        let app = read("app:web");
        assert_eq!(
            (app.kind, app.title.as_deref()),
            (Some("app"), Some("app:web")),
            "or the tag of a stream named app"
        );
        assert_eq!(app.words, ["web"]);
        let base = read("base:Python:3.12");
        assert_eq!((base.field, base.words), (Some(SearchField::Base), vec!["python:3.12".to_owned()]));
        assert_eq!(base.title.as_deref(), Some("base:python:3.12"), "there may be a stream named base");
        assert_eq!(read("label:team=web").field, Some(SearchField::Label));
        assert_eq!(read("port:8080").words, ["8080"]);
        for text in ["3c87c57", "sha256:3c87c57", "digest:3c87c57", "SHA256:3C87C57"] {
            assert!(read(text).digest.is_some(), "{text}");
        }
        assert_eq!(read("3c87").digest, None);
        assert_eq!(read("label:3c87c57").digest, None);
        for text in ["sha256:", "sha256:3c87", "digest:", "SHA512:3c", "image:sha256:3c"] {
            assert!(read(text).is_short_digest && read(text).digest.is_none(), "{text}");
        }
        for text in ["3c87", "sha256:3c87c57", "sha256:latest", "base:sha256:3c", "digest"] {
            assert!(!read(text).is_short_digest, "{text}");
        }
    }

    #[test]
    fn a_beginning_is_a_range_of_bytes() {
        let (from, to) = beginning_with("app");
        for inside in ["app", "app-a", "app:1", "apple", "app\u{ffff}"] {
            assert!(from.as_str() <= inside && inside < to.as_str(), "{inside}");
        }
        for outside in ["ap", "apo", "apq", "b"] {
            assert!(!(from.as_str() <= outside && outside < to.as_str()), "{outside}");
        }
    }
}
