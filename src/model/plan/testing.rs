//! Small graphs for the tests.

use std::collections::BTreeMap;

use super::{Graph, GraphApp, GraphConfig, GraphInput, GraphTag};

fn tag(name: &str) -> GraphTag {
    GraphTag {
        id: name.into(),
        project: "p".into(),
        stream: name.into(),
        tag: "latest".into(),
        digest: Some(format!("sha256:{:0<64}", hex::encode(name))),
        held: false,
        follows: None,
        imports: None,
        failing: false,
    }
}

fn config(name: &str, inputs: &[&str]) -> GraphConfig {
    let input = |name: &&str| GraphInput {
        kind: "FROM".into(),
        reference: (*name).into(),
        tag: Some((*name).into()),
        used_digest: tag(name).digest,
        triggering: true,
    };
    GraphConfig {
        id: format!("c-{name}"),
        project: "p".into(),
        name: name.into(),
        output: name.into(),
        inputs: inputs.iter().map(input).collect(),
        automatic: true,
        last: Some(("Complete".into(), 1)),
        usual_ms: Some(1000),
    }
}

fn app(name: &str, from: &str) -> GraphApp {
    GraphApp {
        id: format!("a-{name}"),
        project: "p".into(),
        name: name.into(),
        tag: from.into(),
        automatic: true,
        held: false,
        replicas: 2,
        ready: 2,
        digest: tag(from).digest,
    }
}

/// base → x, y → z → web
pub fn diamond() -> Graph {
    Graph {
        tags: ["base", "x", "y", "z"].into_iter().map(tag).collect(),
        configs: vec![config("x", &["base"]), config("y", &["base"]), config("z", &["x", "y"])],
        apps: vec![app("web", "z")],
        only_tied: false,
        frozen: BTreeMap::new(),
    }
}

/// base → x → web
pub fn two_steps() -> Graph {
    Graph {
        tags: ["base", "x"].into_iter().map(tag).collect(),
        configs: vec![config("x", &["base"])],
        apps: vec![app("web", "x")],
        only_tied: false,
        frozen: BTreeMap::new(),
    }
}

/// base → as many builds, each with its tag and its app
pub fn fan(count: usize) -> Graph {
    let names: Vec<String> = (0..count).map(|index| format!("x{index:04}")).collect();
    Graph {
        tags: std::iter::once("base").chain(names.iter().map(String::as_str)).map(tag).collect(),
        configs: names.iter().map(|name| config(name, &["base"])).collect(),
        apps: names.iter().map(|name| app(name, name)).collect(),
        only_tied: false,
        frozen: BTreeMap::new(),
    }
}
