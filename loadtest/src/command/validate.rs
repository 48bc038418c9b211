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
pub struct Args {
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
pub fn run(args: &Args) -> anyhow::Result<Exit> {
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
