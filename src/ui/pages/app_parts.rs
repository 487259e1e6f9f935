//! Parts of an app's page: its replicas as they were seen, and how it runs.

use leptos::prelude::*;

use super::standing::Standing;
use crate::model::{App, AppPort, AppSpec, PublishMode};
use crate::server::rollout::Replica;
use crate::ui::components::{Ago, Col, DataTable, DigestText};

/// Each replica as the engine reported it.
pub fn replicas(app: &App, standing: &Standing) -> AnyView {
    let Some(seen) = &standing.observed else {
        let words = if app.last_number == 0 {
            "It was not rolled out yet."
        } else {
            "The engine has not been asked yet, or did not answer."
        };
        return view! { <p class="muted">{words}</p> }.into_any();
    };
    let failed = seen.failed.clone().map(|why| view! { <p class="error break">{why}</p> });
    if seen.replicas.is_empty() {
        let words =
            if seen.exists { "No replica runs or should run." } else { "The engine does not know this app yet." };
        return view! {
            {failed}
            <p class="muted">{words}</p>
        }
        .into_any();
    }
    let rows: Vec<_> = seen.replicas.iter().map(|replica| replica_row(app, replica)).collect();
    view! {
        {failed}
        <DataTable
            columns=&[Col::Text("Replica"), Col::Text("State"), Col::Text("Image"), Col::Text("Since"), Col::Text("Ports")]
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn replica_row(app: &App, replica: &Replica) -> AnyView {
    let short = replica.id.get(..12).unwrap_or(&replica.id).to_owned();
    let image = match &replica.digest {
        Some(digest) => {
            let other = (Some(digest.as_str()) != app.wanted_digest.as_deref())
                .then(|| view! { <span class="cell-sub">"not the wanted one"</span> });
            view! {
                <DigestText digest=digest.to_string() />
                {other}
            }
            .into_any()
        }
        None => view! { <span class="muted">"not told"</span> }.into_any(),
    };
    let ready = if replica.ready { "" } else { ", not ready" };
    let ports: Vec<String> =
        replica.ports.iter().map(|(container, published)| format!("{published} → {container}")).collect();
    view! {
        <tr>
            <th scope="row">
                <code title=replica.id.clone()>{short}</code>
                <span class="cell-sub">{format!("on {}", replica.node)}</span>
            </th>
            <td data-label="State">
                {format!("{}{ready}", replica.state)}
                {replica.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
            </td>
            <td data-label="Image">{image}</td>
            <td data-label="Since">
                <Ago at=replica.since />
            </td>
            <td data-label="Ports">{ports.join(", ")}</td>
        </tr>
    }
    .into_any()
}

/// How it runs, as its author wrote it.
pub fn facts(app: &App, spec: &AppSpec) -> AnyView {
    let code = |words: Vec<String>| {
        let lines: Vec<_> = words.into_iter().map(|word| view! { <li><code>{word}</code></li> }).collect();
        view! { <ul>{lines}</ul> }.into_any()
    };
    let mut facts: Vec<(&str, AnyView)> = vec![("Replicas", spec.replicas.into_any())];
    let follows = if app.automatic == 1 { "yes: each move rolls it out" } else { "no: only by hand" };
    facts.push(("Follows its tag", follows.into_any()));
    if !spec.ports.is_empty() {
        let port = |port: &AppPort| {
            let mode = if port.mode == PublishMode::Host { " (own node)" } else { "" };
            port.published.map_or_else(
                || format!("{}{mode}", port.container),
                |published| format!("{published} → {}{mode}", port.container),
            )
        };
        facts.push(("Ports", code(spec.ports.iter().map(port).collect())));
    }
    if !spec.env.is_empty() {
        facts
            .push(("Environment", code(spec.env.iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect())));
    }
    if !spec.command.is_empty() {
        facts.push(("Command", code(vec![spec.command.join(" ")])));
    }
    if !spec.args.is_empty() {
        facts.push(("Arguments", code(vec![spec.args.join(" ")])));
    }
    let delay = if spec.delay_ms == 0 { String::new() } else { format!(", {} s apart", spec.delay_ms / 1000) };
    facts.push(("Rolls", format!("{} at a time{delay}", spec.parallelism).into_any()));
    facts.push(("Made", view! { <Ago at=app.created_at />{format!(" by {}", app.created_by)} }.into_any()));
    let rows: Vec<_> = facts
        .into_iter()
        .map(|(words, value)| {
            view! {
                <dt>{words}</dt>
                <dd>{value}</dd>
            }
        })
        .collect();
    view! { <dl class="facts">{rows}</dl> }.into_any()
}
