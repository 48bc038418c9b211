//! The jars of Kafka and Cassandra: from Maven Central once, each with the checksum we expect.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use super::progress::Progress;

/// The plugin of Maven that copies what a description needs.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// One engine's set of jars.
pub(crate) struct Jars {
    /// For people.
    pub(crate) name: &'static str,
    /// The folder of the set in the cache.
    folder: &'static str,
    /// What Maven reads.
    description: &'static str,
    /// Every jar and its SHA-256, as `sha256sum` writes them.
    checksums: &'static str,
}

/// Apache Kafka.
pub(crate) const KAFKA: Jars = Jars {
    name: "Kafka 4.3.0",
    folder: "kafka-4.3.0",
    description: include_str!("../../engines/kafka/pom.xml"),
    checksums: include_str!("../../engines/kafka/jars.sha256"),
};

/// The command-line tools of Apache Kafka, to be used with the jars of [`KAFKA`].
pub(crate) const KAFKA_TOOLS: Jars = Jars {
    name: "the tools of Kafka 4.3.0",
    folder: "kafka-tools-4.3.0",
    description: include_str!("../../engines/kafka-tools/pom.xml"),
    checksums: include_str!("../../engines/kafka-tools/jars.sha256"),
};

/// Apache Cassandra.
pub(crate) const CASSANDRA: Jars = Jars {
    name: "Cassandra 5.0.9",
    folder: "cassandra-5.0.9",
    description: include_str!("../../engines/cassandra/pom.xml"),
    checksums: include_str!("../../engines/cassandra/jars.sha256"),
};

impl Jars {
    /// The folder with exactly the jars that are checked in by name and checksum; fetched when it
    /// is not there yet.
    ///
    /// # Errors
    /// When they cannot be fetched, or are others than expected.
    pub(crate) fn get(&self, progress: Progress, who: &str) -> anyhow::Result<PathBuf> {
        let folder = cache().join(self.folder);
        if !folder.is_dir() {
            progress.say(who, &format!("fetching {} from Maven Central", self.name));
            self.fetch(&folder)?;
        }
        let what = || format!("{}: remove that folder to fetch again", folder.display());
        self.verify(&folder).with_context(what)?;
        Ok(folder)
    }

    /// Two commands at once each fetch into a folder of their own; one of them is used.
    fn fetch(&self, folder: &Path) -> anyhow::Result<()> {
        let draft = folder.with_extension(format!("{}.new", std::process::id()));
        fs::create_dir_all(&draft).with_context(|| format!("make {}", draft.display()))?;
        let description = draft.join("pom.xml");
        fs::write(&description, self.description)?;
        let output = Command::new("mvn")
            .args(["--batch-mode", "--no-transfer-progress", "--quiet", "--strict-checksums"])
            .arg("--file")
            .arg(&description)
            .arg(COPY)
            .arg(format!("-DoutputDirectory={}", draft.display()))
            .arg("-DincludeScope=runtime")
            .output()
            .context("mvn did not start")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            let said = said.lines().take(12).collect::<Vec<_>>().join("\n");
            let _ = fs::remove_dir_all(&draft);
            bail!("Maven could not fetch {}: is Maven Central reachable?\n{said}", self.name);
        }
        fs::remove_file(&description)?;
        let checked = self.verify(&draft);
        let is_ours = checked.is_ok() && fs::rename(&draft, folder).is_ok();
        if !is_ours {
            let _ = fs::remove_dir_all(&draft);
        }
        checked
    }

    /// Whether a folder holds these jars and no other file.
    fn verify(&self, folder: &Path) -> anyhow::Result<()> {
        let output = Command::new("sha256sum").args(list(folder)?).current_dir(folder).output();
        let output = output.context("sha256sum did not start: it is of coreutils")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let difference = compare(self.checksums, &String::from_utf8_lossy(&output.stdout));
        ensure!(difference.is_empty(), "{}: {}", self.name, difference.join("; "));
        Ok(())
    }
}

/// Where jars are kept between runs: a product of the build.
fn cache() -> PathBuf {
    target_dir().join("engines-jars")
}

/// Where the products of the build are.
pub(crate) fn target_dir() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let chosen = chosen.and_then(|folder| std::path::absolute(folder).ok());
    chosen.unwrap_or_else(|| crate::ci::root().join("target"))
}

fn list(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    ensure!(!names.is_empty(), "an empty folder");
    Ok(names)
}

/// What differs between two lists of `sha256sum`.
fn compare(wanted: &str, found: &str) -> Vec<String> {
    let parse = |list: &str| -> BTreeMap<String, String> {
        let pair = |line: &str| line.split_once("  ").map(|(sum, name)| (name.into(), sum.into()));
        list.lines().filter_map(pair).collect()
    };
    let (wanted, found) = (parse(wanted), parse(found));
    let missing = wanted.iter().filter_map(|(name, sum)| match found.get(name) {
        None => Some(format!("{name} is missing")),
        Some(other) if other != sum => Some(format!("{name} is another file than expected")),
        Some(_) => None,
    });
    let unknown = found.keys().filter(|name| !wanted.contains_key(*name));
    missing.chain(unknown.map(|name| format!("{name} is not expected"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jar_that_is_missing_changed_or_new_is_told() {
        let wanted = "aa  a.jar\nbb  b.jar\ncc  c.jar\n";
        assert_eq!(compare(wanted, wanted), Vec::<String>::new());
        assert_eq!(
            compare(wanted, "bb  b.jar\nxx  c.jar\ndd  d.jar\n"),
            ["a.jar is missing", "c.jar is another file than expected", "d.jar is not expected"]
        );
    }

    #[test]
    fn every_jar_of_the_lists_has_a_checksum() {
        for jars in [KAFKA, KAFKA_TOOLS, CASSANDRA] {
            let is_line = |line: &str| line.len() > 66 && line.ends_with(".jar");
            assert!(jars.checksums.lines().all(is_line), "{}", jars.name);
        }
    }
}
