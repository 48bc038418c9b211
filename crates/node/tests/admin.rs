//! What an operator does to a cluster, on real engines.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use log_kafka::{KafkaConfig, KafkaLog};
use mailbox_scylla::{CqlConfig, CqlStore};
use node::clock::wall_clock_ms;
use ports::{
    log::{DeadLetter, Entry},
    mailbox::{Batch, Row},
};
use serde_json::Value;
use wire::{Partition, Seq, Topic, UserId};

const POSTHORN: &str = env!("CARGO_BIN_EXE_posthorn");

/// A cluster of its own on the engines that all tests share: topics, keyspace and keys that no
/// other test has.
struct Cluster {
    own: String,
    settings: Vec<String>,
}

/// How a command ended and what it printed.
struct Ended {
    code: i32,
    lines: Vec<Value>,
    text: String,
    errors: String,
}

fn engine(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: `cargo xtask test engines` starts engines and sets it")
    })
}

fn list(variable: &str) -> Vec<String> {
    engine(variable).split(',').map(str::to_owned).collect()
}

impl Cluster {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let own = format!("admin_{}_{}_{count}", wall_clock_ms(), std::process::id());
        let settings = [
            "node.engines=cluster".to_owned(),
            "node.name=admin-test".to_owned(),
            "node.roles=mail-worker,group-worker".to_owned(),
            format!("kafka.brokers={}", engine("POSTHORN_TEST_KAFKA")),
            format!("kafka.prefix={own}"),
            "kafka.unsafe_replication=true".to_owned(),
            format!("cql.nodes={}", engine("POSTHORN_TEST_CQL")),
            format!("cql.keyspace={own}"),
            "cql.unsafe_replication=true".to_owned(),
            format!("redis.nodes={}", engine("POSTHORN_TEST_REDIS")),
            format!("redis.prefix={own}"),
            "admin.address=127.0.0.1:0".to_owned(),
        ];
        Self { own, settings: settings.into() }
    }

    /// As [`Cluster::new`], with certificates for its mesh in a folder.
    fn with_mesh(folder: &Path) -> Self {
        let mut cluster = Self::new();
        let mesh = folder.join("mesh");
        for arguments in ["new", "issue"] {
            let mut command = Command::new(POSTHORN);
            command.args(["admin", "mesh-ca", arguments]).arg(&mesh);
            if arguments == "issue" {
                command.args(["--name", "admin-test"]);
            }
            assert!(command.output().unwrap().status.success());
        }
        for (setting, file) in [
            ("ca_file", "ca.pem"),
            ("certificate_file", "admin-test.pem"),
            ("key_file", "admin-test.key"),
        ] {
            cluster.settings.push(format!("mesh.{setting}={}", mesh.join(file).display()));
        }
        cluster
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(POSTHORN);
        command.args(arguments.split_whitespace());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    fn run(&self, arguments: &str) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let errors = String::from_utf8(output.stderr).unwrap();
        Ended { code: output.status.code().unwrap(), lines, text, errors }
    }

    /// Runs a command that must succeed.
    fn ok(&self, arguments: &str) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments}: {}{}", ended.text, ended.errors);
        ended
    }

    fn kafka(&self) -> KafkaConfig {
        let brokers = list("POSTHORN_TEST_KAFKA");
        let config = KafkaConfig::new(brokers, self.own.clone(), "admin-test-itself");
        KafkaConfig { unsafe_replication: true, ..config }
    }

    fn cql(&self) -> CqlConfig {
        let config = CqlConfig::new(list("POSTHORN_TEST_CQL"), self.own.clone());
        CqlConfig { unsafe_replication: true, ..config }
    }
}

impl Ended {
    fn states(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line["state"].as_str().unwrap()).collect()
    }

    fn has_only(&self, state: &str) -> bool {
        !self.lines.is_empty() && self.states().iter().all(|one| *one == state)
    }
}

/// Plan, dry run, apply, plan, apply again, check: what holds for topics and for the schema.
fn walk(cluster: &Cluster, what: &str, flags: &str) {
    let plan = cluster.ok(&format!("admin {what} plan {flags} -o json"));
    assert!(plan.states().contains(&"open"), "{}", plan.text);

    let dry = cluster.ok(&format!("admin {what} apply {flags}"));
    assert!(dry.text.contains("dry run: nothing was changed"), "{}", dry.text);
    let again = cluster.ok(&format!("admin {what} plan {flags} -o json"));
    assert_eq!(again.lines, plan.lines, "a dry run changed something");

    let applied = cluster.ok(&format!("admin {what} apply {flags} --yes -o json"));
    let states = applied.states();
    let taken = states.iter().filter(|state| **state == "taken").count();
    let open = plan.states().iter().filter(|state| **state == "open").count();
    assert_eq!((taken, states.len()), (open, plan.lines.len()), "{}", applied.text);

    let done = cluster.ok(&format!("admin {what} plan {flags} -o json"));
    assert!(done.has_only("done"), "{}", done.text);
    let idle = cluster.ok(&format!("admin {what} apply {flags} --yes -o json"));
    assert!(idle.has_only("done"), "{}", idle.text);

    let checked = cluster.ok(&format!("admin {what} check -o json"));
    assert!(checked.states().contains(&"ok"), "{}", checked.text);
}

#[test]
fn topics_are_planned_tried_made_once_and_found_good() {
    let cluster = Cluster::new();
    let before = cluster.ok("admin epochs");
    assert!(before.text.contains("no epoch yet"), "{}", before.text);
    walk(&cluster, "topics", "--mail-partitions 3 --group-partitions 2");
    let epochs = cluster.ok("admin epochs -o json").lines;
    let counts: Vec<_> =
        epochs.iter().map(|line| line["partitions"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 2]);
    assert!(epochs.iter().all(|line| line["epoch"] == 1 && line["id"] == line["found_id"]));
    let other = cluster.run("admin topics plan --mail-partitions 4 --group-partitions 2");
    assert_eq!((other.code, other.errors.contains("PH0303")), (3, true), "{}", other.errors);
}

#[test]
fn the_schema_is_planned_tried_made_once_and_found_good() {
    walk(&Cluster::new(), "schema", "");
}

#[tokio::test]
async fn a_mailbox_is_erased_up_to_a_place_and_only_with_yes() {
    let cluster = Cluster::new();
    cluster.ok("admin schema apply --yes");
    let user = UserId::from_bytes([7; 16]);
    let store = CqlStore::open(cluster.cql(), wall_clock_ms).await.unwrap();
    let now_ms = wall_clock_ms();
    let row = |offset| Row {
        user,
        // In the first epoch of a cluster.
        seq: Seq::new(wire::Epoch::new(1), wire::Offset::new(offset)),
        log_time_ms: now_ms,
        expires_ms: now_ms + 86_400_000,
        item: Bytes::from_static(b"item"),
    };
    let rows: Vec<Row> = (1..=3).map(row).collect();
    let second = rows[1].seq.get();
    store.mailbox().append(Batch { rows, marks: vec![] }).await.unwrap();

    let count = |arguments: &str| {
        let ended = cluster.ok(&format!("admin erase {user} -o json {arguments}"));
        (ended.lines[0]["rows"].as_u64().unwrap(), ended.lines[0]["erased"].as_bool().unwrap())
    };
    assert_eq!(count(""), (3, false));
    assert_eq!(count(&format!("--up-to {second} --yes")), (2, true));
    assert_eq!(count("--yes"), (1, true));
    assert_eq!(count(""), (0, false));
    store.close().await;
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_put_back() {
    let cluster = Cluster::new();
    cluster.ok("admin topics apply --mail-partitions 2 --group-partitions 1 --yes");
    assert_eq!(cluster.ok("admin deadletters list").text, "There are no dead letters.\n");
    let log = KafkaLog::open(cluster.kafka()).await.unwrap();
    let seq = Seq::new(wire::Epoch::new(1), wire::Offset::new(5));
    let entry = Entry { seq, log_time_ms: 1_735_689_600_000, record: Bytes::from_static(b"bad") };
    let letter = DeadLetter {
        topic: Topic::Mail,
        partition: Partition::new(1),
        entry,
        reason: "a test wants it".to_owned(),
    };
    log.log().append_dead_letter(letter).await.unwrap();
    log.close().await;

    let listed = cluster.ok("admin deadletters list -o json").lines;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["reason"], "a test wants it");
    let number = &listed[0]["number"];
    let shown = cluster.ok(&format!("admin deadletters show {number} -o json"));
    assert_eq!(shown.lines[0]["record"], "YmFk");

    let records = || {
        let epochs = cluster.ok("admin epochs -o json").lines;
        epochs[0]["partitions"][1]["end"].as_u64().unwrap()
    };
    let dry = cluster.ok(&format!("admin deadletters put-back {number}"));
    assert!(dry.text.contains("dry run"), "{}", dry.text);
    assert_eq!(records(), 0);
    cluster.ok(&format!("admin deadletters put-back {number} --yes"));
    assert_eq!(records(), 1);
    let none = cluster.run("admin deadletters show 4711");
    assert_eq!((none.code, none.errors.contains("PH1004")), (5, true), "{}", none.errors);
}

#[test]
fn a_check_finds_what_is_missing_and_then_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::with_mesh(folder.path());
    let early = cluster.run("check -o json");
    assert_eq!((early.code, early.errors.contains("PH1001")), (7, true), "{}", early.text);
    cluster.ok("admin topics apply --mail-partitions 1 --group-partitions 1 --yes");
    cluster.ok("admin schema apply --yes");
    let good = cluster.ok("check -o json");
    for engine in ["kafka", "cql", "redis", "certificate for the mesh"] {
        let about = |line: &Value| line["about"].as_str().unwrap().starts_with(engine);
        assert!(good.lines.iter().any(about), "{engine}: {}", good.text);
    }
    // Nobody listens at the port of nothing.
    cluster.settings.push("kafka.brokers=127.0.0.1:1".to_owned());
    let gone = cluster.run("check -o json");
    assert_eq!(gone.code, 7, "{}", gone.text);
    let about = |line: &Value| line["about"].as_str().unwrap().starts_with("kafka");
    let wrong = |line: &Value| line["state"] == "wrong";
    assert!(gone.lines.iter().filter(|line| wrong(line)).all(about), "{}", gone.text);
}

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_worker_that_starts_first_waits_for_topics_and_schema() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::with_mesh(folder.path());
    let mut node = cluster.command("node");
    let mut node = Running(node.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(node.0.stderr.take().unwrap()).lines();
    let mut until = |text: &str| {
        let found = lines.by_ref().any(|line| line.unwrap().contains(text));
        assert!(found, "it ended before it said: {text}");
    };
    until("posthorn admin topics apply");
    cluster.ok("admin topics apply --mail-partitions 1 --group-partitions 1 --yes");
    until("posthorn admin schema apply");
    cluster.ok("admin schema apply --yes");
    until("serving");
}
