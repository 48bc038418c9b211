//! What cargo says of the workspace: its crates and what each of them depends on.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Finding, source::Source};

/// Crates that repeat the lints of the workspace with one difference, which they explain: a lint
/// that is forbidden cannot be relaxed for a single module.
const LINTS_OF_THEIR_OWN: [&str; 1] = ["log-kafka"];

/// Dependencies that are declared for what they switch on, so that no code names them.
const NAMED_NOWHERE: &[(&str, &str)] = &[];

/// What a crate calls the features that switch tests on which need more than Rust: engines, or a
/// browser.
const FEATURES_OF_TESTS: [&str; 2] = ["engines", "browser"];

/// The workspace.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// Its crates.
    pub(crate) crates: Vec<Crate>,
    /// Its benchmarks.
    pub(crate) benches: Vec<Bench>,
    /// What is tested.
    pub(crate) workspace: Workspace,
}

/// Crates and their tests that need engines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace {
    /// Every crate and its folder.
    pub(crate) packages: Vec<(String, PathBuf)>,
    /// The features that switch tests on, as `crate/feature`.
    pub(crate) features: Vec<String>,
    /// Tests that need it: crate and name.
    pub(crate) engine_tests: Vec<(String, String)>,
}

/// A benchmark.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Its crate.
    pub(crate) package: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether it is nothing without engines.
    pub(crate) needs_engines: bool,
}

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its folder, relative to the root.
    pub(crate) folder: String,
    /// Whether it takes the lints of the workspace.
    pub(crate) has_lints: bool,
    /// What it depends on, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// An arrow from a crate.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// Where to.
    pub(crate) name: String,
    /// Only for tests, examples and benchmarks.
    pub(crate) is_dev: bool,
    /// The line of the manifest that says so.
    pub(crate) line: usize,
}

impl Metadata {
    /// Asks cargo, without the network.
    ///
    /// # Errors
    /// When cargo does not run or says something else than documented.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root)
            .output()
            .context("cargo metadata did not start")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let mut read = Self::default();
        for package in list(&metadata, "packages")? {
            read.add(package, root)?;
        }
        Ok(read)
    }

    fn add(&mut self, package: &Value, root: &Path) -> anyhow::Result<()> {
        let name = text(package, "name")?;
        let manifest = Path::new(text(package, "manifest_path")?);
        let lines = std::fs::read_to_string(manifest)?;
        let folder = manifest.parent().unwrap_or(manifest);
        let folder = folder.strip_prefix(root).unwrap_or(folder);
        let dependencies = list(package, "dependencies")?.iter().map(|dependency| {
            let name = text(dependency, "name")?.to_owned();
            let is_dev = dependency["kind"].as_str() == Some("dev");
            let line = line_of(&lines, &name, is_dev);
            Ok(Dependency { name, is_dev, line })
        });
        self.crates.push(Crate {
            name: name.to_owned(),
            has_lints: lines.contains("[lints]\nworkspace = true")
                || LINTS_OF_THEIR_OWN.contains(&name),
            folder: folder.to_string_lossy().replace('\\', "/"),
            dependencies: dependencies.collect::<anyhow::Result<_>>()?,
        });
        let workspace = &mut self.workspace;
        let folder = manifest.parent().unwrap_or(manifest).to_path_buf();
        workspace.packages.push((name.to_owned(), folder));
        for feature in FEATURES_OF_TESTS {
            if package["features"][feature].is_array() {
                workspace.features.push(format!("{name}/{feature}"));
            }
        }
        for target in list(package, "targets")? {
            let needs = target["required-features"].as_array().into_iter().flatten();
            let needs_engines =
                needs.into_iter().any(|feature| feature.as_str() == Some("engines"));
            let (package, target_name) = (name.to_owned(), text(target, "name")?.to_owned());
            if list(target, "kind")?.iter().any(|kind| kind.as_str() == Some("bench")) {
                self.benches.push(Bench { package, name: target_name, needs_engines });
            } else if needs_engines {
                workspace.engine_tests.push((package, target_name));
            }
        }
        Ok(())
    }
}

/// A crate that forgets the lints of the workspace is checked by none.
pub(crate) fn check_lints(metadata: &Metadata, findings: &mut Vec<Finding>) {
    for known in metadata.crates.iter().filter(|known| !known.has_lints) {
        let path = format!("{}/Cargo.toml", known.folder);
        let instead = "add a section [lints] with `workspace = true`";
        findings.push(Finding::new(
            &path,
            1,
            "a crate without the lints of the workspace",
            instead,
        ));
    }
}

/// A dependency nobody names costs every build and every reader.
pub(crate) fn check_unused(metadata: &Metadata, sources: &[Source], findings: &mut Vec<Finding>) {
    for known in &metadata.crates {
        let code = || sources.iter().filter(|source| source.is_in(&known.folder));
        for dependency in &known.dependencies {
            let name = dependency.name.replace('-', "_");
            let is_named = code().any(|source| contains_word(&source.code, &name));
            let is_excused = NAMED_NOWHERE.contains(&(&known.name, &dependency.name));
            if !is_named && !is_excused {
                findings.push(Finding::new(
                    &format!("{}/Cargo.toml", known.folder),
                    dependency.line,
                    format!("{} is declared and never named", dependency.name),
                    "remove it, or list it in NAMED_NOWHERE of the check with the reason",
                ));
            }
        }
    }
}

/// Whether `word` stands in `code`, not as a part of a longer word.
pub(crate) fn contains_word(code: &str, word: &str) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| super::source::is_word(*byte));
    code.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|before| code.as_bytes().get(before));
        !is_word(before) && !is_word(code.as_bytes().get(at + word.len()))
    })
}

/// The line of a manifest that declares a dependency, 1 when it is not found.
fn line_of(manifest: &str, name: &str, is_dev: bool) -> usize {
    let mut in_section = false;
    let found = manifest.lines().position(|line| {
        if line.starts_with('[') {
            in_section = line.contains("dev-dependencies") == is_dev;
        }
        let rest = line.strip_prefix(name);
        in_section && rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    });
    found.map_or(1, |index| index + 1)
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no list {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    let Some(text) = value[key].as_str() else { bail!("cargo metadata has no text {key}") };
    Ok(text)
}
