//! Where a project's notices go: the list, and the forms that make and change a target.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};

use crate::model::{AppName, NoticeKind, NoticeTarget};
use crate::server::auth::Right;
use crate::server::notices::{check_url, new_secret, parse_secret};
use crate::server::store::NoticeTargetFields;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, Badge, CheckField, Col, CopyText, DataTable, Empty, PasswordField, TextField, Tone};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, FormState, Router};
use crate::ui::shell::{Page, Section};

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/notices/new", post(post_create))
        .route("/p/{project}/notices/{target}/edit", post(post_update))
}

/// The text of a secret just made: travels to the page of the same answer and nowhere else.
#[derive(Clone)]
pub struct MadeSecret(pub Arc<SecretString>);

impl MadeSecret {
    /// Tells it, when this very request made it.
    pub fn banner(cx: &Cx) -> Option<AnyView> {
        let Self(secret) = cx.parts.extensions.get::<Self>().cloned()?;
        let banner = view! {
            <section class="banner banner-ok" role="status">
                <p>
                    <strong>"Give the receiver this secret now: nobody can read it again."</strong>
                </p>
                <p>
                    <CopyText text=secret.expose_secret().to_owned() />
                </p>
                <p>"With it the receiver checks the header webhook-signature, as Standard Webhooks says."</p>
            </section>
        };
        Some(banner.into_any())
    }
}

/// The address of the list.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/notices", cx.param("project"))
}

/// A page of this part of the settings.
pub fn framed(page: Page, project: &InProject) -> Page {
    page.within(project, Section::Settings).crumb("Settings", format!("/p/{}/settings", project.name))
}

/// `/p/:project/notices`
pub async fn page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Admin).await?;
    let path = path_of(&cx);
    let targets = cx.store().list_notice_targets(&project.name).await?;
    let new = format!("{path}/new");
    let list = if targets.is_empty() {
        let new = new.clone();
        view! {
            <Empty heading="Nobody is told of changes">
                <p>
                    "A target is an address that Weir sends a signed message to when a tag moves, an import or build begins to fail or goes well again, something is rolled back or held."
                </p>
                <p>
                    <a class="btn" href=new>
                        "New target"
                    </a>
                </p>
            </Empty>
        }
        .into_any()
    } else {
        let rows: Vec<_> = targets.iter().map(|target| row(&path, target)).collect();
        view! {
            <DataTable columns=&[
                Col::Text("Name"), Col::Text("State"), Col::Text("Last attempt"), Col::Number("Waiting"), Col::Text("Is told")
            ]>{rows}</DataTable>
        }
        .into_any()
    };
    let new = view! {
        <a class="btn btn-primary" href=new>
            "New target"
        </a>
    };
    Ok(framed(Page::new("Notices", list).actions(new), &project))
}

fn row(path: &str, target: &NoticeTarget) -> AnyView {
    let chosen = target.chosen();
    let told = match chosen.len() {
        n if n + 1 == NoticeKind::ALL.len() => "everything".to_owned(),
        1..=3 => chosen.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
        n => format!("{n} kinds of change"),
    };
    view! {
        <tr>
            <th scope="row" class="min-w-[12rem]">
                <a class="cell-main" href=format!("{path}/{}", target.name)>
                    {target.name.clone()}
                </a>
                <span class="cell-sub break">{target.url.clone()}</span>
            </th>
            <td data-label="State">{state_badge(target)}</td>
            <td data-label="Last attempt">{last_attempt(target)}</td>
            <td class="num" data-label="Waiting">
                {target.waiting}
            </td>
            <td data-label="Is told">{told}</td>
        </tr>
    }
    .into_any()
}

/// How a target stands, in a word.
pub fn state_badge(target: &NoticeTarget) -> AnyView {
    let (tone, text) = match (target.off_at, target.last_state.as_deref()) {
        (Some(_), _) => (Tone::Muted, "Off"),
        (None, None) => (Tone::Muted, "Nothing sent yet"),
        (None, Some("delivered")) => (Tone::Ok, "Delivers"),
        (None, Some(_)) => (Tone::Fail, "Fails"),
    };
    view! { <Badge tone=tone text=text /> }.into_any()
}

/// When it was tried last, and what it answered.
pub fn last_attempt(target: &NoticeTarget) -> AnyView {
    match target.last_at {
        None => view! { <span class="muted">"never"</span> }.into_any(),
        Some(at) => {
            let answer = target.last_answer.clone().unwrap_or_default();
            view! {
                <Ago at />
                <span class="cell-sub break">{answer}</span>
            }
            .into_any()
        }
    }
}

/// `/p/:project/notices/new`
pub async fn new_page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Admin).await?;
    let path = path_of(&cx);
    let body = form(&cx, &format!("{path}/new"), None);
    Ok(framed(Page::new("New target", body).narrow(), &project).crumb("Notices", path))
}

/// `/p/:project/notices/:target/edit`
pub async fn edit_page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Admin).await?;
    let path = path_of(&cx);
    let target = cx.store().load_notice_target(&project.name, cx.param("target")).await?;
    let here = format!("{path}/{}", target.name);
    let body = form(&cx, &format!("{here}/edit"), Some(&target));
    let page = Page::new(format!("Edit {}", target.name), body).narrow();
    Ok(framed(page, &project).crumb("Notices", path).crumb(target.name.clone(), here))
}

fn form(cx: &Cx, action: &str, target: Option<&NoticeTarget>) -> AnyView {
    let chosen = target.map(NoticeTarget::chosen);
    let groups: Vec<_> = NoticeKind::GROUPS.into_iter().map(|group| kinds_group(group, chosen.as_deref())).collect();
    let first = target.is_none().then(|| {
        view! { <TextField name="name" label="Name" required=true autocomplete="off" hint="What it is for, in small letters: team-chat, deploy-bot." /> }
    });
    let secret = target.is_none().then(|| {
        view! {
            <PasswordField
                name="secret_password"
                label="Secret"
                required=false
                autocomplete="off"
                hint="Leave it empty: one is made and shown once. An own one is whsec_ and 24 to 64 bytes in base64."
            />
        }
    });
    let version = target.map(|target| view! { <input type="hidden" name="version" value=target.version /> });
    let url = target.map(|target| target.url.clone()).unwrap_or_default();
    let kinds_error =
        cx.form.error("kinds").map(|error| view! { <p class="error" role="alert">{error.to_owned()}</p> });
    let submit = if target.is_some() { "Save" } else { "Make target" };
    view! {
        <form class="card stack" method="post" action=action.to_owned()>
            {version} {first}
            <TextField
                name="url"
                label="Address"
                value=url
                kind="url"
                required=true
                autocomplete="off"
                placeholder="https://chat.example.com/hooks/weir"
                hint="Every notice is a POST with JSON. Redirects are not followed."
            />
            {secret}
            <CheckField
                name="on"
                label="On"
                checked=target.is_none_or(|target| target.off_at.is_none())
                hint="Turned off, it is told nothing, and what waits is dropped."
            />
            <h2>"Tell it when"</h2>
            {kinds_error}
            {groups}
            <div class="form-actions">
                <button class="btn btn-primary">{submit}</button>
            </div>
        </form>
    }
    .into_any()
}

fn kinds_group(group: (&'static str, &'static [NoticeKind]), chosen: Option<&[NoticeKind]>) -> AnyView {
    let (noun, kinds) = group;
    let boxes: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let checked = chosen.is_none_or(|chosen| chosen.contains(kind));
            view! { <CheckField name=kind.as_str() label=kind.words() checked /> }
        })
        .collect();
    view! {
        <fieldset class="stack gap-1">
            <legend class="label">{noun}</legend>
            {boxes}
        </fieldset>
    }
    .into_any()
}

fn read(cx: &Cx, fields: &Fields) -> Result<NoticeTargetFields, UiError> {
    let url = fields.required("url", "Write the address that notices go to")?;
    let url = check_url(url, cx.settings().notice_reach).map_err(|problem| UiError::field("url", problem))?;
    let offered = NoticeKind::GROUPS.iter().flat_map(|(_, kinds)| kinds.iter().copied());
    let kinds = offered.filter(|kind| fields.ticked(kind.as_str())).collect();
    Ok(NoticeTargetFields { url: url.into(), kinds, is_off: !fields.ticked("on") })
}

/// Answers with the page itself, not with a redirect: the secret must be in one answer only.
async fn post_create(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    match create(&cx, &fields).await {
        Ok((name, Some(made))) => {
            let cx = cx.with_extension(made);
            cx.render(&format!("{path}/{name}"), FormState::default(), StatusCode::OK).await
        }
        Ok((name, None)) => cx.submit(&fields, &path, async { Ok(format!("{path}/{name}")) }).await,
        Err(error) => cx.refuse(&fields, &format!("{path}/new"), &error).await,
    }
}

async fn create(cx: &Cx, fields: &Fields) -> Result<(AppName, Option<MadeSecret>), UiError> {
    let project = cx.project(Right::Admin).await?;
    let name: AppName = fields.parse("name")?;
    let target = read(cx, fields)?;
    let own = fields.some("secret_password").map(|own| parse_secret(&own.into()));
    let own = own.transpose().map_err(|error| UiError::field("secret_password", error.to_string()))?;
    let secret = own.clone().unwrap_or_else(new_secret);
    cx.store().create_notice_target(&project.name, &name, &target, &secret, &cx.actor()?).await?;
    Ok((name, own.is_none().then(|| MadeSecret(Arc::new(secret)))))
}

async fn post_update(cx: Cx, fields: Fields) -> Response {
    let here = format!("{}/{}", path_of(&cx), cx.param("target"));
    cx.submit(&fields, &format!("{here}/edit"), async {
        let project = cx.project(Right::Admin).await?;
        let target = read(&cx, &fields)?;
        let version = fields.get("version").parse().ok();
        cx.store().update_notice_target(&project.name, cx.param("target"), &target, version, &cx.actor()?).await?;
        Ok(here.clone())
    })
    .await
}
