//! Databases and archives that real programs made: rpm, dpkg, GNU tar. What is not installed is not tried.
//!
//! `tests/data/rpm` holds one rpm database of three packages (built and installed by rpm 4.18) in three formats: SQLite as rpm wrote it; the
//! same headers in a hash of Berkeley DB 5.3, which rpm reads; and in ndb, laid out as rpm's `rpmpkg.c` does.

use std::cmp::Ordering;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;

use super::layer::Budget;
use super::paths::Format;
use super::testing::{names, read};
use super::{Limits, compare_versions, lists, rpm};
use crate::model::PackageKind;

/// One of the databases of `tests/data/rpm`.
pub fn sample(format: Format) -> Vec<u8> {
    let packed: &[u8] = match format {
        Format::RpmNdb => include_bytes!("../../../tests/data/rpm/Packages.db.gz"),
        Format::RpmBerkeley => include_bytes!("../../../tests/data/rpm/Packages.gz"),
        _ => include_bytes!("../../../tests/data/rpm/rpmdb.sqlite.gz"),
    };
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What a program prints; `None` when it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn rpms_databases_are_read_in_all_its_formats() {
    for format in [Format::RpmSqlite, Format::RpmNdb, Format::RpmBerkeley] {
        let mut packages = rpm::read(&sample(format)[..], format, &mut Budget::of(&Limits::default())).unwrap();
        packages.sort();
        let shown: Vec<_> = packages
            .iter()
            .map(|it| format!("{} {} {:?} {:?}", it.name, it.version, it.architecture.as_deref(), it.source.as_deref()))
            .collect();
        let expected = [
            "weir-a 2:1.5-3.el9 Some(\"noarch\") None",
            "weir-b 2:1.5-3.el9 Some(\"noarch\") Some(\"weir-a\")",
            "weir-c 0.1~rc1-1 Some(\"noarch\") None",
        ];
        assert_eq!(shown, expected, "{format:?}");
    }
}

#[test]
fn this_machines_own_packages_are_read_as_dpkg_reads_them() {
    let status = Path::new("/var/lib/dpkg/status");
    let Some(listed) = run(
        "dpkg-query",
        &["-W", "-f", "${Package} ${Version} ${Architecture} ${source:Package} ${db:Status-Status}\n"],
    )
    .filter(|_| status.exists()) else {
        return;
    };
    let listed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(" installed").map(str::to_owned)).collect();
    let packages = lists::dpkg(std::fs::File::open(status).unwrap(), &mut Budget::of(&Limits::default())).unwrap();
    let mut shown: Vec<_> = packages
        .into_iter()
        .map(|it| {
            let source = it.source.unwrap_or_else(|| it.name.clone());
            format!("{} {} {} {source}", it.name, it.version, it.architecture.unwrap_or_default())
        })
        .collect();
    let mut listed = listed;
    listed.sort();
    shown.sort();
    assert!(!listed.is_empty());
    assert_eq!(shown, listed);
}

const VERSIONS: [&str; 16] = [
    "1.0",
    "1.0-1",
    "1.0~rc1-1",
    "1.0+dfsg-2",
    "1.0a-1",
    "1.0.1-1",
    "1.10-1",
    "1.2-1",
    "1:0.5-1",
    "2.36-9+deb12u4",
    "2.36-9+deb12u10",
    "1.0-1.el9",
    "1.0-1.el9_2.1",
    "0005-1",
    "5-1",
    "1.0.a.2-1",
];

#[test]
fn versions_compare_as_dpkg_and_rpm_compare_them() {
    for a in VERSIONS {
        for b in VERSIONS {
            let order = compare_versions(PackageKind::Dpkg, a, b);
            let word = match order {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            if run("dpkg", &["--compare-versions", a, word, b]).is_none() {
                return;
            }
        }
    }
}

#[test]
fn versions_compare_as_rpm_compares_them() {
    let more =
        ["1.0^git1-1", "1.0^git1^a-1", "1.0^-1", "1.0~-1", "1.0~~-1", "1_0-1", "1.0..1-1", "a-1", "1.0^git1~x-1"];
    let versions: Vec<&str> = VERSIONS.into_iter().filter(|it| !it.contains(':')).chain(more).collect();
    for a in &versions {
        let calls: Vec<String> = versions.iter().map(|b| format!("print(rpm.vercmp('{a}', '{b}'), ' ')")).collect();
        let Some(printed) = run("rpm", &["--eval", &format!("%{{lua: {}}}", calls.join(" "))]) else { return };
        let orders: Vec<i32> = printed.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let ours: Vec<i32> = versions.iter().map(|b| compare_versions(PackageKind::Rpm, a, b) as i32).collect();
        assert_eq!(ours, orders, "{a} and {versions:?}");
    }
}

#[test]
fn archives_of_gnu_tar_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let deep = format!("srv/{}/node_modules/deep/package.json", ["a-directory-with-a-long-name"; 8].join("/"));
    for (path, content) in [
        ("var/lib/dpkg/status", &b"Package: one\nVersion: 1\nStatus: install ok installed\n"[..]),
        ("lib/apk/db/installed", b"P:two\nV:2-r0\n\n"),
        ("var/lib/rpm/rpmdb.sqlite", &sample(Format::RpmSqlite)),
        (&deep, br#"{"name": "deep", "version": "3.0.0"}"#),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    // A hole of a megabyte, and a name that is there twice.
    let holes = std::fs::File::create(root.join("var/holes")).unwrap();
    holes.set_len(1 << 20).unwrap();
    std::fs::hard_link(root.join("var/holes"), root.join("var/again")).unwrap();
    let expected = ["two 2-r0", "deep 3.0.0", "one 1", "weir-a 2:1.5-3.el9", "weir-b 2:1.5-3.el9", "weir-c 0.1~rc1-1"];
    let (root, file) = (root.to_str().unwrap(), directory.path().join("layer.tar"));
    let file = file.to_str().unwrap();
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        for more in [&["-S"][..], &["-z"], &["-S", "--sparse-version=0.1"], &["--xattrs"]] {
            let format = format!("--format={format}");
            let arguments: Vec<&str> = [&["-c", "-C", root, &format], more, &["-f", file, "."]].concat();
            if run("tar", &arguments).is_none() {
                return;
            }
            let contents = read(&std::fs::read(file).unwrap()).unwrap_or_else(|why| panic!("{arguments:?}: {why}"));
            let mut found = names(&contents);
            found.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            let sparse = contents.databases.iter().any(|database| database.problem.is_some());
            // SQLite's files have pages of nothing: a sparse archive leaves them out, and then says so.
            assert!(found == expected || (sparse && more.contains(&"-S")), "{arguments:?}: {found:?}");
        }
    }
}
