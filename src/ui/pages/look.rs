//! How pages look: what the user menu's choices post to. Kept in cookies, so that it needs no account and shows at first paint.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{REFERER, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::post;

use crate::ui::context::UiState;
use crate::ui::form::{Fields, Router};

/// `POST /settings/look`
pub fn router() -> Router {
    Router::new().route("/settings/look", post(post_look))
}

/// Sets `theme`, `density` or `times` and leads back to where the reader was.
async fn post_look(State(_): State<UiState>, headers: HeaderMap, fields: Fields) -> Response {
    let choices: [(&str, &str, &[&str]); 3] = [
        ("theme", "weir-theme", &["light", "dark"]),
        ("density", "weir-density", &["compact"]),
        ("times", "weir-times", &["absolute"]),
    ];
    let cookies: Vec<_> = choices
        .into_iter()
        .filter(|(field, ..)| fields.some(field).is_some())
        .map(|(field, cookie, values)| match values.iter().find(|value| **value == fields.get(field)) {
            Some(value) => (SET_COOKIE, format!("{cookie}={value}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly")),
            None => (SET_COOKIE, format!("{cookie}=; Path=/; Max-Age=0; SameSite=Lax; HttpOnly")),
        })
        .collect();
    (AppendHeaders(cookies), Redirect::to(&path_of(&headers))).into_response()
}

/// The path the reader came from. Never another site, whatever the header says.
fn path_of(headers: &HeaderMap) -> String {
    let referer = headers
        .get(REFERER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<axum::http::Uri>().ok());
    let path = referer.as_ref().and_then(|uri| uri.path_and_query()).map_or("/", |path| path.as_str());
    super::sign_in::same_site(path).to_owned()
}
