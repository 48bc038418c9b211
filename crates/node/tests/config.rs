//! Settings: layers, unknown keys, and what is shown about them.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use node::config::{Config, Loaded, Role, Sources, layers, reference, value::Size};

fn load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).into()).collect();
    let file = Some((Path::new("posthorn.toml"), file));
    layers::load(Sources { file, variables: &variables, flags: &flags })
        .map_err(|failure| failure.to_string())
}

#[test]
fn flags_are_stronger_than_variables_and_these_than_the_file() {
    let file = "[edge]\nhead_check = \"10s\"\nlag_max = \"1m\"\nlease = \"5s\"\n";
    let variables =
        [("POSTHORN__EDGE__HEAD_CHECK", "20s"), ("POSTHORN__EDGE__LAG_MAX", "2m"), ("PATH", "x")];
    let loaded = load(file, &variables, &["edge.head_check=30s"]).unwrap();
    assert_eq!(loaded.config.edge.head_check, Duration::from_secs(30));
    assert_eq!(loaded.config.edge.lag_max, Duration::from_secs(120));
    assert_eq!(loaded.config.edge.lease, Duration::from_secs(5));
    assert_eq!(loaded.config.edge.cursor_flush, Config::default().edge.cursor_flush);
}

#[test]
fn values_of_every_kind_are_read() {
    let file = "node.roles = [\"edge\", \"mail-worker\"]\n[worker]\npush = false\n\
                batch_bytes_max = \"2 MiB\"\n[engine]\nmail_partitions = 16\n[admin]\n\
                address = \"[::1]:9\"\n";
    let config = load(file, &[], &["listen.certificate_file=/a b"]).unwrap().config;
    assert_eq!(config.node.roles, [Role::Edge, Role::MailWorker]);
    assert!(!config.worker.push);
    assert_eq!(config.worker.batch_bytes_max, Size::mib(2));
    assert_eq!(config.engine.mail_partitions, 16);
    assert_eq!(config.admin.address.to_string(), "[::1]:9");
    assert_eq!(config.listen.certificate_file.unwrap(), Path::new("/a b"));
    let config = load("", &[("POSTHORN__NODE__ROLES", "edge, group-worker")], &[]).unwrap().config;
    assert_eq!(config.node.roles, [Role::Edge, Role::GroupWorker]);
}

/// The error must hold every part given.
fn refused(file: &str, variables: &[(&str, &str)], flags: &[&str], parts: &[&str]) {
    let message = load(file, variables, flags).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest() {
    let file = "# a comment\n[edge]\nhead_chek = \"10s\"\n";
    refused(file, &[], &[], &["PH0101", "edge.head_chek", "line 3", "`edge.head_check`"]);
    let variable = ("POSTHORN__EDGE__HEADCHECK", "10s");
    refused("", &[variable], &[], &["PH0101", "POSTHORN__EDGE__HEADCHECK", "`edge.head_check`"]);
    refused("", &[], &["worker.head_check=1s"], &["PH0101", "--set", "`edge.head_check`"]);
    refused("", &[], &["zzz=1"], &["PH0101", "posthorn config default"]);
    refused("", &[], &["listen.secre_file=x"], &["`listen.secret_file`"]);
    refused("head_check = 1\n", &[], &[], &["line 1", "`edge.head_check`"]);
}

#[test]
fn a_value_that_is_not_valid_is_named_with_what_to_write() {
    refused("[edge]\nlease = 10\n", &[], &[], &["PH0102", "`10`", "edge.lease", "line 2", "10s"]);
    refused("[node]\nroles = [\"egde\"]\n", &[], &[], &["PH0102", "egde", "group-worker"]);
    refused("[node]\nroles = [[1]]\n", &[], &[], &["PH0102", "node.roles"]);
    refused("", &[], &["edge.lease"], &["PH0102", "section.key=value"]);
    refused("[edge\n", &[], &[], &["PH0104", "line 1"]);
    refused("[edge]\nlease = 10s\n", &[], &[], &["PH0104", "line 2"]);
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "correct horse battery staple\n").unwrap();
    let flag = format!("listen.secret_file={}", path.display());
    let loaded = load("", &[], &[&flag]).unwrap();
    assert_eq!(loaded.config.listen.secret.reveal(), Some("correct horse battery staple"));
    assert!(!format!("{:?}", loaded.config).contains("horse"));
    refused("", &[], &["listen.secret_file=/nowhere/x"], &["PH0106", "/nowhere/x"]);
    refused("", &[], &["edge.lease_file=/nowhere/x"], &["PH0101"]);
}

#[test]
fn the_default_file_is_the_defaults() {
    let loaded = load(&reference::default_file(), &[], &[]).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.given.len(), Config::default().settings().len());
}
