//! One target of notices with what was and is to be told to it, and one notice with every attempt to deliver it.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::notices::{MadeSecret, framed, last_attempt, path_of, state_badge};
use crate::model::{Notice, NoticeAttempt, NoticeState, NoticeTarget};
use crate::server::auth::Right;
use crate::server::notices::new_secret;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, Badge, Col, CopyText, DataTable, More, PageSize, Pager, Tone};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, FormState, Router};
use crate::ui::shell::Page;

/// What the buttons post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/notices/{target}/test", post(post_test))
        .route("/p/{project}/notices/{target}/secret", post(post_secret))
        .route("/p/{project}/notices/{target}/delete", post(post_delete))
        .route("/p/{project}/notices/{target}/deliveries/{notice}/resend", post(post_resend))
}

async fn open(cx: &Cx) -> Result<(InProject, NoticeTarget, String), UiError> {
    let project = cx.project(Right::Admin).await?;
    let target = cx.store().load_notice_target(&project.name, cx.param("target")).await?;
    let here = format!("{}/{}", path_of(cx), target.name);
    Ok((project, target, here))
}

/// `/p/:project/notices/:target`
pub async fn page(cx: Cx) -> PageResult {
    let (project, target, here) = open(&cx).await?;
    let size = PageSize::of(&cx);
    let mut notices = cx.store().list_notices(&target.id, cx.query("after").parse().ok(), size.limit()).await?;
    let more = size.cut(&mut notices);
    let next = notices.last().filter(|_| more).map(|last| last.sequence.to_string());
    let list = if notices.is_empty() {
        view! { <p class="muted">"Nothing was told to it yet. Send a test to see whether it answers."</p> }.into_any()
    } else {
        let is_off = target.off_at.is_some();
        let rows: Vec<_> = notices.iter().map(|notice| row(&here, notice, is_off)).collect();
        view! {
            <DataTable
                columns=&[
                    Col::Text("When"), Col::Text("What"), Col::Text("State"), Col::Text("Answer"), Col::Number("Attempts"), Col::Actions
                ]
                live="notices"
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let body = view! {
        {facts(&target)}
        <h2>"Deliveries"</h2>
        {list}
        <Pager cx=cx.clone() next />
    };
    let page = Page::new(target.name.clone(), body).kind("notice target").beside(state_badge(&target));
    let page = framed(page.actions(actions(&here, &target)), &project).crumb("Notices", path_of(&cx));
    Ok(match MadeSecret::banner(&cx) {
        Some(banner) => page.banner(banner),
        None => page,
    })
}

fn actions(here: &str, target: &NoticeTarget) -> AnyView {
    let off = target.off_at.map(|_| "it is turned off: edit it to turn it on".to_owned());
    let test = match off {
        Some(why) => {
            view! { <Act action=format!("{here}/test") label="Send a test" class="btn-primary" disabled=why /> }
                .into_any()
        }
        None => view! { <Act action=format!("{here}/test") label="Send a test" class="btn-primary" /> }.into_any(),
    };
    let (edit, secret, delete) = (format!("{here}/edit"), format!("{here}/secret"), format!("{here}/delete"));
    view! {
        {test}
        <a class="btn" href=edit>
            "Edit"
        </a>
        <More on=target.name.clone()>
            <form method="post" action=secret>
                <button title="Notices are signed with it from now on">"New secret"</button>
            </form>
            <form method="post" action=delete>
                <button class="danger" title="Its deliveries are forgotten, too">"Delete target"</button>
            </form>
        </More>
    }
    .into_any()
}

fn facts(target: &NoticeTarget) -> AnyView {
    let chosen: Vec<_> =
        target.chosen().into_iter().map(|kind| view! { <li class="chip small">{kind.as_str()}</li> }).collect();
    view! {
        <section class="card">
            <dl class="facts">
                <dt>"Address"</dt>
                <dd>
                    <CopyText text=target.url.clone() />
                </dd>
                <dt>"Is told of"</dt>
                <dd>
                    <ul class="chips">{chosen}</ul>
                </dd>
                <dt>"Last attempt"</dt>
                <dd>{last_attempt(target)}</dd>
                <dt>"Made"</dt>
                <dd>
                    <Ago at=target.created_at />
                    {format!(" by {}", target.created_by)}
                </dd>
            </dl>
        </section>
    }
    .into_any()
}

fn state(notice: &Notice) -> AnyView {
    let (tone, text) = match notice.state {
        NoticeState::Delivered => (Tone::Ok, "Delivered"),
        NoticeState::Waiting if notice.failures > 0 => (Tone::Warn, "Tries again"),
        NoticeState::Waiting => (Tone::Running, "Waiting"),
        NoticeState::Failed => (Tone::Fail, "Given up"),
        NoticeState::Dropped => (Tone::Muted, "Dropped: turned off"),
    };
    let next = notice.next_at.filter(|_| notice.failures > 0);
    let next = next.map(|at| view! { <span class="cell-sub">"next "<Ago at /></span> });
    view! {
        <Badge tone=tone text=text />
        {next}
    }
    .into_any()
}

fn row(here: &str, notice: &Notice, is_off: bool) -> AnyView {
    let path = format!("{here}/deliveries/{}", notice.id);
    let resend = (!is_off).then(|| {
        let on = format!("{} {}", notice.kind, notice.object);
        view! { <Act action=format!("{path}/resend") label="Resend" on /> }
    });
    view! {
        <tr data-row=notice.sequence>
            <td data-label="When">
                <Ago at=notice.created_at />
            </td>
            <th scope="row">
                <a class="cell-main" href=path>
                    {notice.kind.as_str()}
                </a>
                <span class="cell-sub break">{notice.object.clone()}</span>
            </th>
            <td data-label="State">{state(notice)}</td>
            <td data-label="Answer" class="break">{notice.last_answer.clone().unwrap_or_else(|| "none yet".to_owned())}</td>
            <td class="num" data-label="Attempts">
                {notice.attempts}
            </td>
            <td>
                <div class="row-actions">{resend}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// `/p/:project/notices/:target/deliveries/:notice`
pub async fn delivery_page(cx: Cx) -> PageResult {
    let (project, target, here) = open(&cx).await?;
    let (notice, attempts) = cx.store().load_notice(&target.id, cx.param("notice")).await?;
    let attempts: Vec<_> = attempts.iter().map(attempt_card).collect();
    let none = attempts.is_empty().then(|| view! { <p class="muted">"It was not tried yet."</p> });
    let document = serde_json::from_str::<serde_json::Value>(&notice.body)
        .and_then(|body| serde_json::to_string_pretty(&body))
        .unwrap_or_else(|_| notice.body.clone());
    let body = view! {
        <section class="card">
            <dl class="facts">
                <dt>"What"</dt>
                <dd>{format!("{} {}", notice.kind, notice.object)}</dd>
                <dt>"State"</dt>
                <dd>{state(&notice)}</dd>
                <dt>"webhook-id"</dt>
                <dd>
                    <CopyText text=notice.id.clone() />
                </dd>
                <dt>"Made"</dt>
                <dd>
                    <Ago at=notice.created_at />
                    {format!(" of row #{} of the ledger", notice.sequence)}
                </dd>
            </dl>
        </section>
        <h2>"What is sent"</h2>
        <pre tabindex="0">{document}</pre>
        <h2>"Attempts"</h2>
        {none}
        {attempts}
    };
    let resend = (target.off_at.is_none()).then(|| {
        view! { <Act action=format!("{here}/deliveries/{}/resend", notice.id) label="Resend" class="btn-primary" /> }
    });
    let page = Page::new(format!("{} {}", notice.kind, notice.object), body).kind("notice").actions(resend);
    Ok(framed(page, &project).crumb("Notices", path_of(&cx)).crumb(target.name.clone(), here))
}

fn attempt_card(attempt: &NoticeAttempt) -> AnyView {
    let (tone, text) = if attempt.problem.is_none() { (Tone::Ok, "Delivered") } else { (Tone::Fail, "Failed") };
    let problem = attempt.problem.clone().map(|problem| view! { <p class="error break">{problem}</p> });
    let response = match &attempt.response {
        Some(response) => view! { <pre tabindex="0">{response.clone()}</pre> }.into_any(),
        None => view! { <p class="muted">"There was no answer."</p> }.into_any(),
    };
    view! {
        <section class="card stack">
            <h3 class="cluster">
                {format!("Attempt {}", attempt.number)} <Badge tone=tone text=text />
            </h3>
            {problem}
            <p class="muted">
                <Ago at=attempt.at />
                {format!(", it took {} ms", attempt.duration_ms)}
            </p>
            <div class="grid grid-cols-1 gap-4 lg:grid-cols-2 items-start">
                <div class="stack">
                    <h4>"Request"</h4>
                    <pre tabindex="0">{attempt.request.clone()}</pre>
                </div>
                <div class="stack">
                    <h4>"Response"</h4>
                    {response}
                </div>
            </div>
        </section>
    }
    .into_any()
}

async fn post_test(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/{}", path_of(&cx), cx.param("target"));
    cx.submit(&fields, &here, async {
        let project = cx.project(Right::Admin).await?;
        cx.store().request_test_notice(&project.name, cx.param("target"), &cx.actor()?).await?;
        Ok(here.clone())
    })
    .await
}

async fn post_resend(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/{}", path_of(&cx), cx.param("target"));
    cx.submit(&fields, &here, async {
        let project = cx.project(Right::Admin).await?;
        let (target, notice) = (cx.param("target"), cx.param("notice"));
        cx.store().resend_notice(&project.name, target, notice, &cx.actor()?).await?;
        Ok(format!("{here}/deliveries/{notice}"))
    })
    .await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let list = path_of(&cx);
    cx.submit(&fields, &list, async {
        let project = cx.project(Right::Admin).await?;
        cx.store().delete_notice_target(&project.name, cx.param("target"), &cx.actor()?).await?;
        Ok(list.clone())
    })
    .await
}

/// Answers with the page itself, not with a redirect: the secret must be in one answer only.
async fn post_secret(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/{}", path_of(&cx), cx.param("target"));
    let made = async {
        let project = cx.project(Right::Admin).await?;
        let secret = new_secret();
        cx.store().replace_notice_secret(&project.name, cx.param("target"), &secret, &cx.actor()?).await?;
        Ok(MadeSecret(Arc::new(secret)))
    };
    match made.await {
        Ok(made) => cx.with_extension(made).render(&here, FormState::default(), StatusCode::OK).await,
        Err(error) => cx.refuse(&fields, &here, &error).await,
    }
}
