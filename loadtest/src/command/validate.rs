//! `loadtest validate`: says what a scenario would do, or everything that is wrong with it.

use std::sync::Arc;

use serde_json::json;

use super::{
    output::{self, Format, OutputArgs},
    plan,
};
use crate::{
    exit::Exit,
    population::{Payloads, Population},
    scenario::{
        self, Problem, Problems, Scenario,
        demand::{Demand, Servers},
    },
};

/// What `validate` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The scenario: a file, or the name of one that comes with the program
    #[arg(value_name = "FILE")]
    scenario: String,
    /// It will run against a cluster elsewhere (`run --target`), whose limits are not known here
    #[arg(long)]
    elsewhere: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command. Ends with [`Exit::Unusable`] when something is wrong.
///
/// # Errors
/// When the result cannot be printed.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let servers = if args.elsewhere { Servers::Elsewhere } else { Servers::Started };
    let found = scenario::find(&args.scenario)
        .and_then(|scenario| Ok((demand(&scenario, servers)?, scenario)));
    match (found, args.output.output) {
        (Ok((demand, scenario)), Format::Text) => {
            let valid = format!("{} is valid. It would do this:", scenario.origin);
            output::print(&format!("{valid}\n\n{}", plan::describe(&scenario, &demand)))?;
            Ok(Exit::Pass)
        }
        (Ok((demand, scenario)), Format::Json) => {
            let plan = plan::as_json(&scenario, &demand)?;
            output::print_json(&json!({ "valid": true, "plan": plan }))?;
            Ok(Exit::Pass)
        }
        (Err(problems), Format::Text) => {
            output::print(&format!("{problems}\n\n{}", count(&problems)))?;
            Ok(Exit::Unusable)
        }
        (Err(problems), Format::Json) => {
            output::print_json(&json!({ "valid": false, "problems": problems }))?;
            Ok(Exit::Unusable)
        }
    }
}

/// Draws what a scenario asks for, and adds it up.
pub(super) fn demand(scenario: &Scenario, servers: Servers) -> Result<Demand, Problems> {
    let traffic = &scenario.traffic;
    let payloads = Payloads::load(traffic, scenario.seed).map_err(|error| {
        let what = error.to_string();
        let key = "traffic.payload.file".to_owned();
        let file = scenario.origin.clone();
        Problems(vec![Problem { file, place: None, key, what, help: None }])
    })?;
    let population = Population::draw(&scenario.population, traffic, scenario.seed);
    Demand::of(scenario, &Arc::new(population), &payloads, servers)
}

fn count(problems: &Problems) -> String {
    match problems.0.len() {
        1 => "1 problem.".to_owned(),
        many => format!("{many} problems."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    const SMALL: &str = "\
name = \"small\"
about = \"A bit of everything.\"
[cluster]
set = [\"edge.head_check=1s\"]
[population]
users = 20
groups = { count = 2, members = { min = 4, max = 4 } }
online = 0.5
[traffic]
to_groups = 0.5
[[phase]]
name = \"warm-up\"
duration = \"5s\"
rate = 0
measured = false
[[phase]]
name = \"load\"
duration = \"90s\"
rate = 100
arrivals = { sine = { amplitude = 0.5, period = \"30s\" } }
churn = { per_s = 0.5, away = \"1s\" }
action = [{ at = \"10s\", do = \"disconnect\", share = 0.3, over = \"5s\" }]
[phase.slo]
end_to_end_p50 = \"1ms\"
end_to_end_p99 = \"20ms\"
accept_p99 = \"10ms\"
rate_min = 0.99
errors_max = 0
";

    #[test]
    fn what_a_scenario_would_do_is_said_in_words() {
        let scenario = Scenario::parse(SMALL, "small.toml", Path::new("")).unwrap();
        let text = plan::describe(&scenario, &demand(&scenario, Servers::Started).unwrap());
        let expected = "\
\x20 name       small
  about      A bit of everything.
  seed       1
  cluster    one process on this machine; edge.head_check=1s
  users      20 with 20 devices, 10 of them connected at first
  talks      114 of two, 2 groups of at most 4
  payloads   256 B
  a message  is for 2 devices on average
  takes      2m 5s with 30s of grace, and connecting before

Phases:
  warm-up       5s  nothing is sent (not measured)
  load      1m 30s  100/s, up and down by 50% in 30s: 9,000 messages, 18,000 deliveries
                    0.5 devices/s leave for 1s
                    at 10s: disconnect 30% of devices over 5s
                    must hold: end_to_end_p50 <= 1ms, end_to_end_p99 <= 20ms, accept_p99 <= 10ms,
                               rate_min >= 99%, errors_max <= 0

Good to know:
  The busiest device sends 18% of all messages.
";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_file_of_messages_that_is_not_there_is_told() {
        let text = SMALL.replace("[traffic]", "[traffic]\npayload = { file = \"none.txt\" }");
        let scenario = Scenario::parse(&text, "small.toml", Path::new("/nowhere")).unwrap();
        let problems = demand(&scenario, Servers::Started).unwrap_err().to_string();
        let expected = "small.toml: traffic.payload.file: /nowhere/none.txt: No such file";
        assert!(problems.starts_with(expected), "{problems}");
    }
}
