//! What is in `deploy/` fits the program: settings, commands and metrics that it names exist.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Parser;
use node::{
    cli::Cli,
    config::{Config, Sources, layers},
};

fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file of a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Words of a text that begin so, as long as their letters are of these.
fn words<'a>(text: &'a str, begin: &str, more: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    let starts = text.match_indices(begin).map(|(at, _)| &text[at..]);
    starts.map(|rest| &rest[..rest.find(|c| !more(c)).unwrap_or(rest.len())]).collect()
}

/// Variables that set something, and their values, below each service of the compose file.
fn services(compose: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut services: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let body = compose.split_once("\nservices:\n").unwrap().1;
    for line in body.split("\nvolumes:").next().unwrap().lines() {
        let trimmed = line.trim();
        if line.starts_with("  ") && !line.starts_with("   ") && trimmed.ends_with(':') {
            services.push((trimmed.trim_end_matches(':').to_owned(), Vec::new()));
        }
        if let Some((name, value)) = trimmed.split_once(": ")
            && name.starts_with("POSTHORN__")
        {
            let variables = &mut services.last_mut().unwrap().1;
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    services
}

#[test]
fn every_variable_that_is_named_sets_something() {
    let settings = Config::default().settings();
    let mut known: BTreeSet<String> =
        settings.iter().map(node::config::section::Setting::variable).collect();
    for secret in settings.iter().filter(|setting| setting.is_secret) {
        known.insert(format!("{}_FILE", secret.variable()));
    }
    for path in files(&deploy()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        for name in words(&text, "POSTHORN__", is_of_name) {
            let is_pattern = name == "POSTHORN__SECTION__KEY";
            assert!(is_pattern || known.contains(name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn every_process_of_the_compose_file_has_settings_that_fit() {
    let (name, text) = ("compose/posthorn.toml", read("compose/posthorn.toml"));
    let text = text.replace("secret_file = \"/state/dev/secret\"", "");
    let services = services(&read("compose/compose.yaml"));
    let processes: Vec<_> =
        services.iter().filter(|(_, variables)| !variables.is_empty()).collect();
    assert_eq!(processes.len(), 6, "two edges, two workers, topics and schema");
    for (service, variables) in processes {
        let sources = Sources { file: Some((Path::new(name), &text)), variables, flags: &[] };
        let loaded = layers::load(sources).unwrap_or_else(|error| panic!("{service}: {error:?}"));
        loaded.config.check().unwrap_or_else(|error| panic!("{service}: {error:?}"));
    }
}

#[test]
fn every_command_of_the_compose_file_is_understood() {
    let compose = read("compose/compose.yaml");
    let mut understood = 0;
    for line in compose.lines().map(str::trim) {
        let Some(words) = line.strip_prefix("command: ") else { continue };
        let words: Vec<String> = serde_json::from_str(words).unwrap();
        // Those of the engines.
        if words[0].starts_with("--") || words[0] == "redis-server" {
            continue;
        }
        let parsed = Cli::try_parse_from(["posthorn".to_owned()].into_iter().chain(words));
        parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
        understood += 1;
    }
    assert_eq!(understood, 3, "node, topics and schema");
}

#[test]
fn every_command_of_the_unit_and_of_the_scripts_is_understood() {
    for (name, begin) in [
        ("systemd/posthorn@.service", "/usr/local/bin/posthorn "),
        ("compose/setup.sh", "posthorn "),
    ] {
        let mut understood = 0;
        for line in read(name).lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let line = line.split('=').next_back().unwrap();
            let Some(arguments) = line.strip_prefix(begin) else { continue };
            let arguments = arguments.split(" >").next().unwrap().replace("${name%-*}", "edge");
            let arguments = arguments.split_whitespace().map(|word| word.trim_matches('"'));
            let parsed = Cli::try_parse_from(["posthorn"].into_iter().chain(arguments));
            parsed.unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            understood += 1;
        }
        assert!(understood >= 2, "{name}");
    }
}

#[test]
fn every_metric_of_the_dashboard_exists() {
    let dashboard = read("compose/grafana/dashboards/posthorn.json");
    let _: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let page = node::metrics::page();
    let known = words(&page, "posthorn_", |c| c.is_ascii_lowercase() || c == '_');
    let found = words(&dashboard, "posthorn_", |c| c.is_ascii_lowercase() || c == '_');
    assert!(found.len() > 20, "{found:?}");
    for metric in found {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end));
        assert!(
            known.contains(metric) || plain.is_some_and(|plain| known.contains(plain)),
            "{metric}"
        );
    }
}

#[test]
fn a_process_is_not_killed_while_it_drains() {
    let drains = Config::default().node.drain_within.as_secs();
    let seconds = |text: &str, begin: &str| -> u64 {
        let rest = text.split(begin).nth(1).unwrap();
        rest[..rest.find('s').unwrap()].trim().parse().unwrap()
    };
    assert!(seconds(&read("systemd/posthorn@.service"), "\nTimeoutStopSec=") > drains);
    assert!(seconds(&read("compose/compose.yaml"), "stop_grace_period:") > drains);
}
