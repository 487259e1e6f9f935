//! What used a stream or a tag at a moment, as far as builds and rollouts tell: a build says what it took in, a rollout which repository's
//! image it ran. What is not kept is said on the page.

use leptos::prelude::*;

use super::past::{since, stream_page};
use super::past_apps::state_then;
use super::past_tag;
use crate::model::{Project, ResolvedInput};
use crate::server::auth::Right;
use crate::server::store::{AppThen, ConfigThen};
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, Badge, Col, DataTable, DigestText, Empty, PageSize, Pager, Tone};
use crate::ui::context::Cx;
use crate::ui::error::UiError;

/// How many apps are listed together.
const APPS: i64 = 100;
/// The parameter that says after which app the list goes on.
const AFTER: &str = "apps";

/// `/p/:project/streams/:stream/used-by?as-of=`
pub async fn stream_users_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let body = users(&cx, &as_of, &project, &stream.name, None).await?;
    Ok(stream_page(&cx, &as_of, "Used by", body, &project, &stream))
}

/// `/p/:project/streams/:stream/tags/:tag/used-by?as-of=`
pub async fn tag_users_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let name = cx.param("tag");
    let then = cx.store().find_tag_then(&stream, name, &as_of.0).await?;
    let missing = || past_tag::nothing(&stream, name, &as_of);
    let then = then.ok_or_else(missing)?;
    let body = users(&cx, &as_of, &project, &stream.name, Some((name, &then.digest))).await?;
    Ok(past_tag::laid_out(&cx, &as_of, "Used by", body, &project, (&stream, name), then.held_by.is_some()))
}

/// Builds page by page, with the apps beside the first page; of a tag those that took it in or were to run what it pointed to.
async fn users(
    cx: &Cx,
    as_of: &AsOf,
    project: &Project,
    stream: &str,
    tag: Option<(&str, &str)>,
) -> Result<AnyView, UiError> {
    let (store, size) = (cx.store(), PageSize::of(cx));
    let mut configs = store.list_configs_then(&project.id, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut configs);
    let next = configs.last().filter(|_| more).map(|last| last.name.clone());
    let mut rows = Vec::new();
    for config in &configs {
        let inputs = config.inputs_then(&as_of.0).map_err(|error| UiError::Internal(error.to_string()))?;
        let used = inputs.into_iter().filter(|input| {
            let of = input.tag.as_ref();
            of.is_some_and(|of| {
                of.project == project.name && of.stream == stream && tag.is_none_or(|(name, _)| of.tag == name)
            })
        });
        rows.extend(used.map(|input| build_row(project, as_of, config, input, tag.map(|(_, digest)| digest))));
    }
    let builds = if rows.is_empty() {
        view! { <Empty heading="No build had taken it in"><p>"None of those that this page looked at, by the newest run that each had then."</p></Empty> }.into_any()
    } else {
        let columns = ["Build", "Tag", "Took in", "By", "Since then"].map(Col::Text).to_vec();
        view! { <DataTable columns>{rows}</DataTable> }.into_any()
    };
    let repository = format!("{}/{stream}", project.name);
    let digest = tag.map_or("", |(_, digest)| digest);
    let apps = apps(cx, as_of, project, (&repository, digest)).await?;
    let apps_heading = match tag {
        Some(_) => "Apps that were to run what it pointed to",
        None => "Apps that were to run one of its images",
    };
    let body = view! {
        <section class="stack gap-2">
            <h2>"Builds whose newest run had taken it in"</h2>
            {builds}
            <Pager cx=cx.clone() next words=("Back", "Next") />
        </section>
        <section class="stack gap-2">
            <h2>{apps_heading}</h2>
            {apps}
        </section>
        <p class="muted">
            "Of this project, and as builds and rollouts tell it. What a Dockerfile would have taken in, which tag an app followed and which tags followed this one is not kept; what other projects used stands in theirs."
        </p>
    };
    Ok(body.into_any())
}

fn build_row(
    project: &Project,
    as_of: &AsOf,
    config: &ConfigThen,
    input: ResolvedInput,
    pointed_to: Option<&str>,
) -> AnyView {
    let path = format!("/p/{}/builds/{}", project.name, config.name);
    let is_current = pointed_to.map(|pointed_to| match input.digest.as_deref() {
        Some(digest) if digest == pointed_to => view! { <Badge tone=Tone::Ok text="On current then" /> },
        _ => view! { <Badge tone=Tone::Warn text="Behind then" /> },
    });
    let run = config.number.map(|number| {
        let href = as_of.link(&format!("{path}/runs/{number}"));
        view! { <a href=href>{format!("#{number}")}</a> }
    });
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&path)>
                    {config.name.clone()}
                </a>
                {is_current}
            </th>
            <td data-label="Tag">{input.tag.as_ref().map(|tag| tag.tag.clone())}</td>
            <td data-label="Took in">
                {input.digest.map(|digest| view! { <DigestText digest /> })}
                <span class="cell-sub">{input.kind.as_str()}</span>
            </td>
            <td data-label="By">{run}</td>
            <td data-label="Since then">{since(config.deleted_at, config.deleted_by.clone())}</td>
        </tr>
    }
    .into_any()
}

/// Apps of the project that were to run an image of that repository, or that image, by name: some of them, with the way to the others.
pub async fn apps(cx: &Cx, as_of: &AsOf, project: &Project, of: (&str, &str)) -> Result<AnyView, UiError> {
    let after = cx.query(AFTER);
    let mut apps = cx.store().list_apps_running_then(&project.id, &as_of.0, of, after, APPS + 1).await?;
    let more = i64::try_from(apps.len()).is_ok_and(|count| count > APPS);
    if more {
        apps.pop();
    }
    let next = apps.last().filter(|_| more).map(|last| {
        let href = cx.with_query(&[(AFTER, &last.name)]);
        view! {
            <p>
                {format!("These are {APPS}, by name, and there are more: ")}
                <a href=href>"the next apps"</a>
            </p>
        }
    });
    let first = (!after.is_empty()).then(|| {
        view! {
            <p>
                <a href=cx.with_query(&[(AFTER, "")])>"From the first app on"</a>
            </p>
        }
    });
    let table = app_table(project, as_of, apps);
    Ok(view! { {first} {table} {next} }.into_any())
}

/// Apps with what they were to run.
fn app_table(project: &Project, as_of: &AsOf, apps: Vec<AppThen>) -> AnyView {
    if apps.is_empty() {
        return view! { <p class="muted">"None of this project's, by the newest rollout that each had then."</p> }
            .into_any();
    }
    let rows: Vec<_> = apps
        .into_iter()
        .map(|app| {
            let href = as_of.link(&format!("/p/{}/apps/{}", project.name, app.name));
            let state = state_then(&app);
            let since = since(app.deleted_at, app.deleted_by.clone());
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=href>{app.name}</a>
                    </th>
                    <td data-label="Was to run">
                        {app.digest.map(|digest| view! { <DigestText digest /> })}
                        <span class="cell-sub">{app.repository}</span>
                    </td>
                    <td data-label="State">
                        <span class="cluster gap-1">{state}</span>
                    </td>
                    <td data-label="Since then">{since}</td>
                </tr>
            }
        })
        .collect();
    let columns = ["App", "Was to run", "State", "Since then"].map(Col::Text).to_vec();
    view! { <DataTable columns>{rows}</DataTable> }.into_any()
}
