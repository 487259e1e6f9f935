//! The first visit: the sign-in page and everything it makes a browser load.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::clients::plain_client;

const VISIT_TARGET: usize = 300_000;
const WASM_TARGET: usize = 220_000;
const CSS_TARGET: usize = 20_000;

/// Loads it as a browser does that takes brotli, and counts what comes over the wire.
pub async fn first(url: &str) -> anyhow::Result<()> {
    let http = plain_client()?;
    let page = http.get(format!("{url}/login")).send().await?.error_for_status()?.text().await?;
    let mut paths = BTreeSet::from(["/login".to_owned()]);
    paths.extend(addresses(&page).into_iter().filter(|address| is_asset(address)));
    let foreign: Vec<_> = addresses(&page).into_iter().filter(|address| address.contains("://")).collect();

    println!("\nFirst visit, bytes over the wire (brotli)\n");
    let (mut total, mut wasm, mut css) = (0, None, 0);
    for path in paths {
        let answer = http.get(format!("{url}{path}")).header("accept-encoding", "gzip, br").send().await?;
        let answer = answer.error_for_status().with_context(|| format!("loading {path}"))?;
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let heads: usize = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let body = answer.bytes().await?.len();
        total += heads + body;
        match kind.as_str() {
            "application/wasm" => wasm = Some(body),
            "text/css" => css += body,
            _ => {}
        }
        println!("{body:>9}  {path} ({kind}, and {heads} of headers)");
    }
    println!("{}", line("all", total, VISIT_TARGET));
    match wasm {
        Some(bytes) => println!("{}", line("wasm", bytes, WASM_TARGET)),
        None => println!("          wasm: not in this binary; tools/build-islands makes it"),
    }
    println!("{}", line("style sheet", css, CSS_TARGET));
    println!("{:>9}  requests to other sites: {}", foreign.len(), foreign.join(" "));
    Ok(())
}

fn line(what: &str, bytes: usize, target: usize) -> String {
    let verdict = if bytes <= target { "" } else { "  OVER" };
    format!("{bytes:>9}  {what} (target: {target}){verdict}")
}

fn is_asset(address: &str) -> bool {
    address.starts_with("/assets/") || address.starts_with("/pkg/")
}

/// What the document's `href`s and `src`s say.
fn addresses(page: &str) -> Vec<String> {
    let starts = ["href=\"", "src=\""];
    let rest = |start| page.split(start).skip(1);
    starts.into_iter().flat_map(rest).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// Where the first link with one of these words leads.
pub fn link_of(page: &str, words: &[&str]) -> Option<String> {
    page.split("<a ").skip(1).find_map(|link| {
        let (attributes, text) = link.split_once('>')?;
        let text = text.split("</a>").next()?;
        // Marks between texts are no text.
        let text = text.split("<!").next()?.trim();
        let address = attributes.split("href=\"").nth(1)?.split('"').next()?;
        words.contains(&text).then(|| address.replace("&amp;", "&"))
    })
}
