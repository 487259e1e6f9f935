//! What a reference comes to: the digest it stands for, what to pull, and why. The one place of these rules, for builds, apps, the console
//! and the REST door; what is known of the tag is looked up by `server::store`.

use std::fmt;

use super::{ConfigInput, ImageReference, LATEST, ReferenceError, SourceKind, StreamTag, Tag};

/// What a reference written in a project names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A stream's tag; `short` when only the stream's name was written.
    Tag { tag: StreamTag, short: bool },
    /// An image of a stream by its digest.
    Image { project: String, stream: String, digest: String, short: bool },
    /// An image elsewhere.
    External(ImageReference),
}

impl Named {
    /// The project whose stream it names; none for an image elsewhere.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Tag { tag, .. } => Some(&tag.project),
            Self::Image { project, .. } => Some(project),
            Self::External(_) => None,
        }
    }

    /// Reads a reference as an engine would, but for what names this registry (by one of `own_hosts`), or by its form can be a stream of
    /// `project`: one component, without registry and namespace.
    pub fn read(reference: &str, project: &str, own_hosts: &[String]) -> Result<Self, ReferenceError> {
        let parsed = ImageReference::of_engine(reference)?;
        let short = parsed.registry.is_empty() && parsed.namespace.is_empty();
        let ours = !parsed.namespace.is_empty() && !parsed.name.contains('/') && own_hosts.contains(&parsed.registry);
        if !short && !ours {
            return Ok(Self::External(parsed));
        }
        let project = if short { project.to_owned() } else { parsed.namespace };
        let stream = parsed.name;
        if !parsed.id.is_empty() {
            return Ok(Self::Image { project, stream, digest: parsed.id, short });
        }
        let tag = if parsed.tag.is_empty() { LATEST.to_owned() } else { parsed.tag };
        Ok(Self::Tag { tag: StreamTag { project, stream, tag }, short })
    }
}

/// What is known of a stream's tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagFacts<'a> {
    pub project: &'a str,
    pub stream: &'a str,
    pub tag: &'a str,
    /// Where its newest move points.
    pub digest: Option<&'a str>,
    /// That move's reference: `<project>/<stream>@<digest>` of the tag's own repository, the same after a slash of another one of this
    /// server, or that of another registry.
    pub reference: Option<&'a str>,
    /// Its reference policy is `Local` now; the moves do not remember the one they came under.
    pub local: bool,
    /// The image elsewhere that it imports, or with `reference_only` just names: itself, or as what it follows does.
    pub external: Option<&'a str>,
    pub reference_only: bool,
    /// What it should be is newer than its newest move: an import is pending, or failed.
    pub newer: bool,
}

impl<'a> TagFacts<'a> {
    /// Of a tag as the store gives it; `newer` is for those who know its import.
    pub fn of(tag: &'a Tag) -> Self {
        let external = tag.source_kind.as_deref() == Some(SourceKind::DockerImage.as_str());
        Self {
            project: &tag.project,
            stream: &tag.stream,
            tag: &tag.name,
            digest: tag.digest.as_deref(),
            reference: tag.reference.as_deref(),
            local: tag.reference_policy == "Local",
            external: tag.refers_to.as_deref().or(tag.source.as_deref().filter(|_| external)),
            reference_only: tag.is_mere_reference(),
            newer: false,
        }
    }

    /// Of what an input of a build stands for; none for an image elsewhere.
    pub fn of_input(input: &'a ConfigInput) -> Option<Self> {
        input.stands_for()?;
        Some(Self {
            project: input.input_project.as_deref()?,
            stream: input.input_stream.as_deref()?,
            tag: input.input_tag.as_deref()?,
            digest: input.digest.as_deref(),
            reference: input.tag_reference.as_deref(),
            local: input.tag_policy.as_deref() == Some("Local"),
            external: input.tag_external.as_deref(),
            reference_only: input.tag_external.is_some() && input.tag_reference_only == Some(1),
            newer: false,
        })
    }

    fn title(&self) -> String {
        format!("{}:{}", self.stream, self.tag)
    }
}

/// Which image of a tag is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The one it has: what builds and triggers take in. Never its source.
    Image,
    /// The last known good one, else what is likely to be there soon.
    Recent,
    /// The one its source should give, which may not be known yet.
    Newest,
}

/// What a reference comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub digest: Option<String>,
    /// What others pull, as the tag's reference policy says.
    pub pull_spec: String,
    /// Where this registry serves it, whatever the policy: what the builds and apps of this server pull.
    pub here: Option<String>,
    /// A newer image is wanted than this one.
    pub newer: bool,
    /// The tag has an image, or just names one.
    pub has_status: bool,
    /// The tag has nothing: what to pull is a guess.
    pub is_tag_empty: bool,
    pub why: Vec<Reason>,
}

/// One step on the way from a reference to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    ShortName {
        stream: String,
        project: String,
    },
    /// The stream is there, but short names do not mean it.
    NotLocal {
        stream: String,
        project: String,
    },
    NoStream {
        stream: String,
        project: String,
    },
    ThisRegistry,
    Elsewhere,
    Digest,
    Points {
        title: String,
        digest: String,
    },
    Move {
        number: i64,
        kind: String,
        actor: String,
    },
    ReferenceOnly,
    PolicyLocal,
    PolicySource,
    KeptHere,
    Newer {
        source: String,
    },
    OnlySource {
        source: String,
    },
    Empty {
        title: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortName { stream, project } => write!(f, "{stream} is a short name for the stream of {project}"),
            Self::NotLocal { stream, project } => write!(
                f,
                "{project} has a stream {stream}, but short names do not mean it: its lookupPolicy.local is false"
            ),
            Self::NoStream { stream, project } => write!(f, "{project} has no stream {stream}"),
            Self::ThisRegistry => f.write_str("it names this registry"),
            Self::Elsewhere => f.write_str("it is no stream of this server: pulled as written"),
            Self::Digest => f.write_str("the digest is written"),
            Self::Points { title, digest } => write!(f, "{title} points to {digest}"),
            Self::Move { number, kind, actor } => write!(f, "since its move #{number}, {kind} by {actor}"),
            Self::ReferenceOnly => {
                f.write_str("the tag only names an image elsewhere: pulled as written, not by digest")
            }
            Self::PolicyLocal => f.write_str("its reference policy is Local: pulled from this registry"),
            Self::PolicySource => f.write_str("its reference policy is Source: pulled from where it was imported from"),
            Self::KeptHere => f.write_str("the image came about here: pulled from this registry"),
            Self::Newer { source } => {
                write!(f, "the import of {source} is pending or failed: this is the last known good image")
            }
            Self::OnlySource { source } => write!(f, "it has no image yet: its source {source} is pulled as written"),
            Self::Empty { title } => write!(f, "{title} has no image yet: a pull works once it has one"),
        }
    }
}

/// Why a tag comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("{0} points to no image yet; push or import one")]
    NoImage(String),
    #[error("the pull spec cannot be determined yet")]
    NotYet,
}

/// Where this registry serves an image.
pub fn served_at(host: &str, project: &str, stream: &str, digest: &str) -> String {
    format!("{host}/{project}/{stream}@{digest}")
}

/// What a move's reference is for those who pull: that of a repository of this server gets the host.
pub fn pulled_from(host: &str, project: &str, stream: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return format!("{host}{reference}");
    }
    let own = reference.strip_prefix(project).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(stream));
    if own.is_some_and(|rest| rest.starts_with('@')) { format!("{host}/{reference}") } else { reference.to_owned() }
}

/// What a tag comes to. `host` is how whoever asks reaches this registry.
pub fn resolve(tag: &TagFacts<'_>, lookup: Lookup, host: &str) -> Result<Resolved, Unresolved> {
    let source = tag.external.filter(|_| !tag.local);
    if lookup == Lookup::Newest && tag.newer {
        return source.map(only_source).ok_or(Unresolved::NotYet);
    }
    if let Some(found) = newest_move(tag, host) {
        return Ok(found);
    }
    match (lookup, source) {
        (Lookup::Image, _) => Err(Unresolved::NoImage(tag.title())),
        (_, Some(source)) => Ok(only_source(source)),
        (_, None) => Ok(Resolved {
            digest: None,
            pull_spec: format!("{host}/{}/{}:{}", tag.project, tag.stream, tag.tag),
            here: None,
            newer: tag.newer,
            has_status: false,
            is_tag_empty: true,
            why: vec![Reason::Empty { title: tag.title() }],
        }),
    }
}

fn newest_move(tag: &TagFacts<'_>, host: &str) -> Option<Resolved> {
    let mut found = Resolved {
        digest: None,
        pull_spec: String::new(),
        here: None,
        newer: tag.newer,
        has_status: true,
        is_tag_empty: false,
        why: Vec::new(),
    };
    if let (true, Some(external)) = (tag.reference_only, tag.external) {
        external.clone_into(&mut found.pull_spec);
        found.why.push(Reason::ReferenceOnly);
        return Some(found);
    }
    let digest = tag.digest?;
    let here = served_at(host, tag.project, tag.stream, digest);
    found.why.push(Reason::Points { title: tag.title(), digest: digest.to_owned() });
    let reference = pulled_from(host, tag.project, tag.stream, tag.reference.unwrap_or(&here));
    let (pull_spec, why) = match (tag.local, reference == here) {
        (true, _) => (here.clone(), Reason::PolicyLocal),
        (false, true) => (here.clone(), Reason::KeptHere),
        (false, false) => (reference, Reason::PolicySource),
    };
    found.why.push(why);
    if let (true, Some(source)) = (tag.newer, tag.external) {
        found.why.push(Reason::Newer { source: source.to_owned() });
    }
    found.digest = Some(digest.to_owned());
    found.here = Some(here);
    Some(Resolved { pull_spec, ..found })
}

fn only_source(source: &str) -> Resolved {
    Resolved {
        digest: source.parse::<ImageReference>().ok().and_then(|reference| reference.digest()).map(String::from),
        pull_spec: source.to_owned(),
        here: None,
        newer: true,
        has_status: false,
        is_tag_empty: false,
        why: vec![Reason::OnlySource { source: source.to_owned() }],
    }
}

#[cfg(test)]
mod tests;
