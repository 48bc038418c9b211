//! What is up: `engines.json` of a folder, by which later commands find every process again.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::process::Process;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A broker that is a controller too.
    Kafka,
    /// A node of the cluster.
    Cassandra,
    /// A node of its own, with TLS and a password.
    CassandraTls,
    /// The one Redis.
    Redis,
    /// A Redis of its own, with TLS and a password.
    RedisTls,
    /// One of three primaries and three replicas that share the slots.
    RedisCluster,
    /// A primary, or its replica, that sentinels watch.
    RedisWatched,
    /// A sentinel.
    Sentinel,
}

impl Kind {
    const ALL: [(Self, &str); 8] = [
        (Self::Kafka, "kafka"),
        (Self::Cassandra, "cassandra"),
        (Self::CassandraTls, "cassandra-tls"),
        (Self::Redis, "redis"),
        (Self::RedisTls, "redis-tls"),
        (Self::RedisCluster, "redis-cluster"),
        (Self::RedisWatched, "redis-watched"),
        (Self::Sentinel, "sentinel"),
    ];

    /// Its name in `engines.json`.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.map(|(_, name)| *name).expect("the table has every kind")
    }

    fn of(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind).with_context(|| format!("{name} is no kind of engine"))
    }
}

/// What `up` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Brokers, and nodes of Cassandra: 1 or 3.
    pub(crate) nodes: u8,
    /// Also a cluster of Redis, and one with sentinels.
    pub(crate) redis_all: bool,
    /// Also listeners with TLS and a password.
    pub(crate) secured: bool,
}

/// One process: what it is called, how it is started, where it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// What commands call it, for example `kafka-2`.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// `host:port` by listener: `plain`, `tls`, `controller`.
    pub(crate) addresses: BTreeMap<String, String>,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Where its output goes, appended.
    pub(crate) log: PathBuf,
    /// The process last started, which may be dead.
    pub(crate) process: Option<Process>,
}

impl Member {
    /// Where clients reach it: without TLS when there is such a listener.
    pub(crate) fn address(&self) -> &str {
        let plain = self.addresses.get("plain").or_else(|| self.addresses.get("tls"));
        plain.expect("a member has a listener for clients")
    }

    /// Whether its process runs, paused or not.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_some_and(Process::is_alive)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind.name(),
            "addresses": self.addresses,
            "pid": self.process.map(|process| process.pid),
            "started": self.process.map(|process| process.started),
            "command": self.command,
            "log": self.log,
        })
    }

    fn from_json(value: &Value) -> anyhow::Result<Self> {
        let addresses = value["addresses"].as_object().context("no addresses")?;
        let address = |(key, value): (&String, &Value)| {
            Some((key.clone(), value.as_str().map(str::to_owned)?))
        };
        let command = value["command"].as_array().context("no command")?;
        let pid = value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        Ok(Self {
            name: text(value, "name")?,
            kind: Kind::of(&text(value, "kind")?)?,
            addresses: addresses.iter().filter_map(address).collect(),
            command: command.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            log: text(value, "log")?.into(),
            process: pid.zip(value["started"].as_u64()).map(Process::from),
        })
    }
}

/// All of `engines.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// What it was asked to be.
    pub(crate) wanted: Wanted,
    /// The certificate of the authority that signed every certificate here; only when secured.
    pub(crate) ca: Option<PathBuf>,
    /// Its processes, in the order of their start.
    pub(crate) members: Vec<Member>,
}

impl State {
    /// What a folder says; none when nothing was started there.
    ///
    /// # Errors
    /// When the file is not of this program.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join("engines.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        let state = serde_json::from_str(&text).map_err(Into::into).and_then(|v| Self::parse(&v));
        let what = || format!("{}: not as `up` wrote it: remove the folder", path.display());
        state.map(Some).with_context(what)
    }

    fn parse(value: &Value) -> anyhow::Result<Self> {
        let members = value["members"].as_array().context("no members")?;
        let nodes = value["nodes"].as_u64().context("no nodes")?;
        Ok(Self {
            wanted: Wanted {
                nodes: u8::try_from(nodes)?,
                redis_all: value["redis"].as_str() == Some("all"),
                secured: value["secured"].as_bool() == Some(true),
            },
            ca: value["ca"].as_str().map(PathBuf::from),
            members: members.iter().map(Member::from_json).collect::<anyhow::Result<_>>()?,
        })
    }

    /// The content of the file.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "nodes": self.wanted.nodes,
            "redis": if self.wanted.redis_all { "all" } else { "one" },
            "secured": self.wanted.secured,
            "ca": self.ca,
            "members": self.members.iter().map(Member::to_json).collect::<Vec<_>>(),
        })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let (path, draft) = (dir.join("engines.json"), dir.join("engines.json.new"));
        fs::write(&draft, format!("{:#}\n", self.to_json()))?;
        fs::rename(&draft, &path).with_context(|| format!("write {}", path.display()))
    }

    /// The member of that name.
    ///
    /// # Errors
    /// When there is none; says which there are.
    pub(crate) fn member(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        let names: Vec<_> = self.members.iter().map(|member| member.name.clone()).collect();
        match self.members.iter_mut().find(|member| member.name == name) {
            Some(member) => Ok(member),
            None => bail!("{name} is none of {}", names.join(", ")),
        }
    }

    /// Members of a kind, in their order.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.kind == kind)
    }

    /// Addresses of a kind, as a variable lists them.
    pub(crate) fn addresses(&self, kind: Kind) -> String {
        self.of(kind).map(Member::address).collect::<Vec<_>>().join(",")
    }
}

/// One command at a time changes a folder; the others wait. Released when it is dropped, also by a
/// process that is killed.
pub(crate) struct Lock(#[expect(dead_code, reason = "open is locked")] File);

impl Lock {
    /// Waits for the folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn take(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let path = dir.join("lock");
        let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(Self(file))
    }
}

fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"))
}

/// Two members for tests, one of which was never started.
#[cfg(test)]
pub(crate) fn example() -> State {
    let member = |name: &str, kind, process| Member {
        name: name.to_owned(),
        kind,
        addresses: BTreeMap::from([("plain".to_owned(), "127.1.2.1:9092".to_owned())]),
        command: vec!["java".to_owned(), "-cp".to_owned(), "a b".to_owned()],
        log: PathBuf::from("/x/logs/a.log"),
        process,
    };
    State {
        wanted: Wanted { nodes: 3, redis_all: true, secured: false },
        ca: None,
        members: vec![
            member("kafka-1", Kind::Kafka, Some(Process { pid: 7, started: 9 })),
            member("redis", Kind::Redis, None),
        ],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let state = example();
        assert_eq!(State::parse(&state.to_json()).unwrap(), state);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for (kind, name) in Kind::ALL {
            assert_eq!(Kind::of(name).unwrap(), kind);
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn an_unknown_member_says_which_there_are() {
        let error = example().member("kafka-9").unwrap_err();
        assert_eq!(error.to_string(), "kafka-9 is none of kafka-1, redis");
    }

    #[test]
    fn a_file_of_another_program_is_refused() {
        assert!(State::parse(&json!({ "nodes": 1 })).is_err());
    }
}
