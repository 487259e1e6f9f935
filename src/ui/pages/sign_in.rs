//! Signing in and out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use leptos::prelude::*;
use secrecy::SecretString;
use tower_sessions::Session;

use crate::server::auth::{AuthError, extract};
use crate::ui::app::{PageResult, redirect};
use crate::ui::components::{PasswordField, TextField};
use crate::ui::context::{Cx, UiState};
use crate::ui::error::{UiError, sign_in_path};
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// `POST /login`, `POST /logout`
pub fn router() -> Router {
    Router::new().route("/login", post(post_login)).route("/logout", post(post_logout))
}

/// `/login?next=`
pub async fn page(cx: Cx) -> PageResult {
    let next = same_site(cx.query("next")).to_owned();
    if cx.find_viewer().is_some() {
        redirect(&next);
    }
    let refused = cx.form.message().map(|message| {
        view! {
            <div class="banner banner-fail" role="alert">
                <p>{message.to_owned()}</p>
            </div>
        }
    });
    let body = view! {
        <form class="card stack" method="post" action="/login">
            <div class="stack gap-1">
                <span class="brand">
                    <img src=crate::server::assets::path("favicon.svg") alt="" width="24" height="24" />
                    "Weir"
                </span>
                <h1>"Sign in"</h1>
            </div>
            {refused}
            <input type="hidden" name="next" value=next />
            <TextField name="user" label="User name" autocomplete="username" required=true autofocus=true />
            <PasswordField name="password" label="Password" />
            <button class="btn btn-primary">"Sign in"</button>
            <p class="small muted">
                "No account, or the password is lost? A site admin can make one: "<code>"weir user add"</code>"."
            </p>
        </form>
    };
    Ok(Page::alone("Sign in", body))
}

async fn post_login(State(state): State<UiState>, session: Session, cx: Cx, fields: Fields) -> Response {
    let next = same_site(fields.get("next")).to_owned();
    let password = SecretString::from(fields.raw("password"));
    let address = extract::address(&cx.parts);
    let signed_in = match state.app.auth.check_password(fields.get("user"), &password, &address).await {
        Ok(user) => state.app.auth.sign_in(&session, &user).await,
        Err(error) => Err(error),
    };
    match signed_in {
        Ok(()) => Redirect::to(&next).into_response(),
        Err(error) => {
            let mut response = cx.refuse(&fields, &sign_in_path(&next), &refusal(&error)).await;
            if let AuthError::Wrong = error {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            response
        }
    }
}

fn refusal(error: &AuthError) -> UiError {
    match error {
        AuthError::Limited { .. } => UiError::TooMany(error.to_string()),
        AuthError::Store(cause) => match cause.outage() {
            Some(outage) => UiError::Outage(outage),
            None => UiError::Internal(cause.to_string()),
        },
        AuthError::Missing | AuthError::Wrong => UiError::field("user", "The user name or the password is wrong"),
    }
}

async fn post_logout(State(state): State<UiState>, session: Session, cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, "/", async {
        state.app.auth.sign_out(&session).await.map_err(|error| UiError::Internal(error.to_string()))?;
        Ok("/login".to_owned())
    })
    .await
}

/// `next` when it is a path of this site, else `/`. Browsers take `//host`, `/\host` and control characters for ways to other sites.
pub fn same_site(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if path && next.bytes().all(|b| b.is_ascii_graphic()) && !next.starts_with("/login") { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::same_site;

    #[test]
    fn signing_in_leads_nowhere_else() {
        assert_eq!(same_site("/p/demo?q=a"), "/p/demo?q=a");
        for other in [
            "",
            "https://example.com",
            "//example.com",
            "/\\example.com",
            "/\t/example.com",
            "javascript:alert(1)",
            "/login?next=/",
        ] {
            assert_eq!(same_site(other), "/");
        }
    }
}
