//! A registry that has nothing but a list of tags.

use serde_json::json;

use super::programmable::{Upstream, answer};

/// Has repository `org/app` with the tags 3.0 to 3.11 and `latest`, five on a page.
pub async fn lister() -> Upstream {
    Upstream::answering(|seen| {
        let tags: Vec<String> = (0..12).map(|number| format!("3.{number}")).chain(["latest".to_owned()]).collect();
        let Some((path, query)) = seen.uri.split_once('?').filter(|(path, _)| path.ends_with("/tags/list")) else {
            return answer(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#);
        };
        if path != "/v2/org/app/tags/list" {
            return answer(404, &[], r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}"#);
        }
        let from =
            query.split("last=").nth(1).and_then(|last| tags.iter().position(|tag| tag == last)).map_or(0, |at| at + 1);
        let page: Vec<&String> = tags.iter().skip(from).take(5).collect();
        let body = json!({"name": "org/app", "tags": page}).to_string();
        let last = page.last().filter(|_| from + page.len() < tags.len());
        match last {
            Some(last) => {
                answer(200, &[("link", &format!("</v2/org/app/tags/list?n=5&last={last}>; rel=\"next\""))], body)
            }
            None => answer(200, &[], body),
        }
    })
    .await
}
