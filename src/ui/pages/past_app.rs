//! An app as it was at a moment: what it was to run, and the rollouts it had, each as far as it was. Nothing here acts.

use leptos::prelude::*;

use super::apps::{kind_words, phase_badge};
use super::past::{deleted_badge, since};
use super::past_apps::state_then;
use crate::model::RolloutRow;
use crate::server::auth::Right;
use crate::server::store::AppThen;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Col, DataTable, DigestText, Empty, PageSize, Pager, Who};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

/// `/p/:project/apps/:app?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let name = cx.param("app");
    let missing = || UiError::NotFound { what: format!("App {name} at {}", as_of.0.words) };
    let app = cx.store().find_app_then(&project.id, name, &as_of.0).await?.ok_or_else(missing)?;
    let size = PageSize::of(&cx);
    let before = cx.query("after").parse().ok();
    let mut rollouts = cx.store().list_rollouts_then(&app, &as_of.0, before, size.limit()).await?;
    let more = size.cut(&mut rollouts);
    let next = rollouts.last().filter(|_| more).map(|last| last.number.to_string());
    let list = if rollouts.is_empty() {
        view! { <Empty heading="There was no rollout"><p>"Nothing had been rolled out at that moment."</p></Empty> }
            .into_any()
    } else {
        let rows: Vec<_> = rollouts.iter().map(|rollout| row(&project.name, &as_of, &app, rollout)).collect();
        let mut columns = vec![Col::Text("Rollout"), Col::Text("When"), Col::Text("Image"), Col::Text("What")];
        columns.extend([Col::Text("State then"), Col::Text("Cascade")]);
        view! { <DataTable columns>{rows}</DataTable> }.into_any()
    };
    let body = view! {
        {facts(&app)}
        <h2>"Its rollouts then"</h2>
        <p class="muted">"What was asked for, and how far it was. What an engine was seen running is not kept."</p>
        {list}
        <Pager cx=cx.clone() next />
    };
    let page = Page::new(app.name.clone(), body)
        .kind("app")
        .past(&cx, &as_of)
        .beside(view! { {state_then(&app)} {deleted_badge(app.deleted_at)} });
    Ok(page.within(&project, Section::Apps).crumb("Apps", as_of.link(&format!("/p/{}/apps", project.name))))
}

fn facts(app: &AppThen) -> AnyView {
    let wanted = match app.digest.clone() {
        Some(digest) => view! { <DigestText digest /> }.into_any(),
        None => view! { <span class="muted">"nothing yet"</span> }.into_any(),
    };
    let now = match &app.digest_now {
        _ if app.deleted_at.is_some() => since(app.deleted_at, app.deleted_by.clone()),
        Some(now) if app.digest.as_ref() == Some(now) => view! { <span class="muted">"the same"</span> }.into_any(),
        Some(now) => view! { <DigestText digest=now.clone() /> }.into_any(),
        None => view! { <span class="muted">"nothing yet"</span> }.into_any(),
    };
    view! {
        <section class="card">
            <dl class="facts">
                <dt>"Was to run"</dt>
                <dd>{wanted}</dd>
                <dt>"Now"</dt>
                <dd>{now}</dd>
                <dt>"Made"</dt>
                <dd>
                    <Ago at=app.created_at />
                </dd>
            </dl>
        </section>
    }
    .into_any()
}

fn row(project: &str, as_of: &AsOf, app: &AppThen, rollout: &RolloutRow) -> AnyView {
    let newest = app.number == Some(rollout.number);
    let image = format!("/p/{}/images/{}", rollout.repository.replacen('/', "/streams/", 1), rollout.digest);
    let image = as_of.link(&image);
    let cascade = rollout.cascade_number.map(|number| {
        view! { <a href=as_of.link(&format!("/p/{project}/cascades/{number}"))>{number}</a> }
    });
    view! {
        <tr class=if newest { "is-current" } else { "" }>
            <th scope="row">{format!("#{}", rollout.number)}</th>
            <td data-label="When">
                <Ago at=rollout.created_at />
                <span class="cell-sub">
                    {rollout.actor_kind.parse().ok().map(|kind| view! { <Who kind name=rollout.actor.clone() /> })}
                </span>
            </td>
            <td data-label="Image">
                <DigestText digest=rollout.digest.clone() href=image />
            </td>
            <td data-label="What">
                {kind_words(&rollout.kind, rollout.to_number)}
                {rollout.reason.clone().map(|reason| view! { <span class="cell-sub">{reason}</span> })}
            </td>
            <td data-label="State then">
                {phase_badge(rollout.phase)}
                {rollout.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
            </td>
            <td data-label="Cascade">{cascade}</td>
        </tr>
    }
    .into_any()
}
