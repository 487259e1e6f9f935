//! "Listing Tags".

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::door::{Door, header};
use super::{index, json_of, put};

/// A repository with these tags, all of one image.
async fn with_tags(tags: &[&str]) -> Door {
    let door = Door::open().await;
    for tag in tags {
        put(&door, "demo/app", tag, &index(&[], json!({}))).await;
    }
    door
}

async fn list(door: &Door, query: &str) -> Vec<String> {
    let answer = door.get(&format!("demo/app/tags/list{query}")).await;
    assert_eq!(answer.status(), 200, "{query}");
    names(&json_of(answer).await)
}

fn names(body: &Value) -> Vec<String> {
    let tags = body["tags"].as_array().expect("a list");
    tags.iter().map(|tag| tag.as_str().expect("text").to_owned()).collect()
}

/// "Assuming a repository is found, this request MUST return a 200 OK response code." "Upon success, the response MUST be a json body in
/// the following format".
#[tokio::test]
async fn the_list_is_json() {
    let door = with_tags(&["one", "two"]).await;
    let answer = door.get("demo/app/tags/list").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (200, "application/json"));
    assert_eq!(json_of(answer).await, json!({"name": "demo/app", "tags": ["one", "two"]}));
}

/// "The list of tags MAY be empty if there are no tags on the repository." It is a list all the same.
#[tokio::test]
async fn a_repository_without_tags_has_an_empty_list() {
    let door = Door::open().await;
    door.put_blob("demo/app", &Bytes::from_static(b"x")).await;
    let answer = door.get("demo/app/tags/list").await;
    assert_eq!(json_of(answer).await, json!({"name": "demo/app", "tags": []}));
    assert_eq!(door.get("demo/none/tags/list").await.status(), 404);
}

/// "If the list is not empty, the tags MUST be in lexical (i.e. case-insensitive alphanumeric order) or `ASCIIbetical` order."
#[tokio::test]
async fn tags_are_in_the_order_of_their_bytes() {
    let mut tags = ["v10", "v2", "V3", "a-b", "a.b", "a_b", "ab", "Z", "_", "1", "10", "2"];
    let door = with_tags(&tags).await;
    tags.sort_unstable();
    assert_eq!(list(&door, "").await, tags);
}

/// The response to a request with `n` "MAY return fewer than <int> results, but only when the total number of tags attached to the
/// repository is less than <int> or a Link header is provided. Otherwise, the response MUST include <int> results."
#[tokio::test]
async fn as_many_tags_as_asked_for() {
    let door = with_tags(&["a", "b", "c", "d"]).await;
    assert_eq!(list(&door, "?n=3").await, ["a", "b", "c"]);
    assert_eq!(list(&door, "?n=4").await, ["a", "b", "c", "d"]);
    assert_eq!(list(&door, "?n=100").await, ["a", "b", "c", "d"]);
    for query in ["?n=-1", "?n=many"] {
        assert_eq!(door.get(&format!("demo/app/tags/list{query}")).await.status(), 400, "{query}");
    }
}

/// "If included, the Link header MUST be set according to RFC 5988 with the Relation Type rel="next"." Following it leads through all.
#[tokio::test]
async fn links_lead_through_all_tags() {
    let tags = ["A", "_x", "a", "b.c", "b_c", "z"];
    let door = with_tags(&tags).await;
    let (mut path, mut found, mut pages) = ("demo/app/tags/list?n=2".to_owned(), Vec::new(), 0);
    loop {
        let page = door.get(&path).await;
        let link = header(&page, "link");
        found.extend(names(&json_of(page).await));
        pages += 1;
        if link.is_empty() {
            break;
        }
        let target = link.strip_prefix("</v2/").and_then(|link| link.strip_suffix(">; rel=\"next\""));
        path = target.unwrap_or_else(|| panic!("{link}")).to_owned();
    }
    assert_eq!((found, pages), (tags.map(str::to_owned).to_vec(), 3));
}

/// "When n is zero, this endpoint MUST return an empty list, and MUST NOT include a Link header."
#[tokio::test]
async fn zero_tags_are_an_empty_list() {
    let door = with_tags(&["a", "b"]).await;
    let answer = door.get("demo/app/tags/list?n=0").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "link").as_str()), (200, ""));
    assert_eq!(json_of(answer).await["tags"], json!([]));
}

/// "A request of this sort will return up to <int> tags, beginning non-inclusively with <tagname>." "The tags MUST be in lexical or
/// `ASCIIbetical` order."
#[tokio::test]
async fn tags_after_a_tag() {
    let door = with_tags(&["a", "b", "c", "d"]).await;
    assert_eq!(list(&door, "?n=2&last=a").await, ["b", "c"]);
    assert_eq!(list(&door, "?n=2&last=d").await, Vec::<String>::new());
    assert_eq!(list(&door, "?n=9&last=bb").await, ["c", "d"], "one that is not there is a place all the same");
}

/// "When using the last query parameter, the n parameter is OPTIONAL."
#[tokio::test]
async fn all_tags_after_a_tag() {
    let door = with_tags(&["a", "b", "c"]).await;
    assert_eq!(list(&door, "?last=a").await, ["b", "c"]);
}

/// "Without the last query parameter, the list returned will start at the beginning of the list." Tags that point nowhere are not in it.
#[tokio::test]
async fn deleted_tags_are_not_listed() {
    let door = with_tags(&["a", "b"]).await;
    assert_eq!(door.delete("demo/app/manifests/a").await.status(), 202);
    assert_eq!(list(&door, "").await, ["b"]);
    put(&door, "demo/app", "a", &index(&[], json!({}))).await;
    assert_eq!(list(&door, "").await, ["a", "b"]);
}
