//! Nodes of Apache Cassandra, which speaks what ScyllaDB speaks.

use std::fs;

use anyhow::ensure;

use super::{
    ask, jars,
    plan::{PASSWORD, Plan, fill, text},
    state::{Kind, Member},
};

const NODE: &str = include_str!("../../engines/cassandra/cassandra.yaml");
const LOGGING: &str = include_str!("../../engines/cassandra/logback.xml");
const JAVA: &str = include_str!("../../engines/cassandra/java.args");

/// A node asks those it knows who else there is. The seed goes on without an answer after this; the
/// others give up and end after twice this, which on a busy machine must not be too soon.
const ASK_SEED_MS: u32 = 2000;
const ASK_OTHERS_MS: u32 = 30_000;

/// Said once, when the first password can be checked.
const HAS_USERS: &str = "Created default superuser role";

/// Lays out the nodes; when secured also the one with TLS and a password, a cluster of its own.
///
/// # Errors
/// When jars are missing or a file cannot be written.
pub(crate) fn lay_out(plan: &Plan) -> anyhow::Result<Vec<Member>> {
    let jars = jars::CASSANDRA.get(plan.progress, "cassandra")?;
    let class_path = format!("{}/*", jars.display());
    plan.write("logback.xml", LOGGING)?;
    plan.write("cassandra.java.args", JAVA)?;
    let seed = plan.block.address(1);
    let mut members = Vec::new();
    for id in 1..=plan.wanted.nodes {
        let address = plan.block.address(id);
        let settings = fill(NODE, &[("ADDRESS", &address), ("SEED", &seed)]);
        let name = format!("cassandra-{id}");
        let ask_ms = if id == 1 { ASK_SEED_MS } else { ASK_OTHERS_MS };
        let command = command(plan, &name, &settings, &class_path, ask_ms)?;
        let addresses = [("plain", format!("{address}:9042"))];
        members.push(plan.member(&name, Kind::Cassandra, &addresses, command));
    }
    if let Some(certificates) = &plan.certificates {
        let address = plan.block.address(4);
        let settings = fill(NODE, &[("ADDRESS", &address), ("SEED", &address)])
            + &secured(&text(&certificates.store));
        let command = command(plan, "cassandra-tls", &settings, &class_path, ASK_SEED_MS)?;
        let addresses = [("tls", format!("{address}:9042"))];
        members.push(plan.member("cassandra-tls", Kind::CassandraTls, &addresses, command));
    }
    Ok(members)
}

fn secured(store: &str) -> String {
    format!(
        "authenticator: PasswordAuthenticator\n\
         authorizer: CassandraAuthorizer\n\
         role_manager: CassandraRoleManager\n\
         client_encryption_options:\n\
         \x20 enabled: true\n\
         \x20 optional: false\n\
         \x20 keystore: {store}\n\
         \x20 keystore_password: {PASSWORD}\n\
         \x20 store_type: PKCS12\n"
    )
}

fn command(
    plan: &Plan,
    name: &str,
    settings: &str,
    class_path: &str,
    ask_ms: u32,
) -> anyhow::Result<Vec<String>> {
    let data = plan.data(name)?;
    let settings = plan.write(&format!("{name}.yaml"), settings)?;
    let conf = plan.dir.join("conf");
    Ok(vec![
        text(&plan.java),
        format!("@{}", conf.join("cassandra.java.args").display()),
        "-Xmx512m".to_owned(),
        format!("-Dcassandra.ring_delay_ms={ask_ms}"),
        format!("-Dlogback.configurationFile=file://{}", conf.join("logback.xml").display()),
        format!("-Dcassandra.config=file://{}", settings.display()),
        format!("-Dcassandra.storagedir={}", data.display()),
        "-cp".to_owned(),
        class_path.to_owned(),
        "org.apache.cassandra.service.CassandraDaemon".to_owned(),
    ])
}

/// Whether a node serves and sees `expected` nodes that agree about the schema.
///
/// # Errors
/// Says what it waits for: try again.
pub(crate) fn is_ready(member: &Member, expected: usize) -> anyhow::Result<()> {
    if member.kind == Kind::CassandraTls {
        // The port opens at the end of the start. Nobody here speaks TLS to ask more.
        ask::connect(member.address())?;
        let log = fs::read_to_string(&member.log).unwrap_or_default();
        ensure!(log.contains(HAS_USERS), "its first user is not made yet");
        return Ok(());
    }
    let ring = ask::cassandra_ring(member.address())?;
    ensure!(ring.nodes >= expected, "it knows {} of {expected} nodes", ring.nodes);
    ensure!(ring.agrees, "the nodes do not agree about the schema yet");
    Ok(())
}
