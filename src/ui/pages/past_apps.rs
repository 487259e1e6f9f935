//! The apps as they were at a moment: what each was to run. What an engine was seen running is not kept.

use leptos::prelude::*;

use super::apps::kind_words;
use super::past::since;
use crate::server::auth::Right;
use crate::server::store::AppThen;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, Col, DataTable, DigestText, Empty, PageSize, Pager, Tone, Who};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section};

/// `/p/:project/apps?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let mut apps = cx.store().list_apps_then(&project.id, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut apps);
    let next = apps.last().filter(|_| more).map(|last| last.name.clone());
    let list = table(&format!("/p/{}", project.name), &as_of, apps).unwrap_or_else(|| {
        view! { <Empty heading="There was no app"><p>"The project had none at that moment, or no more of them."</p></Empty> }.into_any()
    });
    let body = view! {
        <p class="muted">"What each app was to run. What an engine was seen running is not kept."</p>
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Apps", body).within(&project, Section::Apps).past(&cx, &as_of))
}

/// Apps of then below the project's path; `None` when there were none.
pub fn table(path: &str, as_of: &AsOf, apps: Vec<AppThen>) -> Option<AnyView> {
    if apps.is_empty() {
        return None;
    }
    let path = format!("{path}/apps");
    let rows: Vec<_> = apps.into_iter().map(|app| row(&path, as_of, app)).collect();
    let columns = ["App", "Was to run", "Rollout", "State", "Now"].map(Col::Text).to_vec();
    Some(view! { <DataTable columns>{rows}</DataTable> }.into_any())
}

fn row(path: &str, as_of: &AsOf, app: AppThen) -> AnyView {
    let wanted = match app.digest.clone() {
        Some(digest) => view! {
            <DigestText digest />
            <span class="cell-sub">{app.repository.clone()}</span>
        }
        .into_any(),
        None => view! { <span class="muted">"nothing yet"</span> }.into_any(),
    };
    let state = state_then(&app);
    let who = app.actor_kind.as_deref().and_then(|kind| kind.parse().ok()).zip(app.actor.clone());
    let rollout = app.number.map(|number| {
        view! {
            {format!("#{number}, {} ", kind_words(app.kind.as_deref().unwrap_or_default(), None))}
            {app.began_at.map(|at| view! { <Ago at /> })}
            {who.map(|(kind, name)| view! { <span class="cell-sub"><Who kind name /></span> })}
            {app.reason.clone().map(|reason| view! { <span class="cell-sub break">{reason}</span> })}
        }
    });
    let now = match (&app.digest_now, &app.digest) {
        _ if app.deleted_at.is_some() => since(app.deleted_at, app.deleted_by.clone()),
        (Some(now), Some(then)) if now == then => view! { <span class="muted">"the same"</span> }.into_any(),
        (Some(now), _) => view! { <DigestText digest=now.clone() /> }.into_any(),
        (None, _) => view! { <span class="muted">"nothing yet"</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&format!("{path}/{}", app.name))>
                    {app.name.clone()}
                </a>
            </th>
            <td data-label="Was to run">{wanted}</td>
            <td data-label="Rollout">{rollout}</td>
            <td data-label="State">
                <span class="cluster gap-1">{state}</span>
            </td>
            <td data-label="Now">{now}</td>
        </tr>
    }
    .into_any()
}

/// How the rollout of then stood, and who held the app.
pub fn state_then(app: &AppThen) -> AnyView {
    let state = match (app.number, app.ended.as_deref()) {
        (None, _) => ().into_any(),
        (Some(_), None) => view! { <Badge tone=Tone::Running text="Under way" /> }.into_any(),
        (Some(_), Some(phase)) => match phase.parse() {
            Ok(phase) => super::apps::phase_badge(phase),
            Err(_) => ().into_any(),
        },
    };
    let held = app.held_by.clone().map(|by| {
        view! {
            <Badge tone=Tone::Held text="Held" />
            <span class="cell-sub">{format!("by {by}")}</span>
        }
    });
    view! { {state} {held} }.into_any()
}
