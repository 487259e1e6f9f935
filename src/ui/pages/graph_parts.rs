//! Parts of the graph's page: what can be done with a node, what a change would do, and the table that says all that the drawing shows.

use leptos::prelude::*;

use super::graph::ROWS;
use crate::model::{Plan, PlanStep, counted};
use crate::ui::components::{Act, Badge, Col, DataTable, Tone, duration_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::graph::{Kind, Node, Picture, State};

/// A node's state as a badge.
pub fn badge(node: &Node) -> AnyView {
    let tone = match node.state {
        State::Ok => Tone::Ok,
        State::Running => Tone::Running,
        State::Warn => Tone::Warn,
        State::Held => Tone::Held,
        State::Fail => Tone::Fail,
        State::Plain => Tone::Muted,
    };
    view! { <Badge tone text=node.word.clone() /> }.into_any()
}

/// What can be done with a node.
pub fn actions(project: &InProject, node: &Node) -> AnyView {
    let Some(href) = node.href.clone() else { return ().into_any() };
    let (on, edit) = (node.name.clone(), project.can_edit() && node.project == project.name);
    let act = edit.then(|| match node.kind {
        Kind::Build => view! { <Act action=format!("{href}/start") label="Start build" on=on.clone() /> }.into_any(),
        Kind::Tag | Kind::App => {
            let hold = if node.state == State::Held { ("resume", "Resume") } else { ("hold", "Hold") };
            view! {
                <a class="btn btn-small" href=format!("{href}/rollback")>
                    "Roll back…"
                    <span class="visually-hidden">{format!(" {on}")}</span>
                </a>
                <Act action=format!("{href}/{}", hold.0) label=hold.1 on=on.clone() />
            }
            .into_any()
        }
        _ => ().into_any(),
    });
    view! {
        {act}
        <a class="btn btn-small" href=href>
            "Open"
            <span class="visually-hidden">{format!(" {on}")}</span>
        </a>
    }
    .into_any()
}

/// The twin of the drawing: every node and every edge, with what can be done.
pub fn table(cx: &Cx, project: &InProject, picture: &Picture) -> AnyView {
    let first: usize = cx.query("row").parse().unwrap_or_default();
    let mut into = vec![Vec::new(); picture.nodes.len()];
    let mut out = vec![Vec::new(); picture.nodes.len()];
    for edge in &picture.edges {
        let off = if edge.on { "" } else { ", trigger off" };
        into[edge.to].push(format!("{} ({}{off})", picture.nodes[edge.from].name, edge.label));
        out[edge.from].push(format!("{} ({}{off})", picture.nodes[edge.to].name, edge.label));
    }
    let some = |names: &[String]| match names.len() {
        0..=12 => names.join(", "),
        more => format!("{} and {} more", names[..12].join(", "), more - 12),
    };
    let mut order: Vec<usize> = (0..picture.nodes.len()).collect();
    order.sort_by(|a, b| {
        (picture.nodes[*a].kind, &picture.nodes[*a].name).cmp(&(picture.nodes[*b].kind, &picture.nodes[*b].name))
    });
    let rows: Vec<_> = order
        .iter()
        .skip(first)
        .take(ROWS)
        .map(|&index| {
            let node = &picture.nodes[index];
            let name = match &node.href {
                Some(href) => view! { <a href=href.clone()>{node.name.clone()}</a> }.into_any(),
                None => view! { <span class="break">{node.id.clone()}</span> }.into_any(),
            };
            view! {
                <tr>
                    <th scope="row">{name}</th>
                    <td data-label="Kind">{node.kind.word()}</td>
                    <td data-label="State" data-live=format!("row-{}", node.key)>
                        {badge(node)}
                    </td>
                    <td data-label="Takes in">{some(&into[index])}</td>
                    <td data-label="Leads to">{some(&out[index])}</td>
                    <td>
                        <div class="row-actions">{actions(project, node)}</div>
                    </td>
                </tr>
            }
        })
        .collect();
    let pages = (picture.nodes.len() > ROWS).then(|| {
        let link = |row: usize, words: &'static str| {
            view! {
                <a class="btn btn-small" href=format!("{}#table", cx.with_query(&[("row", &row.to_string())]))>
                    {words}
                </a>
            }
        };
        view! {
            <nav class="pager" aria-label="Pages of the table">
                <div class="btn-group">
                    {(first > 0).then(|| link(first.saturating_sub(ROWS), "Back"))}
                    {(first + ROWS < picture.nodes.len()).then(|| link(first + ROWS, "Next"))}
                </div>
            </nav>
        }
    });
    let open = first > 0;
    view! {
        <details id="table" open=open>
            <summary>{format!("Table view: {} nodes and {} edges", picture.nodes.len(), picture.edges.len())}</summary>
            <DataTable
                columns=&[
                    Col::Text("Name"), Col::Text("Kind"), Col::Text("State"), Col::Text("Takes in"), Col::Text("Leads to"),
                    Col::Actions
                ]
            >
                {rows}
            </DataTable>
            {pages}
        </details>
    }
    .into_any()
}

/// The plan in order, and what is not touched with the reason.
pub fn impact_list(project: &InProject, picture: &Picture, key: &str, plan: &Plan) -> AnyView {
    let node = picture.find(key).map(|index| &picture.nodes[index]);
    let heading = match node {
        Some(node) if node.kind == Kind::Build => format!("If {} is built", node.name),
        Some(node) => format!("If {} moves", node.name),
        None => "Impact".to_owned(),
    };
    let item = |step: &PlanStep| {
        let place =
            if step.kind == "build" || (step.kind == "skip" && step.replicas.is_none()) { "builds" } else { "apps" };
        let name = step.shown_name(&project.name);
        let name = match step.project.as_str() {
            "" => name.into_any(),
            of => view! { <a href=format!("/p/{of}/{place}/{}", step.name)>{name}</a> }.into_any(),
        };
        let words = match (step.kind, step.why) {
            (_, Some(why)) => format!(" is not touched: {why}"),
            ("build", _) => step
                .usual_ms
                .map_or_else(|| " builds".to_owned(), |ms| format!(" builds, about {}", duration_words(ms))),
            _ => format!(" rolls, {}", counted(step.replicas.unwrap_or_default(), "replica")),
        };
        let waits = step.waits.as_ref().map(|waits| format!(" · waits: {waits}"));
        let wave = (step.kind != "skip").then(|| view! { <span class="count">{step.wave}</span> " " });
        view! { <li>{wave} {name} {words} {waits}</li> }
    };
    let (steps, skipped): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| step.kind != "skip");
    let summary = match (plan.builds().count(), plan.rollouts().count()) {
        (0, 0) => "nothing else changes.".to_owned(),
        (builds, apps) => {
            let about = plan
                .usual_ms()
                .filter(|ms| *ms > 0)
                .map(|ms| format!(", about {}", duration_words(ms)))
                .unwrap_or_default();
            let steps = plan.waves().saturating_sub(u32::from(apps > 0)) as usize;
            let replicas = counted(plan.replicas(), "replica");
            match (builds, apps) {
                (0, apps) => format!("{} with {replicas}{about}.", counted(apps, "app")),
                (builds, 0) => format!("{} in {}{about}.", counted(builds, "build"), counted(steps, "step")),
                (builds, apps) => format!(
                    "{} in {}, then {} with {replicas}{about}.",
                    counted(builds, "build"),
                    counted(steps, "step"),
                    counted(apps, "app")
                ),
            }
        }
    };
    let steps: Vec<_> = steps.into_iter().map(item).collect();
    let skipped: Vec<_> = skipped.into_iter().map(item).collect();
    let skipped = (!skipped.is_empty()).then(|| {
        view! {
            <h3>"Not touched"</h3>
            <ul>{skipped}</ul>
        }
    });
    view! {
        <h2>{heading}</h2>
        <p>{summary}</p>
        <ol class="stack gap-1">{steps}</ol>
        {skipped}
    }
    .into_any()
}
