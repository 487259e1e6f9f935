//! Other registries, for site admins: what each allows, what remains of it, who asks how much, and for how long that goes well.

use std::collections::BTreeMap;

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::registry_logins;
use super::tag::check_reason;
use crate::model::{Budget, BudgetState, Forecast, Login, Pause, counted, now};
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, Badge, Col, DataTable, Empty, Tone, duration_words};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// What the switches post to.
pub fn router() -> Router {
    Router::new()
        .route("/imports/registries/{host}/pause", post(post_pause))
        .route("/imports/registries/{host}/resume", post(post_resume))
}

/// A registry with all accounts that it is asked as.
#[derive(Default)]
struct Known {
    pause: Option<Pause>,
    budgets: Vec<Budget>,
    logins: Vec<Login>,
}

async fn list(cx: &Cx) -> Result<BTreeMap<String, Known>, UiError> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for budget in cx.store().list_budgets().await? {
        known.entry(budget.state.host.clone()).or_default().budgets.push(budget);
    }
    for pause in cx.store().list_pauses().await? {
        let host = pause.host.clone();
        known.entry(host).or_default().pause = Some(pause);
    }
    for login in cx.store().list_logins(None).await? {
        known.entry(login.host.clone()).or_default().logins.push(login);
    }
    Ok(known)
}

/// `/imports/registries` and `/imports/registries/:host`
pub async fn page(cx: Cx) -> PageResult {
    let host = cx.param("host");
    check_site_admin(&cx)?;
    let mut known = list(&cx).await?;
    known.retain(|name, _| host.is_empty() || name == host);
    let body = if known.is_empty() {
        let heading = if host.is_empty() { "No registry was asked yet" } else { "This registry was not asked yet" };
        view! { <Empty heading><p>"Registries stand here once a tag follows one of their images."</p></Empty> }
            .into_any()
    } else {
        known.iter().map(|(host, known)| section(host, known)).collect_view().into_any()
    };
    let page = Page::new(if host.is_empty() { "Registries" } else { host }, body);
    Ok(if host.is_empty() { page } else { page.crumb("Registries", "/imports/registries") })
}

fn check_site_admin(cx: &Cx) -> Result<(), UiError> {
    if cx.viewer()?.is_site_admin() { Ok(()) } else { Err(UiError::SiteAdmin) }
}

fn section(host: &str, known: &Known) -> AnyView {
    view! {
        {switch(host, known.pause.as_ref())}
        {known.budgets.iter().map(card).collect_view()}
        {registry_logins::card(&known.logins)}
    }
    .into_any()
}

/// Whether a registry is asked at all, and the button that changes that.
fn switch(host: &str, pause: Option<&Pause>) -> AnyView {
    let path = format!("/imports/registries/{host}");
    match pause {
        Some(pause) => view! {
            <h2>{host.to_owned()}</h2>
            <section class="banner banner-warn" aria-label=format!("{host} is paused")>
                <p>
                    <strong>{format!("{host} is paused by {} since ", pause.paused_by)}<Ago at=pause.paused_at /></strong>
                    {pause.reason.clone().map(|reason| format!(": {reason}"))}
                </p>
                <p>"Nothing is asked of it: no check, no pull of what is not here yet. What is here is served."</p>
                <div class="banner-actions">
                    <Act action=format!("{path}/resume") label="Resume" on=host.to_owned() />
                </div>
            </section>
        }
        .into_any(),
        None => view! {
            <div class="cluster justify-between">
                <h2>{host.to_owned()}</h2>
                <form class="cluster" method="post" action=format!("{path}/pause")>
                    <input class="input w-64" name="reason" maxlength="300" placeholder="Why? (may be left empty)" aria-label=format!("Why {host} is paused") />
                    <button class="btn btn-small">{format!("Pause {host}")}</button>
                </form>
            </div>
        }
        .into_any(),
    }
}

async fn post_pause(cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, "/imports/registries", async {
        check_site_admin(&cx)?;
        let reason = fields.some("reason");
        check_reason("reason", reason.unwrap_or_default())?;
        cx.store().pause_registry(cx.param("host"), reason, &cx.actor()?).await?;
        Ok("/imports/registries".to_owned())
    })
    .await
}

async fn post_resume(cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, "/imports/registries", async {
        check_site_admin(&cx)?;
        cx.store().resume_registry(cx.param("host"), &cx.actor()?).await?;
        Ok("/imports/registries".to_owned())
    })
    .await
}

fn card(budget: &Budget) -> AnyView {
    let state = &budget.state;
    let name = match state.account.as_str() {
        "" => "Without an account".to_owned(),
        account => format!("As {account}"),
    };
    let rows: Vec<_> = budget
        .spend
        .iter()
        .map(|one| {
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=format!("/p/{}/imports", one.project)>
                            {one.project.clone()}
                        </a>
                    </th>
                    <td class="num" data-label="Checks">{one.heads}</td>
                    <td class="num" data-label="Manifests">{one.gets}</td>
                    <td class="num" data-label="In the last hour">{one.recent_heads + one.recent_gets}</td>
                </tr>
            }
        })
        .collect();
    let spend = (!rows.is_empty()).then(|| {
        view! {
            <DataTable columns=&[Col::Text("Project"), Col::Number("Checks"), Col::Number("Manifests"), Col::Number("In the last hour")]>
                {rows}
            </DataTable>
        }
    });
    view! {
        <section class="card">
            <div class="card-header">
                <h3>{name}</h3>
                {mood(budget)}
            </div>
            <div class="card-body stack">
                {advice(state)}
                <dl class="facts">
                    {allowance(state)}
                    <dt>"Forecast"</dt>
                    <dd>{forecast(budget)}</dd>
                    <dt>"Tags"</dt>
                    <dd>{format!("{}, {}", counted(budget.tags, "tag"), counted(budget.questions, "different question"))}</dd>
                    <dt>"Pace"</dt>
                    <dd>{pace(state)}</dd>
                </dl>
            </div>
            {spend}
        </section>
    }
    .into_any()
}

fn mood(budget: &Budget) -> AnyView {
    let state = &budget.state;
    match (state.rests_until(now()), state.rest_reason.as_deref()) {
        (Some(_), Some("abuse-limit")) => view! { <Badge tone=Tone::Fail text="Asked too often" /> }.into_any(),
        (Some(_), Some("unavailable")) => view! { <Badge tone=Tone::Warn text="Away for a while" /> }.into_any(),
        (Some(_), _) => view! { <Badge tone=Tone::Warn text="Limit used up" /> }.into_any(),
        (None, _) if budget.unanswered > 0 && budget.unanswered == budget.tags => {
            view! { <Badge tone=Tone::Fail text="Does not answer" /> }.into_any()
        }
        (None, _) => match (waiting_for(budget), state.answered_at) {
            (Some(what), _) => view! { <Badge tone=Tone::Warn text=format!("No answer for {what}") /> }.into_any(),
            (None, Some(_)) => view! { <Badge tone=Tone::Ok text="Answers" /> }.into_any(),
            (None, None) => view! { <Badge tone=Tone::Muted text="Not asked yet" /> }.into_any(),
        },
    }
}

/// What got no answer when it asked last.
fn waiting_for(budget: &Budget) -> Option<String> {
    let rules = i64::try_from(budget.unlisted).unwrap_or(i64::MAX);
    let counts = [(budget.unanswered, "tag"), (rules, "import rule")];
    let words: Vec<_> = counts.into_iter().filter(|one| one.0 > 0).map(|(n, what)| counted(n, what)).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What to do about a registry that wants to be left alone: different states, and different ways out.
fn advice(state: &BudgetState) -> Option<AnyView> {
    let until = state.rests_until(now())?;
    let words = match state.rest_reason.as_deref() {
        Some("abuse-limit") => {
            "It turned this address away for asking too often, whatever the account. Weir goes on more slowly by itself; look for other \
             programs behind the same address."
        }
        Some("unavailable") => {
            "It said that it is not to be had for now, whoever asks: there is nothing to be done here. What is here is served."
        }
        _ => {
            "What it allows is used up. Add credentials of an account with a higher limit to the projects that ask most, or check their tags less often."
        }
    };
    Some(view! { <p><strong>"Nothing is asked of it until "<Ago at=until />"."</strong>" "{words}</p> }.into_any())
}

fn allowance(state: &BudgetState) -> AnyView {
    let Some((limit, told_at)) = state.limit_count.zip(state.told_at) else {
        return view! {
            <dt>"Limit"</dt>
            <dd>"The registry tells none"</dd>
        }
        .into_any();
    };
    let window = state.window_ms.map(|ms| format!(" in {}", duration_words(ms))).unwrap_or_default();
    let counted = match state.heads_count {
        Some(1) => "every check and every manifest",
        Some(_) => "manifests; checks are free",
        None => "not seen yet",
    };
    view! {
        <dt>"Limit"</dt>
        <dd>{format!("{limit}{window}")}</dd>
        <dt>"Remaining"</dt>
        <dd>
            {state.remaining.map_or_else(|| "not told".to_owned(), |count| count.max(0).to_string())}", told by the registry "<Ago at=told_at />
            {state.resets_at.map(|at| view! { ", whole again "<Ago at /> })}
        </dd>
        <dt>"Counted"</dt>
        <dd>{counted}</dd>
    }
    .into_any()
}

fn forecast(budget: &Budget) -> AnyView {
    match budget.forecast(now()) {
        Forecast::NoLimit => "no limit is known".into_any(),
        Forecast::Enough => "enough".into_any(),
        Forecast::Until(at) => view! { "used up "<Ago at />", at the rate of the last hour" }.into_any(),
        Forecast::UsedUp => "used up: what changed waits until something is allowed again".into_any(),
    }
}

fn pace(state: &BudgetState) -> String {
    let pace = match state.gap_ms {
        gap @ 1..1000 => format!("up to {} checks a second", 1000 / gap),
        gap => format!("a check every {}", duration_words(gap)),
    };
    match state.least_interval_ms {
        0 => pace,
        least => format!("{pace}; each tag every {} at the most often, as checks are counted", duration_words(least)),
    }
}
