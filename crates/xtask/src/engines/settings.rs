//! How others find what is up: variables for tests, a configuration file for the program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    plan::{PASSWORD, USER},
    redis::SERVICE,
    state::{Kind, State},
};

/// The variables by which tests find engines, each with its value.
pub(crate) fn variables(dir: &Path, state: &State) -> Vec<(&'static str, String)> {
    let secured = |kind| {
        let address = state.of(kind).find_map(|member| member.addresses.get("tls").cloned());
        address.unwrap_or_default()
    };
    let own = own_program();
    let ca = state.ca.as_ref().map(|path| path.display().to_string());
    let all = [
        ("POSTHORN_TEST_KAFKA", state.addresses(Kind::Kafka)),
        ("POSTHORN_TEST_CQL", state.addresses(Kind::Cassandra)),
        ("POSTHORN_TEST_REDIS", state.addresses(Kind::Redis)),
        ("POSTHORN_TEST_REDIS_CLUSTER", state.addresses(Kind::RedisCluster)),
        ("POSTHORN_TEST_REDIS_SENTINEL", state.addresses(Kind::Sentinel)),
        ("POSTHORN_TEST_KAFKA_TLS", secured(Kind::Kafka)),
        ("POSTHORN_TEST_CQL_TLS", secured(Kind::CassandraTls)),
        ("POSTHORN_TEST_REDIS_TLS", secured(Kind::RedisTls)),
        ("POSTHORN_TEST_CA", ca.unwrap_or_default()),
        ("POSTHORN_ENGINES", own.display().to_string()),
        ("POSTHORN_ENGINES_DIR", dir.display().to_string()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// This program. When it was built again since it started, the new one stands in its place.
pub(crate) fn own_program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    let kept = path.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    kept.map_or(path.clone(), PathBuf::from)
}

/// Writes `posthorn.toml` into `dir`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(dir: &Path, state: &State) -> anyhow::Result<()> {
    Ok(fs::write(dir.join("posthorn.toml"), configuration(state))?)
}

/// A configuration file with these engines; what is not about engines stays at its default.
fn configuration(state: &State) -> String {
    let list = |addresses: String| format!("{:?}", addresses.split(',').collect::<Vec<_>>());
    let replication = match state.wanted.nodes {
        1 => "unsafe_replication = true\n",
        _ => "",
    };
    format!(
        "# The engines that `cargo xtask engines up` started. Written anew by each `up`.\n\
         [node]\n\
         engines = \"cluster\"\n\n\
         [kafka]\n\
         brokers = {}\n\
         {replication}\n\
         [cql]\n\
         nodes = {}\n\
         {replication}\n\
         [redis]\n\
         mode = \"single\"\n\
         nodes = {}\n",
        list(state.addresses(Kind::Kafka)),
        list(state.addresses(Kind::Cassandra)),
        list(state.addresses(Kind::Redis)),
    )
}

/// What a person can do now.
pub(crate) fn next_steps(dir: &Path, state: &State) -> String {
    let config = dir.join("posthorn.toml");
    let mut text = format!(
        "\n  kafka      {}\n  cassandra  {}\n  redis      {}\n",
        state.addresses(Kind::Kafka),
        state.addresses(Kind::Cassandra),
        state.addresses(Kind::Redis),
    );
    if state.wanted.redis_all {
        text += &format!(
            "  redis cluster    {}\n  redis sentinels  {} (service {SERVICE})\n",
            state.addresses(Kind::RedisCluster),
            state.addresses(Kind::Sentinel),
        );
    }
    if let Some(ca) = &state.ca {
        text += &format!(
            "  secured: user {USER}, password {PASSWORD} (Cassandra: cassandra/cassandra), {}\n",
            ca.display()
        );
    }
    let dir = dir.display();
    text + &format!(
        "\nNext:\n  \
         posthorn check --config {config}\n  \
         cargo xtask engines status --dir {dir}\n  \
         eval \"$(cargo xtask engines env --dir {dir})\"   # variables for tests of an engine\n  \
         cargo xtask engines kill kafka-1 --dir {dir}    # and start it again\n  \
         cargo xtask engines down --dir {dir}\n",
        config = config.display()
    )
}
