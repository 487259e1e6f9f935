//! The program: what it says when it cannot start, and the commands beside `serve`.

use std::net::TcpListener;
use std::path::Path;

use crate::support::{Finished, RunningWeir, run_weir};

/// One line on standard error that contains each of `words`, and this exit code.
#[track_caller]
fn assert_refused(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    let lines: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{finished:?}");
    for word in words {
        assert!(lines[0].contains(word), "{word}: {finished:?}");
    }
    assert!(!lines[0].contains("panicked"), "{finished:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn mistakes_on_the_command_line_are_one_line_with_code_2() {
    assert_refused(&run_weir(["serve", "--frobnicate"]), 2, &["--frobnicate", "--help"]);
    assert_refused(&run_weir(["serve", "--builder", "kubernetes"]), 2, &["kubernetes", "buildah, none"]);
    assert_refused(&run_weir(["serve", "--rollout", "kubernetes"]), 2, &["kubernetes", "docker, none"]);
    assert_refused(&run_weir(["serve", "--import-interval", "soon"]), 2, &["soon", "15m"]);
    assert_refused(&run_weir(["serve", "--blob-store", "ftp://a"]), 2, &["ftp://a", "file:///path", "s3://bucket"]);
    assert_refused(&run_weir(["serve", "--blob-store", "s3://a b"]), 2, &["s3://a b", "s3://bucket/prefix"]);
    assert_refused(&run_weir(["serve", "--s3-endpoint", "localhost"]), 2, &["localhost", "https://s3.example.com"]);
    assert_refused(&run_weir(["gc", "--keep", "latest"]), 2, &["latest"]);
    assert_refused(&run_weir(["gc", "--gc-grace", "soon"]), 2, &["soon", "12h"]);
    assert_refused(&run_weir(["frobnicate"]), 2, &["frobnicate"]);
}

#[test]
fn what_keeps_it_from_starting_is_one_line_with_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run_weir(["serve", "--listen", &address, "--data-dir", text(&data)]);
    assert_refused(&refused, 1, &[&address, "taken", "--listen"]);

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below_file = file.join("data");
    let refused = run_weir(["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&below_file)]);
    assert_refused(&refused, 1, &[text(&below_file), "--data-dir"]);

    let (nobody, url) = (TcpListener::bind("127.0.0.1:0").unwrap(), "postgres://weir:secret@");
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let url = format!("{url}127.0.0.1:{port}/weir");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&data), "--database-url", &url];
    let refused = run_weir(serve);
    assert_refused(&refused, 1, &["cannot open the database", "127.0.0.1"]);
    assert!(!refused.stderr.contains("secret"), "{refused:?}");

    let refused =
        run_weir(["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&data), "--database-url", "mysql://x"]);
    assert_refused(&refused, 1, &["mysql://x", "sqlite:///"]);

    let missing = directory.path().join("missing.pem");
    for (authorities, why) in [(&file, "no certificate in PEM"), (&missing, "cannot read the CAs")] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&data), "--upstream-ca", text(authorities)];
        assert_refused(&run_weir(serve), 1, &[text(authorities), why]);
    }
}

#[test]
fn one_server_at_a_time_uses_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = RunningWeir::start(directory.path(), &[]);
    let second = run_weir(["serve", "--listen", "127.0.0.1:0", "--data-dir", text(directory.path())]);
    assert_refused(&second, 1, &["another server", "--data-dir"]);
    let (code, took) = first.terminate();
    assert_eq!(code, Some(0));
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn the_first_start_tells_a_password_once_and_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let first = RunningWeir::start(directory.path(), &[]);
    assert!(
        first.greeting.iter().any(|line| line.contains("Sign in as admin with the password")),
        "{:?}",
        first.greeting
    );
    assert!(first.url.starts_with("http://127.0.0.1:"), "{}", first.url);
    first.kill();
    let second = RunningWeir::start(directory.path(), &[]);
    assert_eq!(second.greeting, Vec::<String>::new());
    let verified = run_weir(["verify", "--data-dir", text(directory.path())]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn users_and_tokens_are_made_beside_a_running_server() {
    let directory = tempfile::tempdir().unwrap();
    let data = text(directory.path());
    let nothing = run_weir(["token", "create", "--user", "admin", "--data-dir", data]);
    assert_refused(&nothing, 1, &["no data", "--data-dir"]);
    let _weir = RunningWeir::start(directory.path(), &["--admin-password", "first"]);
    let token = run_weir(["token", "create", "--user", "admin", "--data-dir", data]);
    assert_eq!(token.code, Some(0), "{token:?}");
    assert!(token.stdout.starts_with("weir_u_") && token.stdout.lines().count() == 1, "the token alone: {token:?}");

    let added = run_weir(["user", "add", "ada", "--password", "hers", "--data-dir", data]);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_refused(&run_weir(["user", "add", "ada", "--data-dir", data]), 1, &["ada", "exists"]);
    assert_refused(&run_weir(["user", "add", "A da", "--data-dir", data]), 1, &["lower-case"]);
    let unknown = ["token", "create", "--user", "bob", "--data-dir", data];
    assert_refused(&run_weir(unknown), 1, &["bob", "weir user add"]);
    let boss = ["token", "create", "--user", "ada", "--role", "boss", "--data-dir", data];
    assert_refused(&run_weir(boss), 2, &["boss", "viewer, editor, admin"]);
    let nowhere = ["token", "create", "--user", "ada", "--project", "none", "--data-dir", data];
    assert_refused(&run_weir(nowhere), 1, &["none"]);
}

/// A blob on disk as the server keeps it, under the name of `digest`.
fn put_blob(data: &Path, hex: &str, content: &str) {
    let directory = data.join("blobs/blobs/sha256").join(&hex[..2]);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(hex), content).unwrap();
}

/// sha256 of "hello\n".
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

#[test]
fn a_backup_of_a_running_server_restores_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (data, saved, back) =
        (directory.path().join("data"), directory.path().join("saved"), directory.path().join("back"));
    let _weir = RunningWeir::start(&data, &["--admin-password", "first"]);
    put_blob(&data, HELLO, "hello\n");
    let backup = run_weir(["backup", text(&saved), "--data-dir", text(&data)]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    let again = run_weir(["backup", text(&saved), "--data-dir", text(&data)]);
    assert_refused(&again, 1, &["exists already"]);

    let restored = run_weir(["restore", text(&saved), "--data-dir", text(&back)]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_refused(&run_weir(["restore", text(&saved), "--data-dir", text(&back)]), 1, &["not empty"]);
    assert_refused(&run_weir(["restore", text(&back.join("blobs")), "--data-dir", "x"]), 1, &["no backup"]);
    let verified = run_weir(["verify", "--data-dir", text(&back)]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stdout.contains("1 blobs with 6 bytes"), "{verified:?}");
    let second = RunningWeir::start(&back, &[]);
    assert_eq!(second.greeting, Vec::<String>::new(), "its users came along");
}

#[test]
fn verify_finds_a_blob_that_changed_and_a_ledger_that_was_touched_up() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    RunningWeir::start(data, &["--admin-password", "first"]).terminate();
    put_blob(data, HELLO, "hallo\n");
    let verified = run_weir(["verify", "--data-dir", text(data)]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.stdout.contains(HELLO), "{verified:?}");
    put_blob(data, HELLO, "hello\n");
    assert_eq!(run_weir(["verify", "--data-dir", text(data)]).code, Some(0));

    let touch_up = async {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}", data.join("weir.db").display());
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        sqlx::query("update ledger set actor = 'somebody else' where sequence = 1").execute(&pool).await.unwrap();
        pool.close().await;
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(touch_up);
    let verified = run_weir(["verify", "--data-dir", text(data)]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.stdout.contains("ledger row 1"), "{verified:?}");
}

#[test]
fn gc_lists_what_goes_and_deletes_it_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    RunningWeir::start(data, &["--admin-password", "first"]).terminate();
    put_blob(data, HELLO, "hello\n");
    let young = run_weir(["gc", "--dry-run", "--data-dir", text(data)]);
    assert!(young.stdout.starts_with("0 blobs"), "{young:?}");
    let file = data.join("blobs/blobs/sha256").join(&HELLO[..2]).join(HELLO);
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(two_days_ago).unwrap();
    let old = run_weir(["gc", "--dry-run", "--data-dir", text(data)]);
    assert!(old.stdout.contains(HELLO) && old.stdout.contains("1 blobs with 6 bytes"), "{old:?}");
    assert!(file.exists());
    let kept = run_weir(["gc", "--keep", &format!("sha256:{HELLO}"), "--data-dir", text(data)]);
    assert_eq!(kept.code, Some(1), "what no row knows cannot be kept: {kept:?}");
    let collected = run_weir(["gc", "--data-dir", text(data)]);
    assert!(collected.stdout.starts_with("1 blobs with 6 bytes were deleted"), "{collected:?}");
    assert!(!file.exists());
    assert_eq!(run_weir(["verify", "--data-dir", text(data)]).code, Some(0));
}
