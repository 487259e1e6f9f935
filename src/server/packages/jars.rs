//! Java's archives, by their names: `…/lib/commons-lang3-3.14.0.jar`. They are not opened, so an archive with others in it is one of them.

use super::lists::Record;
use crate::model::Package;

/// Where systems keep what they have for Java, and where tools keep what they fetched: not the application's.
const FOREIGN: [&str; 5] =
    ["usr/lib/jvm/", "usr/share/java/", "usr/share/maven-repo/", ".m2/repository/", ".gradle/caches/"];
/// What stands beside an archive under its name, and is no program.
const BESIDE: [&str; 3] = ["-sources", "-javadoc", "-tests"];

/// The package that the archive at this path is by its name.
pub fn jar(path: &str) -> Option<Package> {
    let title = path.rsplit('/').next()?.strip_suffix(".jar")?;
    let is_foreign = |known: &str| path.starts_with(known) || path.contains(&format!("/{known}"));
    if FOREIGN.into_iter().any(is_foreign) || BESIDE.iter().any(|end| title.ends_with(end)) {
        return None;
    }
    let start = version_start(title)?;
    Record::of(&title.as_bytes()[..start - 1], &title.as_bytes()[start..]).finish()
}

/// Names have numbers in them, too (`log4j-1.2-api-2.17.1`), and versions words (`32.1.3-jre`, `1.0-20240101.120000-1`): the version begins
/// with the last run of parts that begin with digits, if there is one with dots in it, of those.
fn version_start(title: &str) -> Option<usize> {
    let (mut plain, mut dotted, mut run) = (None, None, None::<usize>);
    let parts = title.match_indices('-').map(|(at, _)| at + 1);
    for at in parts {
        let part = title[at..].split('-').next().unwrap_or_default();
        run = part.starts_with(|c: char| c.is_ascii_digit()).then(|| run.unwrap_or(at));
        plain = run.or(plain);
        dotted = run.filter(|_| part.contains('.')).or(dotted);
    }
    dotted.or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_is_known_by_the_name_of_its_file() {
        for (title, name, version) in [
            ("commons-lang3-3.14.0", "commons-lang3", "3.14.0"),
            ("guava-32.1.3-jre", "guava", "32.1.3-jre"),
            ("log4j-1.2-api-2.17.1", "log4j-1.2-api", "2.17.1"),
            ("cats-core_2.13-2.9.0", "cats-core_2.13", "2.9.0"),
            ("netty-tcnative-2.0.61.Final-linux-x86_64", "netty-tcnative", "2.0.61.Final-linux-x86_64"),
            ("app-1.0-20240101.120000-1", "app", "1.0-20240101.120000-1"),
            ("app-1.0-alpha-1", "app", "1.0-alpha-1"),
            ("app-1.0-SNAPSHOT", "app", "1.0-SNAPSHOT"),
            ("app-7", "app", "7"),
        ] {
            let found = jar(&format!("app/lib/{title}.jar")).unwrap_or_else(|| panic!("{title}"));
            assert_eq!((found.name.as_str(), found.version.as_str()), (name, version), "{title}");
        }
    }

    #[test]
    fn what_has_no_version_or_is_the_systems_is_left_aside() {
        for path in [
            "app/app.jar",
            "app/-1.0.jar",
            "app/lib-x.jar",
            "app/a-1.0.war",
            "app/a-1.0-sources.jar",
            "app/a-1.0-javadoc.jar",
            "usr/lib/jvm/java-21/lib/jrt-fs-21.jar",
            "usr/share/java/a-1.0.jar",
            "root/.m2/repository/org/a/1.0/a-1.0.jar",
            ".gradle/caches/modules-2/a-1.0.jar",
        ] {
            assert_eq!(jar(path), None, "{path}");
        }
        assert!(jar("usr/share/elasticsearch/lib/a-1.0.jar").is_some() && jar("a-1.0.jar").is_some());
    }
}
