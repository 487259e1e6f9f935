//! Real git, on repositories made here.

use super::*;
use std::process::Command as StdCommand;

struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(repository.path().join("repo")).unwrap();
        repository.git(&["init", "-q", "-b", "main"]);
        repository.commit("Dockerfile", "FROM scratch\n", "First: \"quoted\" $subject");
        repository
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = StdCommand::new("git")
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args(arguments)
            .current_dir(self.path().join("repo"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, file: &str, text: &str, subject: &str) -> String {
        std::fs::write(self.path().join("repo").join(file), text).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    async fn fetch(
        &self,
        reference: Option<&str>,
        commit: Option<&str>,
    ) -> Result<(Revision, tempfile::TempDir), BuildFailure> {
        let uri = format!("file://{}/repo", self.path().display());
        let config = GitConfig { file_roots: vec![self.path().to_owned()], ..GitConfig::default() };
        fetch(&config, &uri, reference, commit, None).await
    }
}

async fn fetch(
    config: &GitConfig,
    uri: &str,
    reference: Option<&str>,
    commit: Option<&str>,
    credentials: Option<&GitCredentials>,
) -> Result<(Revision, tempfile::TempDir), BuildFailure> {
    let work = tempfile::tempdir().unwrap();
    let known_hosts = work.path().join("known");
    let cancel = CancellationToken::new();
    let fetch = Fetch {
        config,
        credentials,
        work: work.path(),
        known_hosts: &known_hosts,
        marker: "git-test",
        cancel: &cancel,
    };
    let source = GitSource { uri: uri.into(), reference: reference.map(Into::into), secret: None };
    let revision = fetch.run(&source, commit).await?;
    Ok((revision, work))
}

fn message(result: Result<(Revision, tempfile::TempDir), BuildFailure>) -> String {
    match result {
        Err(BuildFailure::Failed { reason: "FetchSourceFailed", message }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn branch_tag_and_commit() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["tag", "-a", "v1", "-m", "one"]);
    let second = repository.commit("two", "2", "Second");
    repository.git(&["checkout", "-q", "-b", "side/branch"]);
    let side = repository.commit("three", "3", "Third");
    repository.git(&["checkout", "-q", "main"]);

    for (reference, commit, expected) in [
        (None, None, &second),
        (Some("main"), None, &second),
        (Some("v1"), None, &first),
        (Some("side/branch"), None, &side),
        (Some(first.as_str()), None, &first),
        (Some(&first[..10]), None, &first),
        (Some("main"), Some(first.as_str()), &first),
    ] {
        let (revision, work) = repository.fetch(reference, commit).await.unwrap();
        assert_eq!(revision.commit, *expected, "{reference:?} {commit:?}");
        assert_eq!(revision.reference, reference.unwrap_or("HEAD"));
        assert!(work.path().join("source/Dockerfile").exists());
        if *expected == first {
            assert_eq!(revision.author, "Ann <ann@example.com>");
            assert_eq!(revision.message, "First: \"quoted\" $subject");
            assert!(revision.date.parse::<jiff::Timestamp>().is_ok(), "{}", revision.date);
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_said_plainly() {
    let repository = Repository::new();
    let text = message(repository.fetch(Some("nowhere"), None).await);
    assert!(text.contains("no branch, tag or commit \"nowhere\""), "{text}");
    let text = message(repository.fetch(Some("0123abcd"), None).await);
    assert!(text.contains("no branch, tag or commit \"0123abcd\""), "{text}");

    let config = GitConfig { file_roots: vec![repository.path().to_owned()], ..GitConfig::default() };
    let missing = format!("file://{}/missing", repository.path().display());
    let text = message(fetch(&config, &missing, None, None, None).await);
    assert!(text.contains("does not exist"), "{text}");
    let text = message(fetch(&config, "https://weir-no-such-host.invalid/x.git", None, None, None).await);
    assert!(text.contains("has no address"), "{text}");
}

#[tokio::test]
async fn credentials_are_not_shown() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = std::io::Read::read(&mut stream, &mut request).unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let uri = format!("http://ann:s3cr3t@127.0.0.1:{port}/x.git");
    let text = message(fetch(&GitConfig::default(), &uri, None, None, None).await);
    assert!(text.contains("credentials") && text.contains("127.0.0.1") && !text.contains("s3cr3t"), "{text}");
    let request = server.join().unwrap().to_lowercase();
    assert!(request.contains("authorization: basic yw5uonmzy3izda=="), "{request}");
}

#[test]
fn addresses() {
    let root = tempfile::tempdir().unwrap();
    let roots = [root.path().to_owned()];
    std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
    std::fs::create_dir(root.path().join("repo")).unwrap();
    for uri in [
        "https://h/x",
        "http://h:80/x",
        "ssh://git@h:22/x",
        "git://h/x",
        "git@h:x/y.git",
        "git@h:/srv/y.git",
        "h:x",
        "https://u:p@h/x",
    ] {
        assert!(Address::parse(uri, &[]).is_ok(), "{uri}");
    }
    let inside = format!("file://{}/repo", root.path().display());
    assert!(Address::parse(&inside, &roots).is_ok());
    let link = format!("file://{}/link", root.path().display());
    let dots = format!("file://{}/repo/../../x", root.path().display());
    for uri in [
        "",
        "-u",
        "--upload-pack=x",
        "ext::sh -c id",
        "ext::id",
        "/srv/x",
        "x",
        "ftp://h/x",
        "https://",
        "ssh://-oProxyCommand=x/y",
        "-oProxyCommand=x:y",
        "git@-x:y",
        "https://h/x y",
        "file:///etc",
        "file://",
        &link,
        &dots,
        "fd::3",
        "https:/x",
        "ssh://u:p@h/x",
    ] {
        assert!(Address::parse(uri, &roots).is_err(), "{uri}");
    }
    assert!(Address::parse(&inside, &[]).is_err(), "no roots, no files");
    assert_eq!(shown("https://u:p@h/x"), "https://h/x");
    assert_eq!(shown("ssh://git@h/x"), "ssh://git@h/x");
    assert_eq!(shown("git@h:x"), "git@h:x");
}

#[test]
fn the_context_stays_inside() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("a/b")).unwrap();
    std::fs::create_dir_all(root.path().join(".git")).unwrap();
    std::fs::write(root.path().join("a/Dockerfile"), "FROM x").unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("out")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("a/evil")).unwrap();
    for good in [None, Some(""), Some("."), Some("a"), Some("/a/"), Some("a/b"), Some("./a")] {
        assert!(context(root.path(), good).is_ok(), "{good:?}");
    }
    for bad in ["..", "a/../..", "out", "missing", "a/Dockerfile", ".git"] {
        let failure = context(root.path(), Some(bad)).unwrap_err();
        assert!(
            matches!(failure, BuildFailure::Failed { reason: "InvalidContextDirectory", .. }),
            "{bad}: {failure:?}"
        );
    }
    let a = context(root.path(), Some("a")).unwrap();
    assert_eq!(dockerfile(root.path(), &a, None).unwrap(), "FROM x");
    for bad in ["evil", "missing", "../../x", "b"] {
        let failure = dockerfile(root.path(), &a, Some(bad)).unwrap_err();
        assert!(matches!(failure, BuildFailure::Failed { reason: "ManageDockerfileFailed", .. }), "{bad}: {failure:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_is_cancelled_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("git://{}/x", listener.local_addr().unwrap());
    let work = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let config = GitConfig::default();
    let marker = "git-cancelled-5a0c";
    let fetch = Fetch {
        config: &config,
        credentials: None,
        work: work.path(),
        known_hosts: work.path(),
        marker,
        cancel: &cancel,
    };
    let source = GitSource { uri, ..GitSource::default() };
    let accepted = tokio::task::spawn_blocking(move || listener.accept());
    let stop = async {
        let connection = accepted.await.unwrap().unwrap();
        cancel.cancel();
        // Open until the end: git is to be killed, not to give up.
        connection
    };
    let (result, _connection) = tokio::join!(fetch.run(&source, None), stop);
    assert_eq!(result, Err(BuildFailure::Cancelled));
    assert_eq!(process::kill_marked(marker).await.unwrap(), 0);
}
