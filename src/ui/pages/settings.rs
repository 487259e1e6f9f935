//! A project's settings: what it holds and may hold, who may what, its secrets, and its end.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;
use secrecy::SecretString;

use super::usage::project_card;
use super::{limits, registry_hook, registry_logins};
use crate::model::{AppName, ByteSize, Login, Member, Role, SecretEntry};
use crate::server::auth::Right;
use crate::server::store::SecretData;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AreaField, Col, DataTable, PasswordField, SelectField, TextField};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/settings/members", post(post_grant))
        .route("/p/{project}/settings/members/revoke", post(post_revoke))
        .route("/p/{project}/settings/secrets", post(post_secret))
        .route("/p/{project}/settings/secrets/delete", post(post_delete_secret))
        .route("/p/{project}/settings/quota", post(post_quota))
        .route("/p/{project}/settings/limits", post(limits::post))
        .route("/p/{project}/settings/delete", post(post_delete))
}

/// `/p/:project/settings`
pub async fn page(cx: Cx) -> PageResult {
    let project = cx.project(Right::View).await?;
    let path = path_of(&cx);
    let members = cx.store().list_members(&project.name).await?;
    let admin = match project.can_admin() {
        true => {
            let secrets = cx.store().list_secrets(&project.name).await?;
            let logins = cx.store().list_logins(Some(&project.name)).await?;
            let hook = cx.store().find_registry_hook(&project.name).await?;
            let hook = hook.map(|hook| registry_hook::card(&project.name, &cx.settings().public_url, &hook));
            Some(admin_part(&path, &project, secrets, &logins, hook))
        }
        false => None,
    };
    let ask = admin.is_none().then(|| view! { <p class="muted">"To change members and secrets you need the role admin. Ask one of the admins above."</p> });
    let usage = cx.store().project_usage(&project.name).await?;
    let project_limits = cx.store().project_limits(&project.name).await?;
    let may_share_out = cx.viewer()?.is_site_admin();
    let body = view! {
        <div class="grid gap-4 lg:grid-cols-2 items-start">
            {project_card(&path, &usage, may_share_out)}
            {limits::card(&path, &project_limits, may_share_out)}
        </div>
        {members_card(&path, &project, members)}
        <section class="card stack">
            <h2>"Freezes"</h2>
            <p>
                "For a while nothing is built or rolled out by itself: "
                <a href=format!("/p/{}/freezes", project.name)>"freezes, and the form that makes one"</a>
            </p>
        </section>
        {ask}
        {admin}
    };
    Ok(Page::new("Settings", body).within(&project, Section::Settings))
}

fn path_of(cx: &Cx) -> String {
    format!("/p/{}/settings", cx.param("project"))
}

fn members_card(path: &str, project: &InProject, members: Vec<Member>) -> AnyView {
    let can_admin = project.can_admin();
    let rows: Vec<_> = members
        .into_iter()
        .map(|member| {
            let end = can_admin.then(|| {
                let fields = vec![("user", member.name.clone())];
                view! { <Act action=format!("{path}/members/revoke") label="Remove" fields on=member.name.clone() /> }
            });
            view! {
                <tr>
                    <th scope="row">
                        {member.name.clone()}
                        {(!member.display_name.is_empty()).then(|| view! { <span class="cell-sub">{member.display_name.clone()}</span> })}
                    </th>
                    <td data-label="Role">{member.role.as_str()}</td>
                    <td data-label="Since">
                        <Ago at=member.created_at />
                    </td>
                    <td>
                        <div class="row-actions">{end}</div>
                    </td>
                </tr>
            }
        })
        .collect();
    let roles = [
        ("viewer", "Viewer: look and pull"),
        ("editor", "Editor: also push, build, roll back"),
        ("admin", "Admin: also members and secrets"),
    ];
    let roles = roles.into_iter().map(|(value, words)| (value.to_owned(), words.to_owned())).collect();
    let grant = can_admin.then(|| {
        view! {
            <form class="card-body stack" method="post" action=format!("{path}/members")>
                <div class="field-row">
                    <TextField name="user" label="User name" required=true autocomplete="off" />
                    <SelectField name="role" label="Role" options=roles value="editor" />
                </div>
                <div class="form-actions">
                    <button class="btn btn-primary">"Add or change"</button>
                </div>
            </form>
        }
    });
    view! {
        <section class="card">
            <div class="card-header">
                <h2>"Members"</h2>
            </div>
            <DataTable columns=&[Col::Text("Name"), Col::Text("Role"), Col::Text("Since"), Col::Actions]>{rows}</DataTable>
            {grant}
        </section>
    }
    .into_any()
}

fn admin_part(
    path: &str,
    project: &InProject,
    secrets: Vec<SecretEntry>,
    logins: &[Login],
    hook: Option<AnyView>,
) -> AnyView {
    let action = format!("{path}/secrets");
    view! {
        {secrets_card(path, secrets, logins)}
        <div class="grid gap-4 lg:grid-cols-3 items-start">
            <form class="card stack" method="post" action=action.clone()>
                <h2>"Credentials for a registry"</h2>
                <input type="hidden" name="kind" value="registry" />
                <TextField name="registry_name" label="Name" required=true autocomplete="off" />
                <TextField
                    name="host"
                    label="Registry"
                    required=true
                    placeholder="registry.example.com"
                    hint="A host, *.example.com, or a host with the beginning of a path. Imports from there use it."
                />
                <TextField name="registry_username" label="User name" required=true autocomplete="off" />
                <PasswordField name="registry_password" label="Password or token" autocomplete="new-password" />
                <div class="form-actions">
                    <button class="btn">"Keep secret"</button>
                </div>
            </form>
            <form class="card stack" method="post" action=action.clone()>
                <h2>"For git over HTTPS"</h2>
                <input type="hidden" name="kind" value="basic-auth" />
                <TextField name="basic_name" label="Name" required=true autocomplete="off" hint="Build configs name it." />
                <TextField name="basic_username" label="User name" autocomplete="off" />
                <PasswordField name="basic_password" label="Password or token" autocomplete="new-password" />
                <div class="form-actions">
                    <button class="btn">"Keep secret"</button>
                </div>
            </form>
            <form class="card stack" method="post" action=action>
                <h2>"For git over SSH"</h2>
                <input type="hidden" name="kind" value="ssh-auth" />
                <TextField name="ssh_name" label="Name" required=true autocomplete="off" hint="Build configs name it." />
                <AreaField name="key_password" label="Private key" mono=true rows=4 placeholder="-----BEGIN OPENSSH PRIVATE KEY-----" />
                <AreaField name="known_hosts" label="Known hosts" mono=true rows=2 hint="As in the file known_hosts: the servers it may be shown to." />
                <div class="form-actions">
                    <button class="btn">"Keep secret"</button>
                </div>
            </form>
        </div>
        <section class="card stack">
            <h2>"Notices"</h2>
            <p>
                "Other programs can be told of changes: "
                <a href=format!("/p/{}/notices", project.name)>"where notices go, and how delivering them went"</a>
            </p>
        </section>
        {hook}
        {delete_card(path, &project.name)}
    }
    .into_any()
}

fn delete_card(path: &str, project: &str) -> AnyView {
    view! {
        <form class="card stack content-narrow" method="post" action=format!("{path}/delete")>
            <h2>"Delete this project"</h2>
            <p>"Its streams with their histories, builds and apps go with it; its apps stop. This cannot be undone."</p>
            <TextField name="confirm" label=format!("Type {} to confirm", project) autocomplete="off" />
            <div class="form-actions">
                <button class="btn btn-danger">"Delete project"</button>
            </div>
        </form>
    }
    .into_any()
}

fn secrets_card(path: &str, secrets: Vec<SecretEntry>, logins: &[Login]) -> AnyView {
    let rows: Vec<_> = secrets
        .into_iter()
        .map(|secret| {
            let fields = vec![("secret", secret.name.clone())];
            let kind = match secret.kind.as_str() {
                "registry" => "credentials for a registry",
                "basic-auth" => "git over HTTPS",
                _ => "git over SSH",
            };
            view! {
                <tr>
                    <th scope="row">{secret.name.clone()}</th>
                    <td data-label="For">{kind}</td>
                    <td data-label="Credentials">{standing(&secret.name, logins)}</td>
                    <td data-label="Made">
                        <Ago at=secret.created_at />
                    </td>
                    <td>
                        <div class="row-actions">
                            <Act action=format!("{path}/secrets/delete") label="Delete" fields on=secret.name.clone() />
                        </div>
                    </td>
                </tr>
            }
        })
        .collect();
    let list = if rows.is_empty() {
        view! { <p class="card-body muted">"No secret yet. What is kept here is sealed and never shown again."</p> }
            .into_any()
    } else {
        view! {
            <DataTable columns=&[Col::Text("Name"), Col::Text("For"), Col::Text("Credentials"), Col::Text("Made"), Col::Actions]>{rows}</DataTable>
        }
        .into_any()
    };
    view! {
        <section class="card">
            <div class="card-header">
                <h2>"Secrets"</h2>
            </div>
            {list}
        </section>
    }
    .into_any()
}

/// How a secret stands at each registry it is for.
fn standing(secret: &str, logins: &[Login]) -> Vec<AnyView> {
    let its = logins.iter().filter(|login| login.secret == secret);
    its.map(|login| view! { <div>{login.host.clone()}": "{registry_logins::state(login)}</div> }.into_any()).collect()
}

async fn post_quota(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        if !cx.viewer()?.is_site_admin() {
            return Err(UiError::SiteAdmin);
        }
        let quota = match fields.some("quota") {
            Some(_) => Some(fields.parse::<ByteSize>("quota")?.0),
            None => None,
        };
        cx.store().set_quota(&project.name, quota, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_grant(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        let role: Role = fields.parse("role")?;
        let user = fields.required("user", "Write the user's name")?;
        cx.store().grant_role(&project.name, user, role, &cx.actor()?).await.map_err(|error| {
            match UiError::from(error) {
                UiError::NotFound { what } => {
                    UiError::field("user", format!("{what} does not exist. A site admin can make it: weir user add"))
                }
                other => other,
            }
        })?;
        Ok(path.clone())
    })
    .await
}

async fn post_revoke(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        cx.store().revoke_role(&project.name, fields.get("user"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_secret(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        let secret = |name: &str| SecretString::from(fields.raw(name));
        let (field, data) = match fields.get("kind") {
            "registry" => {
                let (host, username) = (fields.get("host").to_owned(), fields.get("registry_username").to_owned());
                ("registry_name", SecretData::Registry { host, username, password: secret("registry_password") })
            }
            "basic-auth" => {
                let username = fields.get("basic_username").to_owned();
                ("basic_name", SecretData::BasicAuth { username, password: secret("basic_password") })
            }
            _ => {
                // A browser sends CRLF; OpenSSH wants its own line ends, and one at the end.
                let key = fields.raw("key_password").replace("\r\n", "\n").trim().to_owned() + "\n";
                let known_hosts = fields.some("known_hosts").map(|hosts| hosts.replace("\r\n", "\n"));
                ("ssh_name", SecretData::SshAuth { private_key: SecretString::from(key), known_hosts })
            }
        };
        let name: AppName = fields.parse(field)?;
        cx.store().create_secret(&project.name, &name, &data, &cx.actor()?).await.map_err(
            |error| match UiError::from(error) {
                UiError::Field { field: at, message } if at == "name" => UiError::field(field, message),
                other => other,
            },
        )?;
        Ok(path.clone())
    })
    .await
}

async fn post_delete_secret(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        cx.store().delete_secret(&project.name, fields.get("secret"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        if fields.get("confirm") != project.name {
            return Err(UiError::field("confirm", format!("Type {} to confirm", project.name)));
        }
        cx.store().delete_project(&project.name, &cx.actor()?).await?;
        Ok("/".to_owned())
    })
    .await
}
