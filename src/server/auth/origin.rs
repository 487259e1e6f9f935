//! Refuses changes that another site makes a browser ask for. Cookies travel with such requests; bearer tokens do not.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The address people reach the console at, as configured.
#[derive(Debug, Clone)]
pub struct PublicOrigin(pub String);

/// Middleware: lets through what reads, what carries its own credentials, and what comes from our own pages.
pub async fn same_site_only(State(public): State<PublicOrigin>, request: Request, next: Next) -> Response {
    if is_safe(request.method()) || is_ours(request.headers(), request.uri(), &public.0) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this request came from another site, so it was refused; open Weir itself and try there")
        .into_response()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_ours(headers: &HeaderMap, uri: &Uri, public: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Basic credentials do not count: browsers keep those and send them along, as they do cookies.
    if text("authorization")
        .is_some_and(|value| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")))
    {
        return true;
    }
    // Browsers say it themselves, and pages cannot forge it. `none` is the person's own doing, like a bookmark.
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers send at least `Origin` with every POST. What sends neither is no browser.
    let Some(origin) = text("origin") else { return true };
    let host = uri.host().map(|_| uri.authority().map_or("", |authority| authority.as_str())).or_else(|| text("host"));
    let origin_host = origin.split_once("://").map(|(_, rest)| rest);
    origin == public.trim_end_matches('/') || (origin_host.is_some() && origin_host == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        is_ours(&map, &Uri::from_static("/p/demo"), "https://weir.example.com/")
    }

    #[test]
    fn only_our_own_pages_may_change_things_with_a_cookie() {
        assert!(ours(&[("sec-fetch-site", "same-origin")]));
        assert!(!ours(&[("sec-fetch-site", "cross-site")]));
        assert!(!ours(&[("sec-fetch-site", "same-site")]));
        assert!(ours(&[("sec-fetch-site", "cross-site"), ("authorization", "Bearer x")]));
        assert!(!ours(&[("sec-fetch-site", "cross-site"), ("authorization", "Basic x")]));
        assert!(ours(&[("origin", "https://weir.example.com"), ("host", "10.0.0.1:8080")]));
        assert!(ours(&[("origin", "http://localhost:8080"), ("host", "localhost:8080")]));
        assert!(!ours(&[("origin", "https://evil.example"), ("host", "localhost:8080")]));
        assert!(!ours(&[("origin", "null"), ("host", "localhost:8080")]));
        assert!(ours(&[("host", "localhost:8080")]), "curl");
    }
}
