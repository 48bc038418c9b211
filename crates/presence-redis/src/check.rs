//! A look at the servers, for the people who run them.

use std::{collections::BTreeMap, time::Duration};

use ports::operate::{Finding, State};
use tokio::time::timeout;

use crate::{
    config::{Mode, RedisConfig},
    connect::{Connector, Endpoint, describe},
    connection::Connection,
    keeper::{info, value_of},
};

/// Everything takes at most this.
const CHECK_WITHIN: Duration = Duration::from_secs(10);
/// The oldest server whose scripts and protocol are used here.
const VERSION_MIN: u32 = 7;

/// Looks at what is configured.
pub(crate) async fn check(config: &RedisConfig) -> Vec<Finding> {
    let connector = match Connector::new(config) {
        Ok(connector) => connector,
        Err(error) => return vec![wrong("settings", &error.what, &error.remedy)],
    };
    let mut findings = Vec::new();
    if timeout(CHECK_WITHIN, look(&connector, config, &mut findings)).await.is_err() {
        findings.push(wrong("servers", "no answer in time", "look at their load and the network"));
    }
    findings
}

async fn look(connector: &Connector, config: &RedisConfig, findings: &mut Vec<Finding>) {
    match &config.mode {
        Mode::Single(_) => {}
        Mode::Sentinel { service, .. } => look_at_sentinels(connector, service, findings).await,
        Mode::Cluster(_) => look_at_cluster(connector, findings).await,
    }
    if let Mode::Cluster(_) = config.mode {
        for server in connector.endpoints() {
            look_at_server(connector, server, Role::Any, findings).await;
        }
        return;
    }
    let server = match connector.elected().await {
        None => connector.endpoints()[0].clone(),
        Some(Ok(server)) => server,
        Some(Err(error)) => {
            let remedy = "see that the sentinels run and watch this service";
            findings.push(wrong("server in charge", &describe(&error), remedy));
            return;
        }
    };
    look_at_server(connector, &server, Role::InCharge, findings).await;
}

async fn look_at_sentinels(connector: &Connector, service: &str, findings: &mut Vec<Finding>) {
    let mut named = BTreeMap::<String, usize>::new();
    for node in connector.endpoints() {
        let about = format!("sentinel {}", name(node));
        match connector.ask_sentinel(node, service).await {
            Ok(server) => {
                *named.entry(name(&server)).or_default() += 1;
                findings.push(good(&about, &format!("{service} is {}", name(&server))));
            }
            Err(error) => {
                let remedy = "start it, or correct the address and the service";
                findings.push(doubtful(&about, &describe(&error), remedy));
            }
        }
    }
    if named.len() > 1 {
        let found = format!("{} different servers are in charge", named.len());
        findings.push(wrong("sentinels", &found, "wait for the failover to end, then look again"));
    }
}

async fn look_at_cluster(connector: &Connector, findings: &mut Vec<Finding>) {
    let about = "cluster";
    let mut connection = match connector.connect().await {
        Ok(connected) => connected.connection,
        Err(error) => {
            let remedy = "start it, or correct addresses, user, password and TLS";
            findings.push(wrong(about, &describe(&error), remedy));
            return;
        }
    };
    let mut command = redis::cmd("CLUSTER");
    command.arg("INFO");
    let answer = connection.ask(command).await;
    let text = answer.and_then(|value| Ok(redis::from_redis_value::<String>(value)?));
    let remedy = "redis-cli --cluster check shows which slots have no server";
    findings.push(match text {
        Err(error) => wrong(about, &describe(&error), remedy),
        Ok(text) => match value_of(&text, "cluster_state") {
            Some("ok") => good(about, "its state is ok"),
            other => {
                let state = other.unwrap_or("unknown");
                wrong(about, &format!("its state is {state}"), remedy)
            }
        },
    });
}

/// What a server must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The one that takes writes.
    InCharge,
    /// A replica will do.
    Any,
}

async fn look_at_server(
    connector: &Connector,
    server: &Endpoint,
    role: Role,
    findings: &mut Vec<Finding>,
) {
    let about = format!("server {}", name(server));
    let told = async {
        let mut connection = connector.connect_to(server).await?;
        let mut text = String::new();
        for section in ["server", "memory", "replication"] {
            text += &info(&mut connection, section).await?;
            text += "\n";
        }
        redis::RedisResult::Ok((connection, text))
    };
    let (connection, text) = match told.await {
        Ok(told) => told,
        Err(error) => {
            let remedy = "start it, or correct address, user, password and TLS";
            findings.push(wrong(&about, &describe(&error), remedy));
            return;
        }
    };
    drop::<Connection>(connection);
    findings.push(good(&about, "it answers"));
    findings.push(version(&about, &text));
    findings.push(memory(&about, &text));
    if role == Role::InCharge && value_of(&text, "role") == Some("slave") {
        let remedy = "name the server in charge, or its sentinels";
        findings.push(wrong(&format!("{about}: role"), "a replica takes no writes", remedy));
    }
}

fn version(about: &str, text: &str) -> Finding {
    let about = format!("{about}: version");
    // Valkey calls itself Redis 7.2 here whatever its own version.
    let version = value_of(text, "redis_version").unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let name = match value_of(text, "valkey_version") {
        Some(valkey) => format!("Valkey {valkey}"),
        None => format!("Redis {version}"),
    };
    match major {
        Some(major) if major >= VERSION_MIN => good(&about, &name),
        Some(_) => wrong(&about, &name, "7 or later is needed"),
        None => doubtful(&about, &name, "7 or later is needed"),
    }
}

fn memory(about: &str, text: &str) -> Finding {
    let about = format!("{about}: maxmemory-policy");
    let policy = value_of(text, "maxmemory_policy").unwrap_or("unknown");
    let limited = value_of(text, "maxmemory").is_some_and(|bytes| bytes != "0");
    match (limited, policy) {
        (false, _) => good(&about, &format!("{policy}, and no limit of memory")),
        (true, "noeviction") => good(&about, policy),
        (true, _) => {
            let found = format!("{policy}: leases of edges may go when memory is full");
            let remedy = "set noeviction and watch used_memory; devices miss pushes otherwise";
            doubtful(&about, &found, remedy)
        }
    }
}

fn name(server: &Endpoint) -> String {
    format!("{}:{}", server.host, server.port)
}

fn good(about: &str, found: &str) -> Finding {
    finding(State::Good, about, found, "")
}

fn doubtful(about: &str, found: &str, remedy: &str) -> Finding {
    finding(State::Doubtful, about, found, remedy)
}

fn wrong(about: &str, found: &str, remedy: &str) -> Finding {
    finding(State::Wrong, about, found, remedy)
}

fn finding(state: State, about: &str, found: &str, remedy: &str) -> Finding {
    Finding {
        state,
        about: format!("redis: {about}"),
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_wrong_and_valkey_is_called_so() {
        let old = version("server", "redis_version:6.2.14\r\n");
        assert_eq!((old.state, old.found.as_str()), (State::Wrong, "Redis 6.2.14"));
        let valkey = version("server", "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n");
        assert_eq!((valkey.state, valkey.found.as_str()), (State::Good, "Valkey 8.0.1"));
    }

    #[test]
    fn evicting_matters_where_memory_is_limited() {
        let look = |text| memory("server", text).state;
        assert_eq!(look("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n"), State::Good);
        assert_eq!(look("maxmemory:100\r\nmaxmemory_policy:noeviction\r\n"), State::Good);
        assert_eq!(look("maxmemory:100\r\nmaxmemory_policy:volatile-ttl\r\n"), State::Doubtful);
    }
}
