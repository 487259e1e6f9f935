//! Reading pages and sending forms.

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};

use crate::support::Client;

/// What a form's post was answered with.
pub struct Answer {
    pub status: StatusCode,
    /// Where it leads, when it was done.
    pub to: String,
    /// The page, when it was refused.
    pub page: String,
}

impl Client {
    /// The HTML at a path, which must be there.
    pub async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        let status = response.status();
        let html = response.text().await.expect("a page");
        assert_eq!(status, StatusCode::OK, "{path}: {}", text(&html));
        for slip in ["undefined", "{{", "&amp;&amp;", "None)", "Some("] {
            assert!(!html.contains(slip), "{path} shows {slip}");
        }
        html
    }

    /// Posts a form.
    pub async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", urlencoding::encode(value))).collect();
        let request = self.request(Method::POST, path).body(pairs.join("&"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.send().await.expect("an answer");
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
        Answer { status: response.status(), to, page: response.text().await.expect("a page") }
    }

    /// Posts a form that must be accepted; gives where it leads.
    pub async fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", text(&answer.page));
        answer.to
    }

    /// Posts a form that must be refused with this status; gives the page as it is shown again.
    pub async fn refused(&self, path: &str, fields: &[(&str, &str)], status: StatusCode) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, status, "{path}: {} {}", answer.to, text(&answer.page));
        answer.page
    }
}

/// A page's text without its tags, white space run together.
pub fn text(html: &str) -> String {
    let body = html.split_once("<main").map_or(html, |(_, main)| main);
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is told at a field.
pub fn error_at(html: &str, field: &str) -> String {
    let marker = format!("id=\"{field}-error\"");
    let rest = html.split_once(&marker).unwrap_or_else(|| panic!("no error at {field}: {}", text(html))).1;
    let rest = rest.split_once('>').map_or(rest, |(_, rest)| rest);
    rest.split('<').next().unwrap_or_default().to_owned()
}
