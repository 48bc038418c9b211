//! How others find what is up: variables for tests, a configuration file for the program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    certificates::Certificates,
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
pub(crate) fn write(dir: &Path, state: &State, mesh: &Certificates) -> anyhow::Result<()> {
    Ok(fs::write(dir.join("posthorn.toml"), configuration(state, mesh))?)
}

/// A configuration file with these engines and a mesh; all else stays at its default.
fn configuration(state: &State, mesh: &Certificates) -> String {
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
         nodes = {}\n\n\
         [mesh]\n\
         listen = \"127.0.0.1:0\"\n\
         ca_file = {:?}\n\
         certificate_file = {:?}\n\
         key_file = {:?}\n",
        list(state.addresses(Kind::Kafka)),
        list(state.addresses(Kind::Cassandra)),
        list(state.addresses(Kind::Redis)),
        mesh.ca,
        mesh.certificate,
        mesh.key,
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

#[cfg(test)]
mod tests {
    use super::{super::state::example, *};

    fn mesh() -> Certificates {
        let file = |name: &str| PathBuf::from("/x/mesh").join(name);
        Certificates {
            ca: file("ca"),
            certificate: file("own"),
            key: file("key"),
            store: file("p"),
        }
    }

    #[test]
    fn a_configuration_names_every_engine_and_the_mesh() {
        let mut state = example();
        let text = configuration(&state, &mesh());
        for line in
            ["engines = \"cluster\"", "brokers = [\"127.1.2.1:9092\"]", "ca_file = \"/x/mesh/ca\""]
        {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("unsafe_replication"), "three of each are safe");
        state.wanted.nodes = 1;
        assert!(configuration(&state, &mesh()).contains("unsafe_replication = true"));
    }

    #[test]
    fn variables_name_only_what_is_up() {
        let variables = variables(Path::new("/x"), &example());
        let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        let expected = ["POSTHORN_TEST_KAFKA", "POSTHORN_TEST_REDIS"];
        assert_eq!(names[..2], expected);
        assert_eq!(names[2..], ["POSTHORN_ENGINES", "POSTHORN_ENGINES_DIR"]);
    }
}
