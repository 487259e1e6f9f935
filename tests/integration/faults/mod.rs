//! What happens to a server, and what must not happen then: it is killed, its disk is full, its clients are slow or lie, its files rot,
//! its database goes away.

mod corrupt;
mod database;
mod disk;
mod kill;
mod lies;
mod notices;
mod same_blob;
mod slow;

use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stories::load::Pusher;
use crate::support::{Client, RunningWeir, run_weir};
use crate::upstreams::images::TestImage;

const PROJECT: &str = "demo";

/// The program on a data directory, with a project and the token of somebody who may do everything.
struct Site {
    weir: RunningWeir,
    token: String,
    pusher: Pusher,
}

impl Site {
    /// The first start on a data directory.
    async fn open(data: &Path, more: &[&str]) -> Self {
        let weir = RunningWeir::start(data, &[more, &["--admin-password", "correct horse"]].concat());
        let made = run_weir(["token", "create", "--user", "admin", "--data-dir", data.to_str().expect("UTF-8")]);
        assert_eq!(made.code, Some(0), "{made:?}");
        let site = Self::of(weir, made.stdout.trim());
        let project =
            json!({"kind": "ProjectRequest", "apiVersion": "project.openshift.io/v1", "metadata": {"name": PROJECT}});
        let requests = "/apis/project.openshift.io/v1/projectrequests";
        site.client().post_json(requests, &project, StatusCode::CREATED).await;
        site
    }

    /// A later start on the same directory.
    fn open_again(data: &Path, more: &[&str], token: &str) -> Self {
        Self::of(RunningWeir::start(data, more), token)
    }

    fn of(weir: RunningWeir, token: &str) -> Self {
        let pusher = Pusher::new(&weir.url, PROJECT, token);
        Self { weir, token: token.to_owned(), pusher }
    }

    fn client(&self) -> Client {
        Client::new(&self.weir.url, Some(self.token.clone()))
    }

    fn pusher(&self) -> Pusher {
        self.pusher.clone()
    }

    /// Checks that an image can be pulled, byte for byte.
    async fn pulls(&self, stream: &str, reference: &str, image: &TestImage) {
        let blob = |bytes| format!("{stream}/blobs/{}", weir::server::hash::sha256(bytes));
        let paths = [
            (format!("{stream}/manifests/{reference}"), &image.manifest),
            (format!("{stream}/manifests/{}", image.digest()), &image.manifest),
            (blob(&image.config), &image.config),
            (blob(&image.layer), &image.layer),
        ];
        for (path, bytes) in paths {
            let answer = self.pusher.get(&path).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}\n{}", self.weir.log_end());
            assert!(answer.bytes().await.expect("all bytes") == *bytes, "{path} has other bytes");
        }
    }
}

/// `weir verify`; gives what it said when it is content.
fn verify(data: &Path, more: &[&str]) -> String {
    let verified = run_weir([&["verify", "--data-dir", data.to_str().expect("UTF-8")], more].concat());
    assert_eq!(verified.code, Some(0), "{verified:?}");
    verified.stdout
}

/// The body of a registry's refusal: its status, its code and its message.
async fn refusal(answer: reqwest::Response) -> (StatusCode, String, String) {
    let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{status}: {cause}: {text}"));
    let part = |name: &str| body["errors"][0][name].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    (status, part("code"), part("message"))
}

/// How many files lie in a directory.
fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("listed").count()
}
