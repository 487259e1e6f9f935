//! The graph of a project: drawn on the server, with what can be done beside it and all of it once more as a table.

use std::collections::BTreeMap;

use leptos::prelude::*;

use super::graph_parts::{actions, badge, impact_list, table};
use crate::model::{Action, Graph, Plan};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::Empty;
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::graph::{Direction, Drawing, Kind, MOST_NODES, Node, Picture, svg};
use crate::ui::shell::{Page, Section};

/// Rows of the table at once.
pub const ROWS: usize = 50;
/// Members of a group, or nodes found, that are listed beside the drawing.
const LISTED: usize = 100;

/// What the address asks for.
struct Asked<'a> {
    node: String,
    focus: Option<Direction>,
    impact: &'a str,
    group: &'a str,
    text: &'a str,
}

/// `/p/:project/graph`
pub async fn page(cx: Cx) -> PageResult {
    let project = cx.project(Right::View).await?;
    let asked_for = asked_tag(&cx, &project).await?;
    let graph = cx.store().graph(&project.name, asked_for.as_deref()).await?;
    let mut whole = Picture::of(&graph, &project.name);
    if whole.nodes.is_empty() {
        return Ok(Page::new("Graph", empty(&project, graph.only_tied)).within(&project, Section::Graph));
    }
    let text = cx.query("q").trim();
    let found: Vec<Node> = if text.is_empty() {
        Vec::new()
    } else {
        whole.nodes.iter().filter(|node| node.name.contains(text)).cloned().collect()
    };
    let node = match (cx.query("node"), &found[..]) {
        ("", [only]) => only.key.clone(),
        (node, _) => node.to_owned(),
    };
    let asked = Asked {
        node,
        focus: Direction::parse(cx.query("focus")),
        impact: cx.query("impact"),
        group: cx.query("group"),
        text,
    };
    let plan = impact(&cx, &whole, &asked).await?;
    if let Some(plan) = &plan {
        mark_waves(&mut whole, &graph, plan);
    }
    let members: Vec<Node> = match asked.group {
        "" => Vec::new(),
        group => whole.members(group).into_iter().cloned().collect(),
    };
    let chosen = whole.find(&asked.node).map(|index| whole.nodes[index].clone());
    let shown = match asked.focus {
        Some(direction) => whole.clone().focused(&asked.node, direction),
        None => whole.clone(),
    };
    let beside = match (&plan, &chosen) {
        (Some(plan), _) => Some(impact_list(&project, &whole, asked.impact, plan)),
        (None, Some(node)) => Some(node_card(&cx, &project, &whole, node)),
        (None, None) if !members.is_empty() => Some(listed(&cx, "In this group", &members)),
        (None, None) if !text.is_empty() => Some(listed(&cx, "Found", &found)),
        (None, None) => None,
    };
    let (table, toolbar) = (table(&cx, &project, &shown), toolbar(&cx, &asked, shown.nodes.len()));
    let drawing = draw(&cx, &project, shown, &asked);
    let layout = if beside.is_some() { "split" } else { "stack" };
    let body = view! {
        {toolbar}
        {graph.only_tied.then(|| left_out(&project))}
        <div class=layout>
            <div class="stack gap-2">
                <div class="graph-wrap" tabindex="0" role="region" aria-label="Drawing" inner_html=drawing></div>
                <p class="small muted">
                    "A change flows along solid lines by itself; along dashed ones only by hand. Clouds are images of other registries, rounded boxes tags, hexagons builds, squares apps."
                </p>
            </div>
            {beside.map(|beside| view! { <aside class="card stack">{beside}</aside> })}
        </div>
        {table}
    };
    Ok(Page::new("Graph", body).within(&project, Section::Graph))
}

/// Id of the tag that the address names: it is shown even where tags that nothing hangs on are not.
async fn asked_tag(cx: &Cx, project: &InProject) -> Result<Option<String>, UiError> {
    let keys = [cx.query("node"), cx.query("impact")];
    let Some((stream, tag)) = keys.iter().find_map(|key| key.strip_prefix("tag:")?.split_once(':')) else {
        return Ok(None);
    };
    Ok(cx.store().find_tag(&project.name, stream, tag).await?.map(|tag| tag.id))
}

fn left_out(project: &InProject) -> AnyView {
    view! {
        <p class="small muted">
            "This project has many tags. Drawn are those that something is built on, follows or runs; the others are in the "
            <a href=format!("/p/{}/streams", project.name)>"list of streams"</a> "."
        </p>
    }
    .into_any()
}

fn empty(project: &InProject, only_tied: bool) -> AnyView {
    let path = format!("/p/{}", project.name);
    let words = if only_tied {
        "No tag of this project is built on, followed or run yet. What flows between streams, builds and apps appears here."
    } else {
        "Streams, builds and apps appear here with what flows between them."
    };
    view! {
        <Empty heading="Nothing to draw yet">
            <p>{words}</p>
            <p>
                <a class="btn" href=format!("{path}/streams")>
                    "Streams"
                </a>
                " "
                <a class="btn" href=format!("{path}/builds")>
                    "Builds"
                </a>
            </p>
        </Empty>
    }
    .into_any()
}

/// What a change of the node that `?impact=` names would do.
async fn impact(cx: &Cx, picture: &Picture, asked: &Asked<'_>) -> Result<Option<Plan>, UiError> {
    let Some(node) = picture.find(asked.impact).map(|index| &picture.nodes[index]) else { return Ok(None) };
    let action = match node.kind {
        Kind::Tag => Action::Move { tag: &node.id, dependents: true, decided: false },
        Kind::Build => Action::Build { config: &node.id },
        _ => return Ok(None),
    };
    Ok(Some(cx.plan(&action).await?))
}

/// Numbers what a plan reaches; a tag moves in the wave of the build that makes it.
pub fn mark_waves(picture: &mut Picture, graph: &Graph, plan: &Plan) {
    let mut waves: BTreeMap<&str, u32> =
        plan.steps.iter().filter(|step| step.kind != "skip").map(|step| (step.id.as_str(), step.wave)).collect();
    for config in &graph.configs {
        if let Some(wave) = waves.get(config.id.as_str()).copied() {
            waves.insert(&config.output, wave);
        }
    }
    for node in &mut picture.nodes {
        node.wave = waves.get(node.id.as_str()).copied();
    }
}

fn draw(cx: &Cx, project: &InProject, picture: Picture, asked: &Asked<'_>) -> String {
    let chosen = if asked.node.is_empty() { asked.impact } else { &asked.node };
    let picture = picture.collapsed(chosen);
    let link = |node: &Node| match node.kind {
        Kind::Group => cx.with_query(&[("group", &node.key), ("node", ""), ("q", ""), ("row", "")]),
        _ => cx.with_query(&[("node", &node.key), ("group", ""), ("q", ""), ("impact", ""), ("row", "")]),
    };
    let title = format!(
        "Graph of {}: {} nodes and {} edges, listed below as a table",
        project.name,
        picture.nodes.len(),
        picture.edges.len()
    );
    let fit = cx.query("fit") == "1";
    svg(&picture, &Drawing { title: &title, selected: chosen, link: &link, fit, passed: &|_| false })
}

fn toolbar(cx: &Cx, asked: &Asked<'_>, count: usize) -> AnyView {
    let chip = |words: &'static str, href: String, current: bool| {
        view! {
            <a class="chip" href=href aria-current=current.then_some("true")>
                {words}
            </a>
        }
    };
    let focus = (!asked.node.is_empty()).then(|| {
        let to = |value: &str| cx.with_query(&[("focus", value), ("node", &asked.node), ("q", ""), ("row", "")]);
        view! {
            {chip("Upstream", to("up"), asked.focus == Some(Direction::Up))}
            {chip("Downstream", to("down"), asked.focus == Some(Direction::Down))}
            {chip("Both", to("both"), asked.focus == Some(Direction::Both))}
        }
    });
    let anything =
        !asked.node.is_empty() || !asked.impact.is_empty() || !asked.group.is_empty() || !asked.text.is_empty();
    let clear = anything.then(|| chip("Show all", cx.path().to_owned(), false));
    let fit = if cx.query("fit") == "1" { ("Own size", "") } else { ("Fit to width", "1") };
    let many = (count > MOST_NODES).then(|| {
        view! { <p class="small muted">{format!("{count} nodes are drawn as groups. Choose a group to see what is in it, or search for a node and look up- or downstream of it.")}</p> }
    });
    view! {
        <div class="toolbar">
            <form class="cluster" method="get" role="search">
                <input type="search" name="q" value=asked.text.to_owned() placeholder="Stream, build or app…" aria-label="Find in the graph" />
                <button class="btn">"Find"</button>
            </form>
            <div class="chips">
                {focus} {clear} {chip(fit.0, cx.with_query(&[("fit", fit.1)]), false)} <a class="chip" href="#table">
                    "Table view"
                </a>
            </div>
        </div>
        {many}
    }
    .into_any()
}

/// What is known of the chosen node, and what can be done with it.
fn node_card(cx: &Cx, project: &InProject, picture: &Picture, node: &Node) -> AnyView {
    let index = picture.find(&node.key).unwrap_or_default();
    let item = |other: &Node, label: &str, off: bool| {
        let href = cx.with_query(&[("node", &other.key), ("q", ""), ("group", "")]);
        let off = off.then_some(" (trigger off)");
        view! { <li><a href=href>{other.name.clone()}</a>{format!(" {label}")}{off}</li> }
    };
    let into: Vec<_> = picture
        .edges
        .iter()
        .filter(|edge| edge.to == index)
        .map(|edge| item(&picture.nodes[edge.from], &edge.label, !edge.on))
        .collect();
    let out: Vec<_> = picture
        .edges
        .iter()
        .filter(|edge| edge.from == index)
        .map(|edge| item(&picture.nodes[edge.to], &edge.label, !edge.on))
        .collect();
    let lists = [("Takes in", into), ("Leads to", out)].into_iter().filter(|(_, items)| !items.is_empty()).map(
        |(words, items)| {
            view! {
                <div>
                    <h3>{words}</h3>
                    <ul>{items}</ul>
                </div>
            }
        },
    );
    let lists: Vec<_> = lists.collect();
    let impact = matches!(node.kind, Kind::Tag | Kind::Build).then(|| {
        let href = cx.with_query(&[("impact", &node.key), ("node", ""), ("focus", ""), ("q", "")]);
        view! {
            <a class="btn btn-small" href=href>
                "Show impact"
            </a>
        }
    });
    view! {
        <div>
            <p class="small muted">{node.kind.word()}</p>
            <h2 class="break">{node.name.clone()}</h2>
        </div>
        <p data-live="chosen">
            {badge(node)}
            {(node.sub != node.word).then(|| view! { " " <span class="muted small">{node.sub.clone()}</span> })}
        </p>
        <div class="cluster">{actions(project, node)} {impact}</div>
        {lists}
    }
    .into_any()
}

fn listed(cx: &Cx, heading: &'static str, nodes: &[Node]) -> AnyView {
    if nodes.is_empty() {
        return view! {
            <h2>{heading}</h2>
            <p class="muted">"Nothing of that name is in this graph."</p>
        }
        .into_any();
    }
    let more = nodes.len().saturating_sub(LISTED);
    let more = (more > 0).then(
        || view! { <p class="small muted">{format!("and {more} more: search by name, or look into the table")}</p> },
    );
    let items: Vec<_> = nodes
        .iter()
        .take(LISTED)
        .map(|node| {
            let href = cx.with_query(&[("node", &node.key), ("focus", "both"), ("group", ""), ("q", "")]);
            view! { <li><a href=href>{node.name.clone()}</a>" "<span class="muted small">{node.word.clone()}</span></li> }
        })
        .collect();
    view! {
        <h2>{heading}</h2>
        <ul>{items}</ul>
        {more}
    }
    .into_any()
}
