//! The command `run`, as a person uses it, against a server that it starts.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    process::{Command, Output},
};

use loadtest::report::summary::{Outcome, Summary};

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

#[test]
fn what_cannot_begin_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let closed = "phase.load.arrivals={ closed = { senders = 20 } }";
    let cases: [(&[&str], &str); 6] = [
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
    ];
    for (arguments, wanted) in cases {
        let output = loadtest(arguments, &out);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
    }
}
