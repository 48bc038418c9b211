//! The arrows of the house: which crate may depend on which, and who may use what from outside.
//!
//! Dependencies of tests and build scripts obey the same tables: a test that needs a sibling
//! belongs where both are seen.

use super::{
    Finding,
    metadata::{Crate, Dependency, Metadata},
};

/// Every crate of the workspace, now or to come, lowest level first, and the crates of the
/// workspace it may depend on. Siblings never see each other; a worker does not know the client's
/// protocol.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("session", &["wire"]),
    ("ports", &["wire"]),
    ("link", &["wire"]),
    ("edge", &["wire", "session", "ports", "link"]),
    ("worker", &["wire", "ports", "link"]),
    ("client", &["wire", "session", "link"]),
    ("embedded", &["wire", "ports"]),
    ("log-kafka", &["wire", "ports"]),
    ("mailbox-scylla", &["wire", "ports"]),
    ("presence-redis", &["wire", "ports"]),
    (
        "node",
        &[
            "wire",
            "session",
            "ports",
            "link",
            "edge",
            "worker",
            "client",
            "embedded",
            "log-kafka",
            "mailbox-scylla",
            "presence-redis",
        ],
    ),
    ("sim", &["wire", "session", "ports", "link", "edge", "worker", "client", "embedded"]),
    ("loadtest", &["wire", "session", "ports", "link", "edge", "worker", "client", "embedded"]),
    ("xtask", &[]),
];

/// Crates from outside that only some of ours may depend on, and why.
const OWNERS: &[(&str, &[&str], &str)] = &[
    ("prost", &["wire"], "only wire knows byte layouts"),
    ("prost-build", &["wire"], "only wire knows byte layouts"),
    ("prost-types", &["wire"], "only wire knows byte layouts"),
    ("protox", &["wire"], "only wire knows byte layouts"),
    // The load test speaks MQTT to the brokers of others, over QUIC and TLS that are not ours.
    ("quinn", &["link", "loadtest"], "link hides QUIC"),
    ("quinn-proto", &["link"], "link hides QUIC"),
    ("quinn-udp", &["link"], "link hides QUIC"),
    // The edge fetches the identity provider's keys over HTTPS, and the drivers of the database and
    // of Redis are told how to encrypt in the words of rustls. The load test: as above.
    ("rustls", &["link", "edge", "mailbox-scylla", "presence-redis", "loadtest"], "link hides TLS"),
    ("ureq", &["edge"], "only the edge fetches keys from an identity provider"),
    ("fjall", &["embedded"], "only node names an engine, only embedded knows this one"),
    ("rdkafka", &["log-kafka"], "only node names an engine, only log-kafka knows this one"),
    (
        "scylla",
        &["mailbox-scylla"],
        "only node names an engine, only mailbox-scylla knows this one",
    ),
    ("redis", &["presence-redis"], "only node names an engine, only presence-redis knows this one"),
    ("anyhow", &["node", "xtask", "loadtest"], "errors of a library are enums that say what to do"),
    ("axum", &["node"], "only node has an admin listener"),
    ("clap", &["node", "xtask", "loadtest"], "only programs have a command line"),
];

/// Crates that may depend on nothing but this, besides ours: so they cannot know a clock or a
/// socket, nor show an engine's types in a port.
const CLOSED: &[(&str, &[&str], &str)] = &[
    ("wire", &["bytes", "prost", "sha2", "thiserror"], "every crate waits for this one"),
    ("session", &["bytes", "thiserror"], "the session knows no clock and no socket"),
    ("ports", &["bytes", "thiserror", "tokio"], "no engine shows through a port"),
    ("xtask", &["anyhow", "clap", "serde_json"], "the door opens also when nothing compiles"),
];

/// Checks every arrow of the workspace.
pub(crate) fn check(metadata: &Metadata, findings: &mut Vec<Finding>) {
    for from in &metadata.crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from.name) else {
            let instead = "give it a place in ARROWS of the check and in docs/architecture.md";
            findings.push(finding(from, 1, "a crate without a place in the house", instead));
            continue;
        };
        for to in &from.dependencies {
            if metadata.crates.iter().any(|known| known.name == to.name) {
                check_inside(from, to, allowed, findings);
            } else {
                check_outside(from, to, findings);
            }
        }
    }
}

fn check_inside(from: &Crate, to: &Dependency, allowed: &[&str], findings: &mut Vec<Finding>) {
    if !allowed.contains(&to.name.as_str()) {
        let what = format!("{} may not see {}", from.name, to.name);
        let instead = "arrows point downward and never to a sibling: go through a lower crate, \
                       or do it in a higher one";
        findings.push(finding(from, to.line, what, instead));
    }
}

fn check_outside(from: &Crate, to: &Dependency, findings: &mut Vec<Finding>) {
    let owners = OWNERS.iter().find(|(name, ..)| *name == to.name);
    if let Some((_, owners, why)) = owners.filter(|(_, owners, _)| !owners.contains(&&*from.name)) {
        let what = format!("{} may not use {}", from.name, to.name);
        findings.push(finding(from, to.line, what, format!("{why}; ask {}", owners.join(" or "))));
    }
    let closed = CLOSED.iter().find(|(name, ..)| *name == from.name && !to.is_dev);
    if let Some((_, allowed, why)) = closed.filter(|(_, allowed, _)| !allowed.contains(&&*to.name))
    {
        let what = format!("{} may not use {}", from.name, to.name);
        let instead = format!("{why}; it has only {}", allowed.join(", "));
        findings.push(finding(from, to.line, what, instead));
    }
}

fn finding(
    from: &Crate,
    line: usize,
    what: impl Into<String>,
    instead: impl Into<String>,
) -> Finding {
    Finding::new(&format!("{}/Cargo.toml", from.folder), line, what, instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings for a workspace of these crates with these dependencies, one a line.
    fn findings(crates: &[(&str, &[&str])]) -> String {
        let crates = crates.iter().map(|(name, dependencies)| Crate {
            name: (*name).to_owned(),
            has_lints: true,
            folder: format!("crates/{name}"),
            dependencies: dependencies
                .iter()
                .map(|name| Dependency { name: (*name).to_owned(), is_dev: false, line: 9 })
                .collect(),
        });
        let mut found = Vec::new();
        check(&Metadata { crates: crates.collect(), ..Metadata::default() }, &mut found);
        found.iter().map(|finding| format!("{}\n", finding.what)).collect()
    }

    #[test]
    fn arrows_point_downward_and_never_to_a_sibling() {
        assert_eq!(findings(&[("wire", &[]), ("edge", &["wire", "ports"]), ("ports", &[])]), "");
        assert_eq!(
            findings(&[("edge", &["worker"]), ("worker", &["session"]), ("session", &[])]),
            "edge may not see worker\nworker may not see session\n"
        );
    }

    #[test]
    fn a_crate_from_outside_has_its_owner() {
        assert_eq!(findings(&[("edge", &["quinn", "tokio"])]), "edge may not use quinn\n");
        assert_eq!(findings(&[("session", &["tokio"])]), "session may not use tokio\n");
        assert_eq!(findings(&[("client", &["anyhow"])]), "client may not use anyhow\n");
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert_eq!(findings(&[("extra", &[])]), "a crate without a place in the house\n");
    }

    #[test]
    fn levels_are_declared_lowest_first_so_that_there_is_no_circle() {
        for (index, (name, allowed)) in ARROWS.iter().enumerate() {
            let below: Vec<_> = ARROWS[..index].iter().map(|(name, _)| *name).collect();
            assert!(allowed.iter().all(|to| below.contains(to)), "{name} points upward");
        }
    }
}
