//! The files that browsers load, out of the binary itself: `build.rs` collected, named and compressed them. Their names change with
//! their content, so they are kept for ever by whoever fetched them.

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// One file, as it is and compressed, where that is smaller.
struct Asset {
    name: &'static str,
    path: &'static str,
    hash: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Where the islands' loader and wasm are.
#[derive(Clone, Copy, Debug)]
pub struct Islands {
    /// The module that starts them: the only script of a page.
    pub js_path: &'static str,
    /// What that module fetches, to be announced in the page's head.
    pub wasm_path: &'static str,
}

/// The path of the style sheet.
pub fn css_path() -> &'static str {
    path("style.css")
}

/// The path of a file of `public/`, by its name there. An unknown name gives a path that answers 404.
pub fn path(name: &str) -> &'static str {
    find(name).map_or("/assets/missing", |asset| asset.path)
}

/// The islands, if they were built before this binary was (`tools/build-islands`); pages work without.
pub fn islands() -> Option<Islands> {
    Some(Islands { js_path: find("weir.js")?.path, wasm_path: find("weir.wasm")?.path })
}

/// `/assets/…` and `/pkg/…`, open to everyone.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{*file}", get(serve)).route("/pkg/{*file}", get(serve))
}

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

async fn serve(OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (encoding, body) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    // Each encoding is a representation of its own, so each has its own strong tag (RFC 9110, 8.8.3.3).
    let etag = format!("\"{}-{}\"", asset.hash, encoding.unwrap_or("plain"));
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unchanged = known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag);
    let fixed = [(CACHE_CONTROL, "public, max-age=31536000, immutable"), (VARY, "accept-encoding")];
    if unchanged {
        return (StatusCode::NOT_MODIFIED, fixed, [(ETAG, etag)]).into_response();
    }
    let mut response = (fixed, [(ETAG, etag)], [(CONTENT_TYPE, asset.content_type)], body).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether an `Accept-Encoding` takes `coding`: named, or by `*`, and not with `q=0`.
fn accepts(header: &str, coding: &str) -> bool {
    let mut any = false;
    for entry in header.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused =
            parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0));
        if name.eq_ignore_ascii_case(coding) {
            return !refused;
        }
        any |= name == "*" && !refused;
    }
    any
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request};
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn serves_each_encoding_under_its_own_tag() {
        let mut tags = Vec::new();
        for (accepted, encoding) in
            [("gzip, deflate, br", Some("br")), ("gzip;q=0.8, br;q=0", Some("gzip")), ("", None)]
        {
            let (status, headers, body) = ask(Method::GET, css_path(), &[("accept-encoding", accepted)]).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()), encoding);
            assert_eq!(headers[CONTENT_TYPE], "text/css; charset=utf-8");
            assert_eq!(headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
            assert_eq!(headers[VARY], "accept-encoding");
            assert!(!body.is_empty());
            assert_eq!(std::str::from_utf8(&body).is_ok_and(|css| css.contains("--accent:")), encoding.is_none());
            tags.push(headers[ETAG].clone());
        }
        tags.dedup();
        assert_eq!(tags.len(), 3);
    }

    #[tokio::test]
    async fn answers_a_known_tag_with_304_and_no_body() {
        let (_, headers, _) = ask(Method::GET, css_path(), &[("accept-encoding", "br")]).await;
        let known = format!("\"other\", W/{}", headers[ETAG].to_str().unwrap());
        let (status, headers, body) =
            ask(Method::GET, css_path(), &[("accept-encoding", "br"), ("if-none-match", &known)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert!(headers.contains_key(ETAG) && headers.contains_key(CACHE_CONTROL));
    }

    #[tokio::test]
    async fn answers_head_with_the_length_alone() {
        let (status, headers, body) = ask(Method::HEAD, path("favicon.svg"), &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_eq!(headers[CONTENT_TYPE], "image/svg+xml");
        assert!(headers["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 100);
    }

    #[tokio::test]
    async fn answers_404_for_what_is_not_there() {
        for path in [path("missing.svg"), "/assets/style.css", "/assets/../Cargo.toml", "/pkg/weir.0.js"] {
            assert_eq!(ask(Method::GET, path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask(Method::POST, css_path(), &[]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn reads_accept_encoding() {
        for (header, br) in
            [("br", true), ("gzip", false), ("*", true), ("*, br;q=0", false), ("BR;q=0.1", true), ("", false)]
        {
            assert_eq!(accepts(header, "br"), br, "{header}");
        }
    }

    #[test]
    fn the_style_sheet_stays_small() {
        let css = find("style.css").unwrap();
        assert!(css.plain.len() < 110_000, "{} bytes", css.plain.len());
        // The debug build packs it quickly rather than well, so this leaves room for what a release saves.
        assert!(css.brotli.unwrap().len() < 20_000, "{} bytes", css.brotli.unwrap().len());
    }
}
