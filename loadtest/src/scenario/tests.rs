//! Scenario files: what is read, and what is shipped.

#![allow(clippy::unwrap_used)]

mod demands;
mod errors;

use std::path::Path;

use proptest::prelude::*;

use super::{shipped::ALL, *};

/// The shortest scenario there is.
const LEAST: &str = "\
name = \"least\"
about = \"As little as possible.\"
[population]
users = 10
[[phase]]
name = \"load\"
duration = \"10s\"
rate = 5
";

fn parse(text: &str) -> Result<Scenario, Problems> {
    Scenario::parse(text, "test.toml", Path::new("here"))
}

#[test]
fn a_short_file_gets_sensible_defaults() {
    let scenario = parse(LEAST).unwrap();
    assert_eq!(scenario.seed, 1);
    assert_eq!(scenario.cluster.kind, ClusterKind::OneMachine);
    assert_eq!(scenario.population.devices_per_user, [1.0]);
    assert_eq!(scenario.population.contacts.per_user, Bounded { min: 2, max: 9, skew: 1.0 });
    assert_eq!(scenario.traffic.payload, Payload::Fixed(256));
    assert_eq!(scenario.honest.schedule_delay_p99_max, Duration::from_millis(5));
    let phase = &scenario.phases[0];
    let rate = PhaseRate { rate: 5.0, process: Process::Poisson, duration: phase.duration };
    assert_eq!(phase.load, Load::Rate(rate));
    assert!(phase.measured);
    assert_eq!(scenario.text, LEAST);
}

#[test]
fn every_key_is_read() {
    let scenario = parse(include_str!("tests/everything.toml")).unwrap();
    assert_eq!(scenario.seed, 42);
    assert_eq!(scenario.cluster.kind, ClusterKind::Engines { edges: 2, workers: 3 });
    assert_eq!(scenario.cluster.set, ["edge.connections_max=30000"]);
    assert_eq!(scenario.population.devices_per_user, [0.5, 0.25, 0.25]);
    assert_eq!(scenario.population.groups.members, Bounded { min: 3, max: 64, skew: 1.2 });
    assert_eq!(scenario.traffic.payload, Payload::File("here/messages.txt".into()));
    assert_eq!(scenario.traffic.hot, Some(Hot { target: HotTarget::OneUser, share: 0.25 }));
    assert_eq!(scenario.honest.grace, Duration::from_secs(60));
    let [shapes, search] = &scenario.phases[..] else { panic!("two phases") };
    let steps = Process::Steps(vec![100.0, 300.0]);
    let duration = Duration::from_secs(60);
    assert_eq!(shapes.load, Load::Rate(PhaseRate { rate: 200.0, process: steps, duration }));
    assert_eq!(shapes.churn, Some(Churn { per_s: 2.5, away: Duration::from_secs(2) }));
    let pause = Duration::from_millis(20);
    assert_eq!(shapes.slow_readers, Some(SlowReaders { share: 0.05, pause }));
    let bounds: Vec<_> = shapes.slo.bounds.iter().map(ToString::to_string).collect();
    assert_eq!(
        bounds,
        [
            "end_to_end_p99 <= 20ms",
            "accept_max <= 1s",
            "rate_min >= 99%",
            "errors_max <= 0",
            "memory_per_connection_max <= 36 KiB",
        ]
    );
    let actions: Vec<_> = shapes.actions.iter().map(ToString::to_string).collect();
    assert_eq!(
        actions,
        [
            "at 1s: disconnect 30% of devices over 5s",
            "at 10s: reconnect 100% of devices",
            "at 11s: kill edge-2",
            "at 12s: start edge-2",
            "at 20s: run `true`",
            "at 30s: flood of garbage from 10 connections, 1,000/s, for 5s",
        ]
    );
    let Load::Search(search) = &search.load else { panic!("a search") };
    assert_eq!((search.from, search.to, search.precision), (1_000.0, 60_000.0, 0.05));
    // 1,000 to 64,000 are 6 doublings and the first; halving to a twentieth are 5 more.
    assert_eq!(search.tries_max(), 12);
}

#[test]
fn every_scenario_that_is_shipped_is_valid_and_says_why_it_is_there() {
    for shipped in ALL {
        let scenario = shipped.scenario().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(scenario.name, shipped.name);
        assert!(shipped::why(shipped.text).len() > 200, "{}", shipped.name);
        demands::of(&scenario).unwrap_or_else(|problems| panic!("{problems}"));
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    assert_eq!(files.count(), ALL.len(), "every file is in the program");
}

#[test]
fn a_name_that_is_nearly_right_is_understood() {
    assert_eq!(find("steady").unwrap().name, "steady");
    let error = find("stedy").unwrap_err().to_string();
    assert!(error.contains("Did you mean `steady`?"), "{error}");
    let error = find("/nowhere/steady.toml").unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/steady.toml: it cannot be read: "), "{error}");
}

#[test]
fn the_shape_of_a_rate_is_told_at_any_time() {
    let steps = PhaseRate {
        rate: 20.0,
        process: Process::Steps(vec![10.0, 30.0]),
        duration: Duration::from_secs(10),
    };
    let at = |seconds| steps.rate_at(Duration::from_secs_f64(seconds));
    assert_eq!([at(0.0), at(4.9), at(5.0), at(10.0)], [10.0, 10.0, 30.0, 30.0]);
    assert_eq!((steps.rate_max(), steps.expected()), (30.0, 200.0));
    let sine = Process::Sine { amplitude: 0.5, period: Duration::from_secs(4) };
    let sine = PhaseRate { rate: 100.0, process: sine, duration: Duration::from_secs(8) };
    assert_eq!(sine.rate_at(Duration::from_secs(1)), 150.0);
    assert!((sine.expected() - 800.0).abs() < 1e-6);
}

#[test]
fn bounds_can_be_read_from_a_file_of_their_own() {
    let slo = Slo::parse("accept_p99 = \"5ms\"\nrate_min = 0.99\n", "slo.toml").unwrap();
    assert_eq!(slo.bounds.len(), 2);
    assert!(slo.bounds[0].holds(5_000.0) && !slo.bounds[0].holds(5_001.0));
    assert!(slo.bounds[1].holds(0.99) && !slo.bounds[1].holds(0.98));
    let keys: std::collections::BTreeSet<_> = Figure::all().map(Figure::key).collect();
    assert_eq!(keys.len(), Figure::all().count());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        let _ = parse(&text);
    }

    /// Files that are nearly right come further than noise.
    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        file in 0..ALL.len(),
        at in any::<prop::sample::Index>(),
        len in 0_usize..12,
        put in prop::sample::select(vec![
            "", "0", "-1", "1e400", "99999999999999999999", "\"", "\"x\"", "[]", "{}", "\n", "=",
            "nan", "true", "1d", "[[phase]]", "\u{0}", "\u{e9}",
        ]),
    ) {
        let text = ALL[file].text;
        let floor = |mut at: usize| {
            while !text.is_char_boundary(at) { at -= 1; }
            at
        };
        let start = floor(at.index(text.len()));
        let end = floor((start + len).min(text.len())).max(start);
        let damaged = format!("{}{put}{}", &text[..start], &text[end..]);
        match parse(&damaged) {
            Err(problems) => prop_assert!(!problems.to_string().is_empty()),
            Ok(scenario) => {
                prop_assert!(!scenario.phases.is_empty());
                if scenario.population.users <= 500
                    && let Err(problems) = demands::of(&scenario)
                {
                    prop_assert!(!problems.to_string().is_empty());
                }
            }
        }
    }
}
