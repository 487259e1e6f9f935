//! All apps of a project: what runs, what should, and the way back.

use leptos::prelude::*;

use super::past_apps;
use super::standing::Standing;
use crate::model::{App, RolloutPhase};
use crate::server::auth::Right;
use crate::server::store::{Depth, ListedRollout};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, Ago, AsOf, AsOfForm, Badge, Col, DataTable, DigestText, Empty, More, PageSize, Pager, Tone, Who,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::shell::{Page, Section};

/// `/p/:project/apps`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_apps::page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let mut apps = cx.store().list_apps(&project.name, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut apps);
    let next = apps.last().filter(|_| more).map(|last| last.name.clone());
    let (first, last) = (apps.first().map_or("", |app| &app.name), apps.last().map_or("", |app| &app.name));
    let mut rollouts = cx.store().list_newest_rollouts(&project.name, first, last).await?;
    let mut depths = cx.store().list_app_depths(&project.id, first, last).await?;
    let new = project.can_edit().then(|| {
        view! {
            <a class="btn btn-primary" href=format!("/p/{}/apps/new", project.name)>
                "New app"
            </a>
        }
    });
    let actions = view! {
        {new}
        <AsOfForm />
    };
    let body = if apps.is_empty() {
        view! {
            <Empty heading="No apps yet">
                <p>
                    "An app runs containers of the image a stream's tag points to. When the tag moves, the app follows; Roll back brings the image before."
                </p>
            </Empty>
        }
        .into_any()
    } else {
        let rows: Vec<_> = apps
            .into_iter()
            .map(|app| {
                let (rollout, depth) = (rollouts.remove(&app.id), depths.remove(&app.id).unwrap_or_default());
                row(&project, &app, rollout, &depth)
            })
            .collect();
        view! {
            <a class="pill-new" data-new-pill hidden href="">"New apps"</a>
            <DataTable
                columns=&[
                    Col::Text("App"), Col::Text("State"), Col::Text("Running"), Col::Text("Wanted"), Col::Text("Last rollout"),
                    Col::Text("Rollback depth"), Col::Number("Replicas"), Col::Actions
                ]
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let body = view! {
        {body}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Apps", body).within(&project, Section::Apps).actions(actions))
}

/// A rollout's phase on its colour.
pub fn phase_badge(phase: RolloutPhase) -> AnyView {
    let (tone, word) = match phase {
        RolloutPhase::Pending => (Tone::Muted, "Waiting"),
        RolloutPhase::Running => (Tone::Running, "Rolling"),
        RolloutPhase::Complete => (Tone::Ok, "Complete"),
        RolloutPhase::Failed => (Tone::Fail, "Failed"),
        RolloutPhase::Cancelled => (Tone::Muted, "Superseded"),
    };
    view! { <Badge tone text=word /> }.into_any()
}

/// What started a rollout, in words.
pub fn kind_words(kind: &str, to: Option<i64>) -> String {
    match (kind, to) {
        ("image", _) => "image change".to_owned(),
        ("config", _) => "settings changed".to_owned(),
        ("manual", _) => "deploy newest".to_owned(),
        (kind, Some(to)) => format!("{kind} to #{to}"),
        (kind, None) => kind.to_owned(),
    }
}

fn row(project: &InProject, app: &App, rollout: Option<ListedRollout>, depth: &Depth) -> AnyView {
    let path = format!("/p/{}/apps/{}", project.name, app.name);
    let standing = Standing::of(app);
    let image = if app.image_project == project.name {
        format!("{}:{}", app.image_stream, app.image_tag)
    } else {
        format!("{}/{}:{}", app.image_project, app.image_stream, app.image_tag)
    };
    let tag = format!("/p/{}/streams/{}/tags/{}", app.image_project, app.image_stream, app.image_tag);
    let running: Vec<_> =
        standing.running().into_iter().map(|digest| view! { <div><DigestText digest /></div> }).collect();
    let running = if running.is_empty() {
        view! { <span class="muted">"none seen"</span> }.into_any()
    } else {
        running.into_any()
    };
    let wanted = match &app.wanted_digest {
        Some(digest) if standing.running() == [digest.as_str()] => {
            view! { <span class="muted">"the same"</span> }.into_any()
        }
        Some(digest) => view! { <DigestText digest=digest.clone() /> }.into_any(),
        None => view! { <span class="muted">"nothing yet"</span> }.into_any(),
    };
    let newer = app.is_behind().then(|| view! { <span class="cell-sub">"1 newer waiting"</span> });
    let held = rollout.as_ref().and_then(|rollout| rollout.held_by.clone()).map(|by| {
        let reason =
            rollout.as_ref().and_then(|rollout| rollout.held_reason.clone()).map(|reason| format!(": {reason}"));
        view! { <span class="cell-sub">{format!("Held by {by}{}", reason.unwrap_or_default())}</span> }
    });
    let actions = project.can_edit().then(|| actions(app, rollout.as_ref(), &path));
    let key = app.name.clone();
    view! {
        <tr data-row=app.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {app.name.clone()}
                </a>
                <span class="cell-sub"><a href=tag>{image}</a></span>
            </th>
            <td data-label="State" data-live=format!("state-{key}")>
                {standing.badges(app)}
                {held}
            </td>
            <td data-label="Running" data-live=format!("running-{key}")>
                {running}
            </td>
            <td data-label="Wanted" data-live=format!("wanted-{key}")>
                {wanted}
                {newer}
            </td>
            <td data-label="Last rollout" data-live=format!("rollout-{key}")>
                {rollout.as_ref().map(last_rollout)}
            </td>
            <td data-label="Rollback depth">{rollback_depth(depth)}</td>
            <td data-label="Replicas" class="num" data-live=format!("replicas-{key}")>
                {format!("{}/{}", standing.ready, standing.replicas)}
            </td>
            <td data-live=format!("actions-{key}")>
                <div class="row-actions">{actions}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// How many of an app's last versions are whole, and when that was last looked at.
fn rollback_depth(depth: &Depth) -> AnyView {
    let words = format!("{}/{}", depth.whole, depth.of);
    let shown = match depth.whole < depth.of {
        true => view! { <Badge tone=Tone::Fail text=words /> }.into_any(),
        false => words.into_any(),
    };
    let looked_at = match (depth.of, depth.verified_at) {
        (0, _) => None,
        (_, Some(at)) => Some(view! { <span class="cell-sub">"verified "<Ago at /></span> }.into_any()),
        (_, None) => Some(view! { <span class="cell-sub">"not verified yet"</span> }.into_any()),
    };
    view! { {shown} {looked_at} }.into_any()
}

fn last_rollout(rollout: &ListedRollout) -> AnyView {
    let who = rollout.actor_kind.parse().ok().map(|kind| view! { <Who kind name=rollout.actor.clone() /> });
    let why = rollout.reason.clone().unwrap_or_else(|| kind_words(&rollout.kind, None));
    view! {
        {format!("#{} ", rollout.number)}
        <Ago at=rollout.created_at />
        <span class="cell-sub">{why} " " {who}</span>
    }
    .into_any()
}

fn actions(app: &App, rollout: Option<&ListedRollout>, path: &str) -> AnyView {
    let on = app.name.clone();
    let back = match rollout.and_then(|rollout| rollout.number_before) {
        Some(to) => view! {
            <Act action=format!("{path}/rollback") label="Roll back" fields=vec![("to", to.to_string())] on=format!("{on} to #{to}") />
        }
        .into_any(),
        None => view! { <Act action="" label="Roll back" disabled="no rollout with another image before this one" /> }.into_any(),
    };
    let deploy =
        || view! { <Act action=format!("{path}/deploy") label="Deploy newest now" on=on.clone() /> }.into_any();
    let second = match (app.held_since, app.is_behind()) {
        (Some(_), _) => Some(view! { <Act action=format!("{path}/resume") label="Resume" on=on.clone() /> }.into_any()),
        (None, true) => Some(deploy()),
        (None, false) => None,
    };
    let deploy_held = (app.held_since.is_some() && app.is_behind()).then(|| {
        view! {
            <form method="post" action=format!("{path}/deploy")>
                <button>"Deploy newest now"</button>
            </form>
        }
    });
    let hold = app.held_since.is_none().then(|| {
        view! {
            <form method="post" action=format!("{path}/hold")>
                <button>"Hold"</button>
            </form>
        }
    });
    let links = view! {
        <a href=format!("{path}/rollback")>"Roll back…"</a>
        <a href=format!("{path}#rollouts")>"Rollouts"</a>
        <a href=format!("/p/{}/graph?node=app:{}&focus=up", app.project, app.name)>"Graph"</a>
        <a href=format!("{path}/edit")>"Edit…"</a>
        <hr />
        <a class="danger" href=format!("{path}/delete")>
            "Delete…"
        </a>
    };
    view! {
        {back}
        {second}
        <More on=app.name.clone()>{deploy_held} {hold} {links}</More>
    }
    .into_any()
}
