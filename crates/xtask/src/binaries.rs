//! The programs of all tests, built once for every step that runs some of them.
//!
//! With `cargo test` each choice of crates and features would build much of the workspace again.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{ci, tidy};

/// A program that runs tests of one crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    /// The crate.
    pub(crate) package: String,
    /// The file of tests, or the library or program that holds them.
    pub(crate) target: String,
    /// The folder of the crate, where tests run.
    folder: PathBuf,
    executable: PathBuf,
    /// Whether its tests need engines.
    pub(crate) needs_engines: bool,
}

/// What one build made.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// The programs of tests.
    pub(crate) tests: Vec<Binary>,
    /// The programs of users, by name; those that tests start.
    programs: Vec<(String, PathBuf)>,
}

impl Built {
    /// The program of users called `name`.
    ///
    /// # Errors
    /// When no test needs it, so that it was not built.
    pub(crate) fn program(&self, name: &str) -> anyhow::Result<&Path> {
        let program = self.programs.iter().find(|(known, _)| known == name);
        let (_, path) = program.with_context(|| format!("{name} was not built"))?;
        Ok(path)
    }
}

/// Builds the tests of every crate, those that need engines included.
///
/// # Errors
/// When cargo does not start. Says no more than cargo when the code does not compile: none then.
pub(crate) fn build(locked: &[&str]) -> anyhow::Result<Option<Built>> {
    let metadata = tidy::workspace(ci::root())?;
    let mut command = ci::cargo(&["test", "--workspace", "--no-run"]);
    command.arg("--message-format=json-render-diagnostics").args(locked);
    command.args(features(&metadata));
    let output = command.stderr(Stdio::inherit()).output().context("cargo test did not start")?;
    if !output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8(output.stdout)?;
    let tests: Vec<_> = said.lines().filter_map(|line| parse(line, &metadata)).collect();
    ensure!(!tests.is_empty(), "cargo test --no-run told of no program");
    let programs = said.lines().filter_map(parse_program).collect();
    Ok(Some(Built { tests, programs }))
}

/// The arguments that switch on the tests that need more than Rust. The same for every step: other
/// features are another build.
pub(crate) fn features(workspace: &tidy::Workspace) -> Vec<String> {
    if workspace.features.is_empty() {
        Vec::new()
    } else {
        vec![format!("--features={}", workspace.features.join(","))]
    }
}

fn parse(line: &str, metadata: &tidy::Workspace) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let executable = message["executable"].as_str().filter(|_| is_test)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let target = message["target"]["name"].as_str()?.to_owned();
    let package = metadata.packages.iter().find(|(_, of)| of.as_path() == folder)?.0.clone();
    let needs_engines = metadata.engine_tests.contains(&(package.clone(), target.clone()));
    Some(Binary {
        package,
        target,
        folder: folder.to_path_buf(),
        executable: executable.into(),
        needs_engines,
    })
}

fn parse_program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let executable = message["executable"].as_str().filter(|_| !is_test)?;
    Some((message["target"]["name"].as_str()?.to_owned(), executable.into()))
}

impl Binary {
    /// Runs its tests with these variables and arguments; true when they pass.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn run(
        &self,
        variables: &[(&str, String)],
        arguments: &[String],
    ) -> anyhow::Result<bool> {
        let status = Command::new(&self.executable)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .status()
            .with_context(|| format!("{} did not start", self.executable.display()))?;
        Ok(status.success())
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.package, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> tidy::Workspace {
        tidy::Workspace {
            packages: vec![("log-kafka".to_owned(), "/x/crates/log-kafka".into())],
            features: vec!["log-kafka/engines".to_owned(), "loadtest/browser".to_owned()],
            engine_tests: vec![("log-kafka".to_owned(), "contract".to_owned())],
        }
    }

    fn message(target: &str, is_test: bool) -> String {
        let of_profile = serde_json::json!({ "test": is_test });
        serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": "/x/crates/log-kafka/Cargo.toml",
            "target": { "name": target },
            "profile": of_profile,
            "executable": "/x/target/debug/deps/a",
        })
        .to_string()
    }

    #[test]
    fn programs_of_tests_are_told_from_others_and_from_those_that_need_engines() {
        let parse = |line: String| parse(&line, &workspace());
        assert_eq!(parse(message("contract", true)).map(|binary| binary.needs_engines), Some(true));
        assert_eq!(parse(message("log_kafka", true)).map(|one| one.needs_engines), Some(false));
        assert_eq!(parse(message("log_kafka", false)), None);
        assert_eq!(parse("{\"reason\":\"build-finished\"}".to_owned()), None);
        let program = parse_program(&message("posthorn", false));
        assert_eq!(program, Some(("posthorn".to_owned(), "/x/target/debug/deps/a".into())));
        assert_eq!(parse_program(&message("contract", true)), None);
    }

    #[test]
    fn every_step_has_the_same_features() {
        assert_eq!(features(&workspace()), ["--features=log-kafka/engines,loadtest/browser"]);
        assert_eq!(features(&tidy::Workspace::default()), Vec::<String>::new());
    }
}
