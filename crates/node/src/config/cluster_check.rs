//! What must hold between the settings of a cluster of many processes.

use crate::{
    catalogue::Code,
    config::{Config, Role, cluster::RedisMode, value::Secret},
    failure::{Failure, Outcome},
};

/// Longest name of a process and longest prefix, characters: names of topics are made of a prefix
/// and may have 249.
const NAME_LEN_MAX: usize = 128;
/// Longest name of a keyspace, characters; a limit of the database.
const KEYSPACE_LEN_MAX: usize = 48;

impl Config {
    /// Whether the settings of the engines and the mesh can be right.
    pub(super) fn check_cluster(&self) -> Outcome {
        self.node_name()?;
        self.check_present()?;
        self.check_names()?;
        self.check_addresses()?;
        self.check_logins()?;
        self.check_encryption()?;
        self.check_times()
    }

    /// What this process is called.
    ///
    /// # Errors
    /// When nothing is set and the host's name cannot be used.
    pub fn node_name(&self) -> Outcome<String> {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = self.node.name.clone().unwrap_or_else(host);
        if is_name(&name) {
            return Ok(name);
        }
        Err(Failure::new(Code::BadValue, format!("`{name}` cannot name a process"))
            .at("node.name; without it the host's name")
            .remedy(
                "use letters, digits, '.', '_' and '-'; 128 at most, and no other process's name",
            ))
    }

    fn check_present(&self) -> Outcome {
        let missing = [
            ("kafka.brokers", self.kafka.brokers.is_empty()),
            ("cql.nodes", self.cql.nodes.is_empty()),
            ("redis.nodes", self.redis.nodes.is_empty()),
            ("mesh.ca_file", self.mesh.ca_file.is_none()),
            ("mesh.certificate_file", self.mesh.certificate_file.is_none()),
            ("mesh.key_file", self.mesh.key_file.is_none()),
        ];
        let Some((name, _)) = missing.iter().find(|(_, is_missing)| *is_missing) else {
            return Ok(());
        };
        let remedy = match name.starts_with("mesh.") {
            true => "set it; `posthorn admin mesh-ca` makes certificates for who has no authority",
            false => "set it; one machine alone needs no engines: node.engines = \"embedded\"",
        };
        Err(Failure::new(Code::SettingMissing, format!("a cluster needs `{name}`"))
            .at((*name).to_owned())
            .remedy(remedy))
    }

    fn check_names(&self) -> Outcome {
        if !is_name(&self.kafka.prefix) {
            return Err(not_valid("kafka.prefix", "use letters, digits, '.', '_' and '-'"));
        }
        let keyspace = &self.cql.keyspace;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !keyspace.starts_with(|c: char| c.is_ascii_lowercase())
            || !keyspace.chars().all(is_plain)
            || keyspace.len() > KEYSPACE_LEN_MAX
        {
            let remedy = "begin with a small letter; then small letters, digits and '_', 48 in all";
            return Err(not_valid("cql.keyspace", remedy));
        }
        if self.redis.prefix.is_empty() || self.redis.prefix.contains(['{', '}']) {
            return Err(not_valid("redis.prefix", "write a text without braces"));
        }
        for (name, text) in
            [("mesh.edge_name", &self.mesh.edge_name), ("mesh.worker_name", &self.mesh.worker_name)]
        {
            if text.is_empty() {
                return Err(not_valid(name, "write a DNS name such as edge.posthorn.internal"));
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Outcome {
        for (name, list) in [
            ("kafka.brokers", &self.kafka.brokers),
            ("cql.nodes", &self.cql.nodes),
            ("redis.nodes", &self.redis.nodes),
        ] {
            if let Some(wrong) = list.iter().find(|one| !is_host_and_port(one)) {
                return Err(no_address(name, wrong));
            }
        }
        let redis = &self.redis;
        if redis.mode == RedisMode::Single && redis.nodes.len() > 1 {
            return Err(contradiction(
                "redis.mode, redis.nodes",
                "a single server has one address",
                "name one node, or set redis.mode to \"sentinel\" or \"cluster\"",
            ));
        }
        if redis.mode == RedisMode::Sentinel && redis.service.is_empty() {
            return Err(not_valid("redis.service", "write what the sentinels call the server"));
        }
        self.check_mesh_address()
    }

    fn check_mesh_address(&self) -> Outcome {
        let mesh = &self.mesh;
        if !self.has(Role::Edge) {
            return Ok(());
        }
        match &mesh.address {
            Some(address) if is_host_and_port(address) => Ok(()),
            Some(address) => Err(no_address("mesh.address", address)),
            None if mesh.listen.ip().is_unspecified() => Err(Failure::new(
                Code::SettingMissing,
                "an edge that listens at every address must say which one workers reach",
            )
            .at("mesh.address")
            .remedy("set it to host:port of this machine, or mesh.listen to one address")),
            None => Ok(()),
        }
    }

    fn check_logins(&self) -> Outcome {
        let kafka = &self.kafka;
        let given = |user: &str, password: &Secret| (!user.is_empty(), password.reveal().is_some());
        match (kafka.sasl_mechanism, given(&kafka.user, &kafka.password)) {
            (Some(_), (true, true)) | (None, (false, false)) => {}
            (Some(_), _) => {
                return Err(Failure::new(Code::SettingMissing, "logging in needs both")
                    .at("kafka.user, kafka.password")
                    .remedy("set both; the password better as kafka.password_file"));
            }
            (None, _) => {
                return Err(Failure::new(
                    Code::SettingMissing,
                    "there is a login for Kafka, and no way to use it",
                )
                .at("kafka.sasl_mechanism")
                .remedy("set it, for example to \"SCRAM-SHA-512\""));
            }
        }
        let (user, password) = given(&self.cql.user, &self.cql.password);
        if user != password {
            return Err(Failure::new(Code::SettingMissing, "logging in needs both")
                .at("cql.user, cql.password")
                .remedy("set both, or neither; the password better as cql.password_file"));
        }
        // Redis has a default user, so a password alone will do.
        let (user, password) = given(&self.redis.user, &self.redis.password);
        if user && !password {
            return Err(Failure::new(Code::SettingMissing, "logging in needs a password")
                .at("redis.password")
                .remedy("set it, better as redis.password_file, or remove redis.user"));
        }
        Ok(())
    }

    /// A certificate that is given and not used means that somebody expects encryption.
    fn check_encryption(&self) -> Outcome {
        let (kafka, cql, redis) = (&self.kafka, &self.cql, &self.redis);
        if kafka.certificate_file.is_some() != kafka.key_file.is_some() {
            return Err(contradiction(
                "kafka.certificate_file, kafka.key_file",
                "a certificate and its key are needed together",
                "set both, or neither",
            ));
        }
        let kafka_files = kafka.ca_file.is_some() || kafka.certificate_file.is_some();
        for (name, is_encrypted, has_files) in [
            ("kafka.tls", kafka.tls, kafka_files),
            ("cql.tls", cql.tls, cql.ca_file.is_some()),
            ("redis.tls", redis.tls, redis.ca_file.is_some()),
        ] {
            if has_files && !is_encrypted {
                return Err(contradiction(
                    name,
                    "certificates are given, and connections would not be encrypted",
                    &format!("set {name} = true, or remove the files"),
                ));
            }
        }
        Ok(())
    }

    fn check_times(&self) -> Outcome {
        if self.kafka.log_keep > self.edge.lag_max {
            return Ok(());
        }
        Err(contradiction(
            "kafka.log_keep, edge.lag_max",
            "the log would drop records before senders are slowed down",
            "make kafka.log_keep longer than edge.lag_max; days are usual",
        ))
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    is_host && !is_bare_v6 && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn no_address(place: &str, text: &str) -> Failure {
    Failure::new(Code::BadValue, format!("`{text}` is not an address"))
        .at(place)
        .remedy("write host:port, such as \"10.0.0.7:9092\" or \"kafka-1.internal:9092\"")
}

fn not_valid(place: &str, remedy: &str) -> Failure {
    Failure::new(Code::BadValue, format!("the value of `{place}` cannot be used"))
        .at(place)
        .remedy(remedy)
}

fn contradiction(place: &str, what: &str, remedy: &str) -> Failure {
    Failure::new(Code::SettingsConflict, what).at(place).remedy(remedy)
}
