//! The command `run`, as a person uses it, against a server that it starts.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Output},
};

use loadtest::{
    cluster::{self, LocalCluster, Settings},
    report::summary::{Outcome, Summary},
    scenario,
};

fn loadtest(arguments: &[&str], out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).arg("--out").arg(out).output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
fn a_small_scenario_runs_against_the_real_server_and_its_ledger_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // A machine that builds and tests at the same time is late; that is not what is tested.
    let sets = ["--set", "honest.schedule_delay_p99_max=1s", "--set", "phase.load.slo={}"];
    let arguments: Vec<_> = ["run", "smoke"].into_iter().chain(sets).collect();
    let output = loadtest(&arguments, &out);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("report.html") && text.contains("verdict   pass"), "{text}");

    let summary = Summary::load(&out).unwrap();
    assert_eq!(summary.verdict.outcome, Outcome::Pass);
    let ledger = summary.ledger.unwrap();
    assert!(ledger.is_clean() && ledger.is_complete(), "{}", ledger.says());
    assert!(ledger.accepted > 500, "{}", ledger.accepted);
    assert!(summary.processes.iter().any(|process| process.name == "server"));
    assert!(summary.run.server_version.is_some());
    assert!(summary.generator.server_bytes_per_connection > Some(0.0));
    for file in ["report.html", "scenario.toml", "machine.json", "end_to_end.hlog"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(!out.join("cluster/data").exists(), "the server's data is not kept");
}

/// The server is killed in the last second of the load, and most devices only listen.
const KILLED_AT_THE_END: &str = r#"
name = "killed-at-the-end"
about = "The server is killed when the load is nearly over."
[population]
users = 30
devices_per_user = { weights = [0.5, 0.5] }
contacts = { per_user = { min = 5, max = 10 } }
groups = { count = 3, members = { min = 5, max = 20 } }
[traffic]
to_groups = 0.5
activity = 1.5
payload = { fixed = 100 }
[honest]
schedule_delay_p99_max = "1s"
grace = "3s"
[[phase]]
name = "load"
duration = "4s"
rate = 30
[[phase.action]]
at = "3s"
do = "kill"
process = "server"
[[phase.action]]
at = "3100ms"
do = "start"
process = "server"
"#;

#[test]
fn nothing_is_called_lost_that_a_dead_connection_kept_from_a_device_that_only_listens() {
    let folder = tempfile::tempdir().unwrap();
    let (out, scenario) = (folder.path().join("run"), folder.path().join("killed.toml"));
    std::fs::write(&scenario, KILLED_AT_THE_END).unwrap();
    let output = loadtest(&["run", scenario.to_str().unwrap()], &out);
    let summary = Summary::load(&out).unwrap_or_else(|_| panic!("{}", said(&output)));
    let ledger = summary.ledger.unwrap();
    assert!(ledger.is_clean() && ledger.is_complete(), "{}", ledger.says());
    assert_eq!(ledger.delivered, ledger.due, "{}", ledger.says());
    assert_eq!(summary.verdict.outcome, Outcome::Pass, "{:?}", summary.verdict);
    assert_eq!(summary.run.driver_lacks, [""; 0], "devices share sockets and none is to move");
}

#[tokio::test]
async fn what_a_server_uses_that_somebody_else_started_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        posthorn: cluster::posthorn(None).expect("`cargo build -p node` comes first"),
        folder: folder.path().join("elsewhere"),
        cluster: scenario::Cluster { kind: scenario::ClusterKind::OneMachine, set: Vec::new() },
        engines: None,
    };
    let elsewhere = LocalCluster::start(&settings).await.unwrap();
    let (target, pid) = (elsewhere.target(), elsewhere.processes()[0].pid().unwrap());
    let watch = format!("stranger={pid}");
    let arguments = [
        "run",
        "smoke",
        "--set=honest.schedule_delay_p99_max=1s",
        "--set=phase.load.slo={}",
        "--target",
        &target.servers[0],
        "--server-name",
        &target.server_name,
        "--ca",
        target.ca_file.to_str().unwrap(),
        "--jwt-key",
        target.token_key_file.to_str().unwrap(),
        "--watch",
        &watch,
    ];
    let out = folder.path().join("run");
    let output = loadtest(&arguments, &out);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let summary = Summary::load(&out).unwrap();
    let [stranger] = summary.processes.as_slice() else { panic!("{:?}", summary.processes) };
    assert_eq!(stranger.name, "stranger");
    assert!(stranger.cpu_s > 0.0 && stranger.rss_max_bytes > 1_000_000, "{stranger:?}");
    let load = summary.phases.iter().find(|phase| phase.name == "load").unwrap();
    assert!(load.server_cpu_us_per_delivered > Some(0.0));
    assert!(summary.generator.server_bytes_per_connection > Some(0.0));
    let twice = ["run", "smoke", "--driver", "null", "--watch", &watch, "--watch", &watch];
    let output = loadtest(&twice, &folder.path().join("twice"));
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("another name"), "{}", said(&output));
    elsewhere.end().await.unwrap();
}

#[test]
fn what_cannot_begin_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let closed = "phase.load.arrivals={ closed = { senders = 20 } }";
    let cases: [(&[&str], &str); 8] = [
        (&["run", "smok"], "Did you mean `smoke`?"),
        (&["run", "smoke", "--set", "phase.load.rat=1"], "Did you mean `rate`?"),
        (&["run", "smoke", "--set", "phase.load.rate=1e6"], "more than may be sent"),
        (&["run", "smoke", "--target", "localhost:1"], "--ca"),
        (
            &["run", "stall", "--set", &closed.replace("senders", "sender")],
            "Did you mean `senders`?",
        ),
        (
            &["run", "stall", "--set", closed, "--agents", "localhost:1", "--keys", "none"],
            "a closed loop cannot be shared by agents",
        ),
        (&["run", "smoke", "--watch", "rmqttd=4294967295"], "there is no process 4294967295"),
        (&["run", "smoke", "--watch", "rmqttd"], "NAME=PID"),
    ];
    for (arguments, wanted) in cases {
        let output = loadtest(arguments, &out);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
    }
}
