//! Imports from Debian's `docker-registry` however it may be set up: plain, behind TLS of a CA of its own, with passwords, with tokens.
//! What is missing is told by its name, and with it the import works.

use std::path::PathBuf;

use weir::model::Role;
use weir::server::store::{SecretData, TagSpec};

use super::words::import;
use crate::support::{TestWeir, tester};
use crate::upstreams::images::TestImage;
use crate::upstreams::{DockerRegistry, TokenServer, Upstream, Wants};

const NOBODY: Option<(&str, &str)> = None;
const WRONG: Option<(&str, &str)> = Some(("importer", "open barley"));
const STRANGER: Option<(&str, &str)> = Some(("nobody", "open sesame"));
const RIGHT: Option<(&str, &str)> = Some(DockerRegistry::CREDENTIALS);

/// Insecure or not, as whom, the word for how it ends, and words of the message.
type Row<'a> = (bool, Option<(&'a str, &'a str)>, &'a str, &'a str);

/// A server that imports, and a registry with the image `org/base:1`.
struct Import<'a> {
    weir: &'a TestWeir,
    registry: &'a DockerRegistry,
    image: TestImage,
    count: u32,
}

impl Import<'_> {
    /// How an import ends that asks so; the message besides.
    async fn ends(&mut self, insecure: bool, secret: Option<(&str, &str)>) -> (String, String) {
        self.count += 1;
        let (store, number) = (self.weir.store(), self.count);
        if let Some((username, password)) = secret {
            let (username, password) = (username.to_owned(), password.into());
            let data = SecretData::Registry { host: self.registry.address().to_owned(), username, password };
            store.create_secret("demo", &"upstream".parse().unwrap(), &data, &tester()).await.expect("a secret");
        }
        let reference = format!("{}/org/base:1", self.registry.address());
        let spec = TagSpec { insecure, ..TagSpec::import(reference) };
        let (stream, tag) = ("base".parse().unwrap(), number.to_string());
        store.set_tag("demo", &stream, &tag.parse().unwrap(), &spec, None, &tester()).await.expect("it follows");
        self.weir.settle().await;
        if secret.is_some() {
            store.delete_secret("demo", "upstream", &tester()).await.expect("deleted");
        }
        let import = import(self.weir, &format!("base:{tag}")).await;
        let digest = store.tag("demo", "base", &tag).await.expect("the tag").digest;
        let expected = (import.outcome == "ok").then(|| self.image.digest().to_string());
        assert_eq!(digest, expected, "{import:?}");
        store.delete_tag("demo", "base", &tag, &tester()).await.expect("deleted");
        (import.reason.unwrap_or(import.outcome), import.message.unwrap_or_default())
    }

    /// Tries one way after the other: insecure or not, as whom, and how it ends.
    async fn tries(&mut self, rows: &[Row<'_>]) {
        for (insecure, secret, end, words) in rows {
            let (ended, message) = self.ends(*insecure, *secret).await;
            let who = secret.map_or("nobody", |(username, _)| username);
            assert_eq!(ended, *end, "as {who}, insecure {insecure}: {message}");
            assert!(message.contains(words), "as {who}, insecure {insecure}: {message}");
            let secrets = ["open barley", "open sesame"];
            assert!(!secrets.iter().any(|secret| message.contains(secret)), "a password was told: {message}");
        }
    }
}

async fn weir_that_trusts(authorities: Vec<PathBuf>) -> TestWeir {
    let weir = TestWeir::start_with(|config| config.upstream_cas = authorities, false).await;
    weir.user("ada", "demo", Role::Editor).await;
    weir
}

async fn registry(wants: &[Wants<'_>]) -> (DockerRegistry, TestImage) {
    let (mut registry, image) = (DockerRegistry::start(), TestImage::new("base"));
    image.push(registry.address(), "org/base", "1").await;
    registry.demand(wants);
    (registry, image)
}

const NO_ACCESS: &str = "you may not have access to the container image \"";
const NOT_RIGHT: &str = "incorrect username or password for image \"";
const PLAIN: &str = "is HTTP only and requires the insecure flag to import";

#[tokio::test]
async fn plain_http_wants_the_flag() {
    let (weir, (registry, image)) = (weir_that_trusts(vec![]).await, registry(&[]).await);
    let mut import = Import { weir: &weir, registry: &registry, image, count: 0 };
    import.tries(&[(false, NOBODY, "plain-http", PLAIN), (true, NOBODY, "ok", "")]).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_ca_of_its_own_is_trusted_once_it_is_named() {
    let (registry, image) = registry(&[Wants::Tls]).await;
    let (other, _) = self::registry(&[Wants::Tls]).await;
    let unknown: &[(bool, _, &str, &str)] = &[(false, NOBODY, "tls", "--upstream-ca"), (true, NOBODY, "ok", "")];
    let known: &[(bool, _, &str, &str)] = &[(false, NOBODY, "ok", "")];
    for (authorities, rows) in
        [(vec![], unknown), (vec![other.authority()], unknown), (vec![other.authority(), registry.authority()], known)]
    {
        let weir = weir_that_trusts(authorities).await;
        let image = image.clone();
        Import { weir: &weir, registry: &registry, image, count: 0 }.tries(rows).await;
        weir.stop().await;
    }
}

#[tokio::test]
async fn passwords_are_wanted_and_told_apart() {
    let (registry, image) = registry(&[Wants::Tls, Wants::Password]).await;
    let weir = weir_that_trusts(vec![registry.authority()]).await;
    let mut import = Import { weir: &weir, registry: &registry, image, count: 0 };
    let rows = [
        (false, NOBODY, "denied", NO_ACCESS),
        (false, WRONG, "wrong-password", NOT_RIGHT),
        (false, STRANGER, "wrong-password", NOT_RIGHT),
        (false, RIGHT, "ok", ""),
        (false, NOBODY, "denied", NO_ACCESS),
        (true, RIGHT, "ok", ""),
    ];
    import.tries(&rows).await;
    weir.stop().await;
}

#[tokio::test]
async fn tokens_are_fetched_and_told_apart() {
    let server = TokenServer::start().await;
    let wants = Wants::Token { realm: &server.realm(), certificate: &server.certificate() };
    let (registry, image) = registry(&[wants]).await;
    let weir = weir_that_trusts(vec![]).await;
    let mut import = Import { weir: &weir, registry: &registry, image, count: 0 };
    let rows = [
        (true, NOBODY, "denied", NO_ACCESS),
        (true, WRONG, "wrong-password", NOT_RIGHT),
        (true, STRANGER, "wrong-password", NOT_RIGHT),
        (true, RIGHT, "ok", ""),
        (false, RIGHT, "plain-http", PLAIN),
    ];
    import.tries(&rows).await;
    let asked = server.upstream.seen();
    assert!(asked.iter().all(|seen| seen.uri.contains("scope=repository%3Aorg%2Fbase%3Apull")), "{asked:?}");
    weir.stop().await;
}

#[tokio::test]
async fn a_token_is_not_asked_for_in_the_clear_by_what_speaks_tls() {
    let server = TokenServer::start().await;
    let wants = Wants::Token { realm: &server.realm(), certificate: &server.certificate() };
    let (registry, image) = registry(&[Wants::Tls, wants]).await;
    let weir = weir_that_trusts(vec![registry.authority()]).await;
    let mut import = Import { weir: &weir, registry: &registry, image, count: 0 };
    import.tries(&[(false, RIGHT, "other", "does not use https")]).await;
    assert!(server.upstream.seen().is_empty(), "the password went out");
    import.tries(&[(true, RIGHT, "ok", "")]).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_token_server_that_does_not_answer_is_told_as_such() {
    for (status, reason, words) in [
        (500, "upstream", "it answered 500"),
        (404, "denied", NO_ACCESS),
        (400, "denied", NO_ACCESS),
        (403, "denied", NO_ACCESS),
        (200, "other", "its token server's answer could not be read"),
    ] {
        let gone = Upstream::answering(move |_| crate::upstreams::programmable::answer(status, &[], "<html>")).await;
        let server = TokenServer::start().await;
        let realm = format!("http://{}/token", gone.address());
        let wants = Wants::Token { realm: &realm, certificate: &server.certificate() };
        let (registry, image) = registry(&[wants]).await;
        let weir = weir_that_trusts(vec![]).await;
        let mut import = Import { weir: &weir, registry: &registry, image, count: 0 };
        import.tries(&[(true, RIGHT, reason, words)]).await;
        weir.stop().await;
    }
}
