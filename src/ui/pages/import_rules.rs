//! A stream's import rules: their table on the stream's page, and its buttons.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::stream::open;
use crate::model::{ImportRule, ImportRuleSpec, MOST_CHOSEN, PatternKind, Stream, now};
use crate::server::auth::Right;
use crate::ui::components::{Act, Ago, Badge, Col, DataTable, More, Tone};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};

/// What the buttons post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/import-rules/{rule}/check", post(post_check))
        .route("/p/{project}/streams/{stream}/import-rules/{rule}/delete", post(post_delete))
}

/// The address of the stream's rules.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/streams/{}/import-rules", cx.param("project"), cx.param("stream"))
}

/// Where the rules are listed.
pub fn list_of(cx: &Cx) -> String {
    format!("/p/{}/streams/{}/imports", cx.param("project"), cx.param("stream"))
}

/// The rules, on the stream's page of imports.
pub async fn section(cx: &Cx, project: &InProject, stream: &Stream) -> Result<AnyView, UiError> {
    let path = path_of(cx);
    let rules = cx.store().list_import_rules(&stream.id).await?;
    let new = project.can_edit().then(|| {
        view! {
            <a class="btn" href=format!("{path}/new")>
                "New rule"
            </a>
        }
    });
    let list = if rules.is_empty() {
        view! {
            <p class="muted">
                "There is no rule. A rule takes in tags of a repository in another registry, also those to come: all of them, or those that fit a pattern, or only the newest."
            </p>
        }
        .into_any()
    } else {
        let rows: Vec<_> = rules.iter().map(|rule| row(&path, project, rule)).collect();
        view! {
            <DataTable
                columns=&[
                    Col::Text("Rule"), Col::Text("Takes"), Col::Text("Tags"), Col::Text("Last listing"), Col::Text("Next"),
                    Col::Actions
                ]
                live="import-rules"
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let section = view! {
        <div class="cluster">
            <h2>"Import rules"</h2>
            {new}
        </div>
        {list}
    };
    Ok(section.into_any())
}

/// What a rule takes, in words.
fn takes(spec: &ImportRuleSpec) -> String {
    let what = match spec.pattern_kind {
        PatternKind::All => "all tags".to_owned(),
        PatternKind::Semver => format!("versions {}", spec.pattern),
        kind => format!("{kind} {}", spec.pattern),
    };
    match spec.newest {
        Some(newest) => format!("{what}, the newest {newest}"),
        None => what,
    }
}

fn row(path: &str, project: &InProject, rule: &ImportRule) -> AnyView {
    let edit = format!("{path}/{}/edit", rule.name);
    let name = match project.can_edit() {
        true => view! { <a class="cell-main" href=edit.clone()>{rule.name.clone()}</a> }.into_any(),
        false => view! { <span class="cell-main">{rule.name.clone()}</span> }.into_any(),
    };
    let is_cut = rule.spec.newest.is_none() && rule.fitting > rule.chosen;
    let cut = is_cut.then(|| {
        let words = format!("{} fit; a rule takes {MOST_CHOSEN} at the most", rule.fitting);
        view! { <span class="cell-sub">{words}</span> }
    });
    let tags = rule.listed_at.is_some().then(|| {
        let rest = format!("{} new, {} left alone", rule.made, rule.left_alone);
        view! { {format!("{} of {}", rule.chosen, rule.seen)} <span class="cell-sub">{rest}</span> }
    });
    view! {
        <tr data-row=rule.id.clone()>
            <th scope="row" class="min-w-[12rem]">
                {name}
                <span class="cell-sub break">{rule.spec.repository.clone()}</span>
            </th>
            <td data-label="Takes" class="min-w-[8rem] break">
                {takes(&rule.spec)}
                {cut}
            </td>
            <td class="nowrap" data-label="Tags">{tags}</td>
            <td class="min-w-[14rem]" data-label="Last listing">{last_listing(rule)}</td>
            <td data-label="Next">{next_listing(rule)}</td>
            <td>{project.can_edit().then(|| actions(path, rule, edit))}</td>
        </tr>
    }
    .into_any()
}

fn last_listing(rule: &ImportRule) -> AnyView {
    let listed = match rule.listed_at {
        Some(at) => view! { <Ago at /> }.into_any(),
        None => view! { <span class="muted">"never"</span> }.into_any(),
    };
    let failure = (rule.outcome == "failed").then(|| {
        let words = rule.reason.clone().unwrap_or_else(|| "failed".to_owned());
        let (message, since) = (rule.message.clone(), rule.tried_at.map(|at| view! { <Ago at /> }));
        view! {
            <Badge tone=Tone::Fail text=words />
            <span class="cell-sub break">{since}": "{message}</span>
        }
    });
    let so_far = (rule.pages > 0).then(|| {
        let words = format!("under way: {} tags so far", rule.listed_tags);
        view! { <span class="cell-sub">{words}</span> }
    });
    match failure {
        None => view! { {listed} {so_far} }.into_any(),
        Some(failure) => view! { {failure} <span class="cell-sub">"last good: "{listed}</span> {so_far} }.into_any(),
    }
}

fn next_listing(rule: &ImportRule) -> AnyView {
    match rule.next_listing_at() {
        None => view! { <Badge tone=Tone::Muted text="Paused" /> }.into_any(),
        Some(at) if at <= now() => "now".into_any(),
        Some(at) => view! { <Ago at /> }.into_any(),
    }
}

fn actions(path: &str, rule: &ImportRule, edit: String) -> AnyView {
    let here = format!("{path}/{}", rule.name);
    let check = match rule.paused_at {
        Some(_) => view! { <Act action="" label="Check now" disabled="it is paused" /> }.into_any(),
        None => view! { <Act action=format!("{here}/check") label="Check now" on=rule.name.clone() /> }.into_any(),
    };
    let (name, delete) = (rule.name.clone(), format!("{edit}#delete"));
    view! {
        <div class="row-actions flex-nowrap">
            {check} <More on=name>
                <a href=edit>"Edit…"</a>
                <hr />
                <a class="danger" href=delete>
                    "Delete…"
                </a>
            </More>
        </div>
    }
    .into_any()
}

async fn post_check(cx: Cx, fields: Fields) -> Response {
    let list = list_of(&cx);
    cx.submit(&fields, &list, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        cx.store().request_listing(&project.name, &stream.name, cx.param("rule"), &cx.actor()?).await?;
        Ok(list.clone())
    })
    .await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let list = list_of(&cx);
    cx.submit(&fields, &list, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        cx.store().delete_import_rule(&project.name, &stream.name, cx.param("rule"), &cx.actor()?).await?;
        Ok(list.clone())
    })
    .await
}
