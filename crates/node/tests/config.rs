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

/// A cluster of many processes that can be right, with all roles.
const CLUSTER: &str = r#"
[node]
engines = "cluster"
name = "node-1"
[listen]
certificate_file = "/x"
key_file = "/x"
[identity]
issuer = "x"
jwks = "x"
[kafka]
brokers = ["kafka-1:9092", "[::1]:9092"]
[cql]
nodes = ["10.0.0.1:9042"]
[redis]
nodes = ["redis:6379"]
[mesh]
address = "10.0.0.2:4435"
ca_file = "/x"
certificate_file = "/x"
key_file = "/x"
"#;

/// The settings of a cluster with these changes; all parts must be in the error.
fn unfit(flags: &[&str], parts: &[&str]) {
    let config = load(CLUSTER, &[], flags).unwrap().config;
    let message = config.check().unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in:\n{message}");
    }
}

fn fit(flags: &[&str]) {
    let config = load(CLUSTER, &[], flags).unwrap().config;
    config.check().unwrap_or_else(|failure| panic!("{flags:?}: {failure}"));
}

#[test]
fn a_cluster_says_what_it_is_missing() {
    fit(&[]);
    for setting in [
        "kafka.brokers",
        "cql.nodes",
        "redis.nodes",
        "mesh.ca_file",
        "mesh.certificate_file",
        "mesh.key_file",
        "listen.key_file",
        "identity.jwks",
    ] {
        unfit(&[&format!("{setting}=")], &["PH0105", setting]);
    }
    unfit(&["mesh.address="], &["PH0105", "mesh.address", "mesh.listen"]);
    fit(&["mesh.address=", "mesh.listen=10.0.0.2:4435"]);
    fit(&["mesh.address=", "node.roles=mail-worker"]);
}

#[test]
fn addresses_and_names_of_a_cluster_are_looked_at() {
    for wrong in ["kafka", "kafka:", ":9092", "kafka:x", "kafka:0", "::1", "a b:1"] {
        unfit(&[&format!("kafka.brokers=kafka:9092,{wrong}")], &["PH0102", "kafka.brokers", wrong]);
        unfit(&[&format!("mesh.address={wrong}")], &["PH0102", "mesh.address"]);
    }
    for wrong in ["node.name=a/b", "kafka.prefix=", "cql.keyspace=Big", "redis.prefix={x}"] {
        let setting = wrong.split('=').next().unwrap();
        unfit(&[wrong], &["PH0102", setting]);
    }
    unfit(&["redis.nodes=a:1,b:1"], &["PH0107", "redis.mode", "sentinel"]);
    fit(&["redis.nodes=a:1,b:1", "redis.mode=cluster"]);
    unfit(&["redis.mode=sentinel", "redis.service="], &["PH0102", "redis.service"]);
    unfit(&["kafka.log_keep=10m"], &["PH0107", "kafka.log_keep", "edge.lag_max"]);
    let config = load(CLUSTER, &[], &["node.name="]).unwrap().config;
    assert!(!config.node_name().unwrap().is_empty());
}

#[test]
fn half_a_login_or_certificates_without_encryption_are_refused() {
    unfit(&["kafka.user=x", "kafka.password=y"], &["PH0105", "kafka.sasl_mechanism"]);
    unfit(&["kafka.sasl_mechanism=PLAIN", "kafka.user=x"], &["PH0105", "kafka.password"]);
    fit(&["kafka.sasl_mechanism=SCRAM-SHA-512", "kafka.user=x", "kafka.password=y"]);
    unfit(&["cql.user=x"], &["PH0105", "cql.password"]);
    unfit(&["redis.user=x"], &["PH0105", "redis.password"]);
    fit(&["redis.password=x"]);
    for section in ["kafka", "cql", "redis"] {
        let (ca, tls) = (format!("{section}.ca_file=/x"), format!("{section}.tls=true"));
        unfit(&[&ca], &["PH0107", &format!("{section}.tls")]);
        fit(&[&ca, &tls]);
    }
    unfit(&["kafka.tls=true", "kafka.key_file=/x"], &["PH0107", "kafka.certificate_file"]);
}

#[test]
fn settings_of_engines_that_are_not_used_are_not_looked_at() {
    fit(&["engine.mail_partitions=0", "engine.window=0s"]);
    let embedded = ["node.engines=embedded", "kafka.brokers=x", "mesh.ca_file=", "cql.user=x"];
    fit(&embedded);
}
