//! What a graph shows: external images, tags, builds and apps as nodes, and what flows between them as edges.

use std::collections::BTreeMap;

use crate::model::{Graph, GraphApp, GraphConfig, GraphTag, shortened};

/// What a node stands for; each has its own shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An image of another registry.
    External,
    /// A stream's tag.
    Tag,
    /// A build config.
    Build,
    App,
    /// Many nodes of one layer, drawn as one.
    Group,
}

impl Kind {
    /// The kind in words.
    pub fn word(self) -> &'static str {
        match self {
            Self::External => "external image",
            Self::Tag => "tag",
            Self::Build => "build",
            Self::App => "app",
            Self::Group => "group",
        }
    }

    /// The word for several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::External => "external images",
            Self::Tag => "tags",
            Self::Build => "builds",
            Self::App => "apps",
            Self::Group => "groups",
        }
    }
}

/// How a node fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Plain,
    Ok,
    Running,
    Warn,
    Held,
    Fail,
}

/// One thing in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Names it in addresses: `tag:base:latest`, `build:httpd-base`, `app:web`, `external:docker.io/…`.
    pub key: String,
    /// The store's id; an external image's reference; empty for a group.
    pub id: String,
    pub kind: Kind,
    pub project: String,
    pub name: String,
    /// What stands below the name.
    pub sub: String,
    pub state: State,
    /// The state in words.
    pub word: String,
    /// Its page.
    pub href: Option<String>,
    /// Nodes it stands for.
    pub count: usize,
    /// In which wave it is reached, in impact mode.
    pub wave: Option<u32>,
}

/// What flows from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// `FROM`, `COPY --from`, `follows`, `imports`, `builds`, `deploys`
    pub label: String,
    /// A change flows along it by itself.
    pub on: bool,
    /// What is in use at its end is not the newest.
    pub behind: bool,
}

/// Nodes and edges, before they are laid out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

impl Picture {
    /// The picture of a project's graph. What belongs to other projects carries their name.
    pub fn of(graph: &Graph, project: &str) -> Self {
        let tags = graph.tags.iter().map(|tag| (tag.id.as_str(), tag)).collect();
        let mut drawing = Making { project, tags, picture: Self::default(), by_id: BTreeMap::new() };
        for tag in &graph.tags {
            drawing.tag(tag);
        }
        for config in &graph.configs {
            drawing.config(config);
        }
        for app in &graph.apps {
            drawing.app(app);
        }
        for tag in &graph.tags {
            drawing.edges_of_tag(tag);
        }
        for config in &graph.configs {
            drawing.edges_of_config(config);
        }
        for app in &graph.apps {
            drawing.edge_of_app(app);
        }
        drawing.picture
    }

    /// Index of the node with that key.
    pub fn find(&self, key: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.key == key)
    }
}

struct Making<'a> {
    project: &'a str,
    tags: BTreeMap<&'a str, &'a GraphTag>,
    picture: Picture,
    by_id: BTreeMap<String, usize>,
}

impl Making<'_> {
    fn add(&mut self, node: Node) -> usize {
        let index = self.picture.nodes.len();
        self.by_id.insert(node.id.clone(), index);
        self.picture.nodes.push(node);
        index
    }

    /// The name, with its project when that is another.
    fn named(&self, project: &str, name: String) -> String {
        if project == self.project { name } else { format!("{project}/{name}") }
    }

    /// The tag points to another digest than the one in use.
    fn is_behind(&self, tag: Option<&str>, used: Option<&String>) -> bool {
        let newest = tag.and_then(|id| self.tags.get(id)).and_then(|tag| tag.digest.as_ref());
        newest.is_some() && newest != used
    }

    fn tag(&mut self, tag: &GraphTag) {
        let name = self.named(&tag.project, format!("{}:{}", tag.stream, tag.tag));
        let (state, word) = match tag {
            _ if tag.failing => (State::Fail, "import failing"),
            _ if tag.held => (State::Held, "held"),
            GraphTag { digest: None, .. } => (State::Warn, "no image yet"),
            _ => (State::Ok, "ok"),
        };
        let digest = tag.digest.as_deref().map(digest7);
        let sub = match (digest, word) {
            (Some(digest), "ok") => digest,
            (Some(digest), word) => format!("{digest} · {word}"),
            (None, word) => word.to_owned(),
        };
        self.add(Node {
            key: format!("tag:{name}"),
            id: tag.id.clone(),
            kind: Kind::Tag,
            project: tag.project.clone(),
            href: Some(format!("/p/{}/streams/{}/tags/{}", tag.project, tag.stream, tag.tag)),
            name,
            sub,
            state,
            word: word.to_owned(),
            count: 1,
            wave: None,
        });
    }

    fn config(&mut self, config: &GraphConfig) {
        let name = self.named(&config.project, config.name.clone());
        let newer = config
            .inputs
            .iter()
            .any(|input| input.triggering && self.is_behind(input.tag.as_deref(), input.used_digest.as_ref()));
        let (state, word) = match config.last.as_ref().map(|(phase, number)| (phase.as_str(), number)) {
            Some(("New", number)) => (State::Running, format!("#{number} queued")),
            Some(("Pending" | "Running", number)) => (State::Running, format!("#{number} running")),
            Some((phase @ ("Failed" | "Error"), number)) => {
                (State::Fail, format!("#{number} {}", phase.to_lowercase()))
            }
            Some((_, number)) if newer => (State::Warn, format!("#{number} · newer input")),
            Some((phase, number)) => (
                if phase == "Complete" { State::Ok } else { State::Plain },
                format!("#{number} {}", phase.to_lowercase()),
            ),
            None => (State::Plain, "never built".to_owned()),
        };
        self.add(Node {
            key: format!("build:{name}"),
            id: config.id.clone(),
            kind: Kind::Build,
            project: config.project.clone(),
            href: Some(format!("/p/{}/builds/{}", config.project, config.name)),
            name,
            sub: word.clone(),
            state,
            word,
            count: 1,
            wave: None,
        });
    }

    fn app(&mut self, app: &GraphApp) {
        let name = self.named(&app.project, app.name.clone());
        let (state, word) = match app {
            _ if app.held => (State::Held, "held"),
            GraphApp { digest: None, .. } => (State::Warn, "no image yet"),
            _ if app.ready < app.replicas => (State::Warn, "not ready"),
            _ if self.is_behind(Some(&app.tag), app.digest.as_ref()) => (State::Warn, "behind"),
            _ => (State::Ok, "in step"),
        };
        self.add(Node {
            key: format!("app:{name}"),
            id: app.id.clone(),
            kind: Kind::App,
            project: app.project.clone(),
            href: Some(format!("/p/{}/apps/{}", app.project, app.name)),
            name,
            sub: format!("{}/{} ready · {word}", app.ready, app.replicas),
            state,
            word: word.to_owned(),
            count: 1,
            wave: None,
        });
    }

    fn external(&mut self, reference: &str) -> usize {
        if let Some(index) = self.by_id.get(reference) {
            return *index;
        }
        let name = reference.rsplit_once('/').map_or(reference, |(_, name)| name).to_owned();
        let sub = reference.rsplit_once('/').map_or("docker.io", |(host, _)| host).to_owned();
        self.add(Node {
            key: format!("external:{reference}"),
            id: reference.to_owned(),
            kind: Kind::External,
            project: String::new(),
            name,
            sub,
            state: State::Plain,
            word: "not kept here".to_owned(),
            href: None,
            count: 1,
            wave: None,
        })
    }

    fn edge(&mut self, from: usize, to: usize, label: &str, on: bool, behind: bool) {
        let known = self.picture.edges.iter_mut().rev().take(64).find(|edge| edge.from == from && edge.to == to);
        match known {
            // Two instructions that take in the same image are one edge.
            Some(edge) if edge.label.split(", ").any(|part| part == label) => edge.on |= on,
            Some(edge) => {
                edge.label = format!("{}, {label}", edge.label);
                edge.on |= on;
                edge.behind |= behind;
            }
            None => self.picture.edges.push(Edge { from, to, label: label.to_owned(), on, behind }),
        }
    }

    fn edges_of_tag(&mut self, tag: &GraphTag) {
        let Some(to) = self.by_id.get(&tag.id).copied() else { return };
        if let Some(reference) = &tag.imports {
            let from = self.external(reference);
            self.edge(from, to, "imports", !tag.held, false);
        }
        if let Some(from) = tag.follows.as_ref().and_then(|id| self.by_id.get(id)).copied() {
            self.edge(from, to, "follows", !tag.held, false);
        }
    }

    fn edges_of_config(&mut self, config: &GraphConfig) {
        let Some(at) = self.by_id.get(&config.id).copied() else { return };
        for input in &config.inputs {
            let (from, on, behind) = match input.tag.as_ref().and_then(|id| self.by_id.get(id)) {
                Some(from) => {
                    let behind = self.is_behind(input.tag.as_deref(), input.used_digest.as_ref());
                    (*from, input.triggering && config.automatic, behind)
                }
                // Nothing tells when an image elsewhere changes.
                None => (self.external(&input.reference), false, false),
            };
            let label = if input.kind == "strategy" { "from" } else { &input.kind };
            self.edge(from, at, label, on, behind);
        }
        if let Some(to) = self.by_id.get(&config.output).copied() {
            let held = self.tags.get(config.output.as_str()).is_some_and(|tag| tag.held);
            self.edge(at, to, "builds", !held, false);
        }
    }

    fn edge_of_app(&mut self, app: &GraphApp) {
        let (Some(from), Some(to)) = (self.by_id.get(&app.tag).copied(), self.by_id.get(&app.id).copied()) else {
            return;
        };
        let behind = self.is_behind(Some(&app.tag), app.digest.as_ref());
        self.edge(from, to, "deploys", app.automatic && !app.held, behind);
    }
}

/// The first seven hex digits.
fn digest7(digest: &str) -> String {
    let short = shortened(digest, 7);
    short.strip_prefix("sha256:").unwrap_or(&short).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::testing::{diamond, two_steps};

    fn edges(picture: &Picture) -> Vec<String> {
        let edge = |edge: &Edge| {
            let line = if edge.on { "→" } else { "⇢" };
            format!("{} {line} {} ({})", picture.nodes[edge.from].name, picture.nodes[edge.to].name, edge.label)
        };
        picture.edges.iter().map(edge).collect()
    }

    #[test]
    fn every_flow_is_an_edge_once() {
        let picture = Picture::of(&diamond(), "p");
        assert_eq!(
            edges(&picture),
            [
                "base:latest → x (FROM)",
                "x → x:latest (builds)",
                "base:latest → y (FROM)",
                "y → y:latest (builds)",
                "x:latest → z (FROM)",
                "y:latest → z (FROM)",
                "z → z:latest (builds)",
                "z:latest → web (deploys)",
            ]
        );
    }

    #[test]
    fn states_are_said_in_words() {
        let mut graph = two_steps();
        graph.tags[0].imports = Some("docker.io/library/busybox:1".to_owned());
        graph.tags[0].failing = true;
        graph.configs[0].last = Some(("Failed".to_owned(), 3));
        graph.apps[0].held = true;
        let picture = Picture::of(&graph, "other");
        let words: Vec<_> = picture.nodes.iter().map(|node| (node.name.as_str(), node.word.as_str())).collect();
        let expected = [
            ("p/base:latest", "import failing"),
            ("p/x:latest", "ok"),
            ("p/x", "#3 failed"),
            ("p/web", "held"),
            ("busybox:1", "not kept here"),
        ];
        assert_eq!(words, expected);
        assert!(edges(&picture).contains(&"p/x:latest ⇢ p/web (deploys)".to_owned()));
    }
}
