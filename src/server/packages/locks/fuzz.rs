//! Lock files that no program would write: whatever comes, it is read or refused, and no more is kept than may be.

use super::tests::SAMPLES;
use super::*;
use crate::server::fuzzing::{Random, cases};
use crate::server::packages::testing::{Tar, read_with};
use crate::server::packages::{Limits, jars};

/// Pieces that mean something to one of the readers.
const WORDS: [&str; 24] = [
    "[[package]]\n",
    "name = \"a\"\n",
    "version = \"1\"\n",
    "source = ",
    "\n",
    "  ",
    "    ",
    "\"",
    "@",
    "@npm:",
    ":",
    "==",
    "{",
    "}",
    "[",
    "\"packages\":",
    "\"dependencies\":",
    "\"default\":",
    "require (\n",
    ")\n",
    "=>",
    "/go.mod ",
    "GEM\n",
    "\u{fe0f}",
];

fn tight() -> Limits {
    Limits { packages: 5, text: 1000, ..Limits::default() }
}

fn check(lock: Lock, bytes: &[u8]) {
    let mut budget = Budget::of(&tight());
    if let Ok(found) = read(bytes, bytes.len() as u64, lock, &mut budget) {
        assert!(found.len() <= 5 && found.iter().all(|it| !it.name.is_empty() && !it.version.is_empty()));
    }
}

#[test]
fn lock_files_with_wrong_bytes_are_refused_or_read() {
    cases(1, |random| {
        let (lock, text) = *random.choose(&SAMPLES);
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=random.below(6) {
            let (at, piece) = (random.below(bytes.len()), piece(random));
            match random.below(3) {
                0 => bytes[at] = random.next().to_le_bytes()[0],
                1 => drop(bytes.splice(at..at, piece)),
                _ => drop(bytes.splice(at..bytes.len().min(at + random.below(40)), piece)),
            }
        }
        bytes.truncate(random.below(4 * bytes.len()));
        check(lock, &bytes);
    });
}

fn piece(random: &mut Random) -> Vec<u8> {
    random.choose(&WORDS).as_bytes().to_vec()
}

#[test]
fn random_lock_files_are_refused_or_read() {
    cases(1, |random| {
        let text: Vec<u8> = (0..random.below(40)).flat_map(|_| piece(random)).collect();
        let bytes = random.bytes(300);
        for (lock, _) in SAMPLES {
            check(lock, &text);
            check(lock, &bytes);
        }
        let _ = jars::jar(&format!("app/{}.jar", String::from_utf8_lossy(&bytes)));
    });
}

#[test]
fn no_lock_file_costs_the_layer() {
    let status = ("var/lib/dpkg/status", &b"Package: one\nVersion: 1\n\n"[..]);
    let limits = Limits { packages: 100, text: 10_000, ..Limits::default() };
    // Far more than is kept of them: in one file, in many, and in none but their names.
    let one: String = (0..1000).map(|n| format!("p{n}==1\n")).collect();
    let fill = |tar: Tar, path: &dyn Fn(usize) -> String, text: &str| {
        (0..1000).fold(tar, |tar, n| tar.file(&path(n), text.as_bytes()))
    };
    let ones = |n: usize| format!("a{n}/requirements.txt");
    for (layer, kept, why) in [
        (Tar::new().file("app/requirements.txt", one.as_bytes()), 0, "it lists more packages"),
        (fill(Tar::new(), &ones, "flask==1\n"), 22, "there are more such lists"),
        (fill(Tar::new(), &ones, ""), 0, "there are more such lists"),
        (fill(Tar::new(), &|n| format!("lib/a-{n}.jar"), ""), 25, "there are more such lists"),
        (Tar::new().file("app/Cargo.lock", b"\0"), 0, "it does not read: it is no text"),
    ] {
        let layer = layer.file(status.0, status.1).bytes();
        let contents = read_with(&layer, &limits).unwrap();
        let packages: usize = contents.databases.iter().map(|it| it.packages.len()).sum();
        let problems: Vec<_> = contents.databases.iter().filter_map(|it| it.problem.as_deref()).collect();
        assert!(matches!(problems.as_slice(), [problem] if problem.starts_with(why)), "{why}: {problems:?}");
        assert!((kept + 1..kept + 8).contains(&packages), "{why}: {packages}");
        assert_eq!(contents.databases.last().map(|it| it.path.as_str()), Some(status.0), "what was installed is there");
    }
}
