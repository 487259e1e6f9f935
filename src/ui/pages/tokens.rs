//! One's own tokens: what programs sign in with. A token's text is shown once.

use axum::response::{IntoResponse, Response};
use axum::routing::post;
use leptos::prelude::*;
use secrecy::ExposeSecret as _;

use crate::model::{Role, Token, User, now};
use crate::server::auth::{PrincipalKind, Right};
use crate::server::store::NewToken;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, Col, CopyText, DataTable, Empty, SelectField, TextField};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, FormState, Router};
use crate::ui::shell::Page;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What the forms post to.
pub fn router() -> Router {
    Router::new().route("/tokens", post(post_create)).route("/tokens/{token}/revoke", post(post_revoke))
}

/// The text of a token just made: travels to the page of the same answer and nowhere else.
#[derive(Clone)]
struct Made {
    name: String,
    text: std::sync::Arc<secrecy::SecretString>,
}

/// Who makes and ends tokens: people with a session. A token must not make itself a successor.
fn person(cx: &Cx) -> Result<&User, UiError> {
    let viewer = cx.viewer()?;
    match (&viewer.kind, &viewer.user) {
        (PrincipalKind::Session, Some(user)) => Ok(user),
        _ => Err(UiError::Conflict("tokens are managed by people who signed in, not by tokens".to_owned())),
    }
}

/// `/tokens`
pub async fn page(cx: Cx) -> PageResult {
    let user = person(&cx)?;
    let tokens = cx.store().list_tokens(&user.id).await?;
    let projects = cx.store().list_projects(cx.viewer()?.list_for(), "", 200).await?;
    let made = cx.parts.extensions.get::<Made>().cloned().map(|made| {
        view! {
            <section class="banner banner-ok" role="status">
                <p>
                    <strong>{format!("Token {} is made. Copy it now: nobody can read it again.", made.name)}</strong>
                </p>
                <CopyText text=made.text.expose_secret().to_owned() />
                <p class="small">{format!("docker login {} -u {} and this as the password", cx.settings().registry_host(), user.name)}</p>
            </section>
        }
    });
    let everywhere = [(String::new(), "All my projects".to_owned())];
    let projects = everywhere
        .into_iter()
        .chain(projects.into_iter().map(|project| (project.name.clone(), project.name)))
        .collect();
    let roles = [
        ("", "All I may"),
        ("viewer", "Viewer: look and pull"),
        ("editor", "Editor: also push, build, roll back"),
        ("admin", "Admin"),
    ];
    let expiry = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never")];
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(value, words)| ((*value).to_owned(), (*words).to_owned())).collect::<Vec<_>>()
    };
    let list = if tokens.is_empty() {
        view! { <Empty heading="You have no token"><p>"Scripts and registry clients sign in with a token instead of your password."</p></Empty> }.into_any()
    } else {
        let rows: Vec<_> = tokens.into_iter().map(row).collect();
        view! {
            <DataTable
                columns=&[
                    Col::Text("Name"), Col::Text("Where"), Col::Text("May"), Col::Text("Made"), Col::Text("Last used"),
                    Col::Text("Ends"), Col::Actions
                ]
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let body = view! {
        {made}
        {list}
        <form class="card stack content-narrow" method="post" action="/tokens">
            <h2>"New token"</h2>
            <TextField name="name" label="Name" required=true maxlength=100 hint="What it is for: “laptop”, “ci of web”." />
            <div class="field-row">
                <SelectField name="project" label="Where" options=projects />
                <SelectField name="role" label="May" options=pairs(&roles) />
                <SelectField name="days" label="Ends after" options=pairs(&expiry) value="90" />
            </div>
            <div class="form-actions">
                <button class="btn btn-primary">"Make token"</button>
            </div>
        </form>
    };
    Ok(Page::new("Your tokens", body).crumb("Projects", "/"))
}

fn row(token: Token) -> AnyView {
    let ends = match token.expires_at {
        Some(at) if at < now() => view! { "ended "<Ago at /> }.into_any(),
        Some(at) => view! { <Ago at /> }.into_any(),
        None => "never".into_any(),
    };
    let role = token.role_limit().map_or_else(|| "all you may".to_owned(), |role| role.to_string());
    view! {
        <tr>
            <th scope="row">{token.name.clone()}</th>
            <td data-label="Where">{token.project.clone().unwrap_or_else(|| "all your projects".to_owned())}</td>
            <td data-label="May">{role}</td>
            <td data-label="Made">
                <Ago at=token.created_at />
            </td>
            <td data-label="Last used">{token.last_used_at.map_or_else(|| "never".into_any(), |at| view! { <Ago at /> }.into_any())}</td>
            <td data-label="Ends">{ends}</td>
            <td>
                <div class="row-actions">
                    <Act action=format!("/tokens/{}/revoke", token.id) label="Revoke" on=token.name.clone() />
                </div>
            </td>
        </tr>
    }
    .into_any()
}

/// Answers with the page itself, not with a redirect: the text must be in one answer only.
async fn post_create(cx: Cx, fields: Fields) -> Response {
    match create(&cx, &fields).await {
        Ok(made) => cx
            .with_extension(made)
            .render("/tokens", FormState::default(), axum::http::StatusCode::OK)
            .await
            .into_response(),
        Err(error) => cx.refuse(&fields, "/tokens", &error).await,
    }
}

async fn create(cx: &Cx, fields: &Fields) -> Result<Made, UiError> {
    let user = person(cx)?;
    let name = fields.required("name", "Give it a name, so that you know it when you want to revoke it")?;
    let project = match fields.some("project") {
        Some(project) => Some(cx.project_named(project, Right::View).await?),
        None => None,
    };
    let role: Option<Role> = fields.some("role").map(|_| fields.parse("role")).transpose()?;
    let days: Option<i64> = fields.some("days").map(|_| fields.parse("days")).transpose()?;
    let new = NewToken {
        project_id: project.as_ref().map(|project| project.id.as_str()),
        role,
        expires_at: days.map(|days| now() + days.clamp(1, 3650) * DAY_MS),
        ..NewToken::user(name, &user.id)
    };
    let (_, text) = cx.store().create_token(new, &cx.actor()?).await?;
    Ok(Made { name: name.to_owned(), text: std::sync::Arc::new(text) })
}

async fn post_revoke(cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, "/tokens", async {
        let user = person(&cx)?;
        cx.store().revoke_token(cx.param("token"), Some(&user.id), &cx.actor()?).await?;
        Ok("/tokens".to_owned())
    })
    .await
}
