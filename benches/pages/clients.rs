//! People who all read the same page.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use reqwest::{RequestBuilder, StatusCode, redirect};
use tokio::time::sleep;

/// How many read at the same time.
pub const AT_ONCE: usize = 50;
/// How often each of them reads a page.
const EACH: usize = 12;
/// From one page to the next of somebody who reads.
const READING: Duration = Duration::from_secs(1);
/// How often one reads it alone.
const ALONE: usize = 20;

/// Browsers with the cookie of one session.
pub struct Clients {
    http: reqwest::Client,
    url: String,
    cookie: String,
}

/// How a page did.
pub struct Row {
    /// The median when nobody else asks.
    pub alone: Duration,
    /// Of [`AT_ONCE`] people who open it every second.
    pub p50: Duration,
    pub p95: Duration,
    /// With [`AT_ONCE`] requests under way all the time.
    pub per_second: f64,
    /// Of the body, compressed.
    pub bytes: usize,
}

/// An HTTP client that shows what is on the wire: it follows nothing and unpacks nothing.
pub fn plain_client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder().redirect(redirect::Policy::none()).no_gzip().no_proxy();
    Ok(client.timeout(Duration::from_secs(60)).build()?)
}

impl Clients {
    /// Signs in as a person does.
    pub async fn sign_in(url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let http = plain_client()?;
        let form = [("user", user), ("password", password)];
        let answer = http.post(format!("{url}/login")).header("origin", url).form(&form).send().await?;
        let (status, cookie) = (answer.status(), answer.headers().get("set-cookie").cloned());
        let cookie = cookie.with_context(|| format!("signing in was answered by {status} without a cookie"))?;
        let cookie = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { http, url: url.to_owned(), cookie })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).header("accept", "text/html")
    }

    /// The page's text.
    pub async fn read(&self, path: &str) -> anyhow::Result<String> {
        let bytes = whole(self.get(path)).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The median time of a page that nobody else asks for, and its bytes.
    pub async fn measure_alone(&self, path: &str) -> anyhow::Result<(Duration, usize)> {
        let (mut alone, bytes) = self.read_often(path, ALONE, Duration::ZERO).await?;
        Ok((quantile(&mut alone, 50), bytes))
    }

    /// Reads the page alone; then as people do, each at a moment of their own; and then as fast as it goes.
    pub async fn measure(&self, path: &str) -> anyhow::Result<Row> {
        let (alone, bytes) = self.measure_alone(path).await?;
        let people = (0..AT_ONCE as u32).map(async |person| {
            sleep(READING * person / AT_ONCE as u32).await;
            self.read_often(path, EACH, READING).await
        });
        let mut times: Vec<Duration> = try_join_all(people).await?.into_iter().flat_map(|(times, _)| times).collect();
        let began = Instant::now();
        try_join_all((0..AT_ONCE).map(|_| self.read_often(path, EACH, Duration::ZERO))).await?;
        let per_second = (AT_ONCE * EACH) as f64 / began.elapsed().as_secs_f64();
        let (p50, p95) = (quantile(&mut times, 50), quantile(&mut times, 95));
        Ok(Row { alone, p50, p95, per_second, bytes })
    }

    /// Begins every `apart` to read the page, or as soon as the one before is there.
    async fn read_often(&self, path: &str, times: usize, apart: Duration) -> anyhow::Result<(Vec<Duration>, usize)> {
        let (mut took, mut bytes) = (Vec::with_capacity(times), 0);
        for _ in 0..times {
            let began = Instant::now();
            bytes = whole(self.get(path).header("accept-encoding", "gzip, br")).await?.len();
            took.push(began.elapsed());
            sleep(apart.saturating_sub(began.elapsed())).await;
        }
        Ok((took, bytes))
    }
}

async fn whole(request: RequestBuilder) -> anyhow::Result<bytes::Bytes> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    if status != StatusCode::OK {
        bail!("{url} was answered by {status}");
    }
    Ok(answer.bytes().await?)
}

fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
