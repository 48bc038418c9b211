//! A load from several processes: agents, their coordinator, and what happens when one is lost.

#![allow(clippy::unwrap_used)]

mod people;

use loadtest::report::summary::{Kind, Outcome};
use people::{Agent, Coordinator, keys};

#[test]
fn agents_with_wrong_clocks_share_a_run_and_all_of_it_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path(), "keys");
    let skews_ms = [5_000, -90_000];
    let agents = skews_ms.map(|skew| Agent::start(&keys, skew));
    let run = Coordinator::start(folder.path(), "run", &keys, &agents.each_ref());
    let (code, said) = run.ended();
    assert_eq!(code, Some(0), "{said}");

    let summary = people::summary(folder.path(), "run");
    assert_eq!(summary.verdict.outcome, Outcome::Pass);
    let ledger = summary.ledger.unwrap();
    assert!(ledger.is_clean() && ledger.is_complete(), "{}", ledger.says());
    assert!(ledger.accepted > 300, "{}", ledger.accepted);
    assert_eq!(summary.totals.accepted, ledger.accepted, "every figure arrived");
    assert_eq!(summary.totals.delivered, ledger.delivered);
    let devices: u64 = summary.agents.iter().map(|agent| agent.devices).sum();
    assert_eq!(devices, summary.run.population.devices);
    for (agent, skew_ms) in summary.agents.iter().zip(skews_ms) {
        let wrong_ms = agent.clock_offset_us / 1e3 - skew_ms as f64;
        assert!(wrong_ms.abs() < 1_000.0, "{agent:?}");
        assert!(agent.clock_uncertainty_us > 0.0 && agent.clock_drift_us.is_some(), "{agent:?}");
        assert!(agent.lost.is_none() && agent.schedule_delay_p99_us.is_some(), "{agent:?}");
    }
    let load = summary.phases.iter().find(|phase| phase.name == "load").unwrap();
    let end_to_end = load.latency.get(Kind::EndToEnd).unwrap();
    assert!(end_to_end.max_us < 4_000_000, "clocks were corrected: {end_to_end:?}");
    assert!(end_to_end.min_us > 0, "nothing arrives before it is sent: {end_to_end:?}");
    assert!(summary.generator.cpu_s > 0.0);
}

#[test]
fn an_agent_that_is_killed_makes_the_run_incomplete_and_the_other_one_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path(), "keys");
    let (left, mut killed) = (Agent::start(&keys, 0), Agent::start(&keys, 0));
    let mut run = Coordinator::start(folder.path(), "run", &keys, &[&left, &killed]);
    run.until("load 200/s");
    killed.kill();
    let (code, said) = run.ended();
    assert_eq!(code, Some(5), "{said}");
    let summary = people::summary(folder.path(), "run");
    assert_eq!(summary.verdict.outcome, Outcome::Incomplete, "{:?}", summary.verdict);
    let told = summary.verdict.reasons.iter().any(|reason| reason.text.contains("agent-2"));
    assert!(told, "{:?}", summary.verdict.reasons);
    let ledger = summary.ledger.unwrap();
    assert!(ledger.is_clean(), "what is unknown is no violation: {}", ledger.says());
    assert!(!ledger.is_complete() && ledger.accepted > 0, "{}", ledger.says());
    assert!(summary.agents[0].lost.is_none() && summary.agents[1].lost.is_some());
    assert!(folder.path().join("run/report.html").is_file());

    let again = Coordinator::start(folder.path(), "again", &keys, &[&left]);
    let (code, said) = again.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_busy_agent_says_so_and_outlives_its_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path(), "keys");
    let mut agent = Agent::start(&keys, 0);
    let mut first = Coordinator::start(folder.path(), "first", &keys, &[&agent]);
    first.until("load 200/s");
    let (code, said) = Coordinator::start(folder.path(), "second", &keys, &[&agent]).ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("busy with a run of"), "{said}");
    assert!(!folder.path().join("second").exists(), "nothing is made for it");

    first.kill();
    agent.until("ended early");
    let (code, said) = Coordinator::start(folder.path(), "third", &keys, &[&agent]).ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn whoever_has_no_keys_or_others_commands_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, others) = (keys(folder.path(), "keys"), keys(folder.path(), "others"));
    let agent = Agent::start(&keys, 0);
    let (code, said) = Coordinator::start(folder.path(), "run", &others, &[&agent]).ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the same `loadtest agent-keys new`"), "{said}");
    let (code, said) = people::loadtest(&["agent", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("for anybody to command"), "{said}");
    let far = ["run", "smoke", "--agents", "192.0.2.1:7777", "--keys", keys.to_str().unwrap()];
    let (code, said) = people::loadtest(&far);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("by --target"), "{said}");
}
