//! `loadtest scenarios`: the scenarios that come with the program.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    output::{self, Format, OutputArgs},
    plan, validate,
};
use crate::{
    exit::Exit,
    scenario::{
        self, Load, Problems, Scenario,
        demand::Servers,
        quantity::{show_duration, show_number},
        shipped::{self, ALL},
    },
};

/// What `scenarios` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The one to explain; without it, all of them are listed
    name: Option<String>,
    /// Print its file, to make another of it
    #[arg(long, requires = "name", conflicts_with = "output")]
    text: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command. Ends with [`Exit::Unusable`] when there is no such scenario.
///
/// # Errors
/// When the result cannot be printed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match explain(args) {
        Ok(text) => {
            output::print(&text)?;
            Ok(Exit::Pass)
        }
        Err(problems) => {
            output::print(&problems.to_string())?;
            Ok(Exit::Unusable)
        }
    }
}

fn explain(args: &Args) -> Result<String, Problems> {
    let Some(name) = &args.name else {
        return match args.output.output {
            Format::Text => list(),
            Format::Json => list_json(),
        };
    };
    let scenario = scenario::find(name)?;
    if args.text {
        return Ok(scenario.text);
    }
    let demand = validate::demand(&scenario, Servers::Started)?;
    let why = shipped::why(&scenario.text);
    match args.output.output {
        Format::Text => Ok(format!("{why}\n\n{}", plan::describe(&scenario, &demand))),
        Format::Json => {
            let mut plan = plan::as_json(&scenario, &demand).expect("every figure is a number");
            plan["why"] = json!(why);
            Ok(format!("{plan:#}"))
        }
    }
}

fn list() -> Result<String, Problems> {
    let mut text = String::new();
    for shipped in ALL {
        let scenario = shipped.scenario()?;
        let users = show_number(f64::from(scenario.population.users));
        let duration = show_duration(duration(&scenario));
        let rate = rate(&scenario);
        text.push_str(&format!(
            "{:<16} {duration:>9}  {users:>6} users  {rate:>20}\n    {}\n",
            scenario.name, scenario.about
        ));
    }
    text.push_str(
        "\n`loadtest scenarios NAME` explains one, `loadtest run NAME` runs it.\n\
         `loadtest scenarios NAME --text > mine.toml` is the way to one of your own.\n",
    );
    Ok(text)
}

fn list_json() -> Result<String, Problems> {
    let all: Result<Vec<Value>, Problems> = ALL
        .iter()
        .map(|shipped| {
            let scenario = shipped.scenario()?;
            Ok(json!({
                "name": scenario.name,
                "about": scenario.about,
                "why": shipped::why(shipped.text),
                "duration_s": duration(&scenario).as_secs_f64(),
                "users": scenario.population.users,
                "rate_max": rate_max(&scenario),
                "phases": scenario.phases.iter().map(|phase| &phase.name).collect::<Vec<_>>(),
            }))
        })
        .collect();
    Ok(format!("{:#}", Value::Array(all?)))
}

fn duration(scenario: &Scenario) -> Duration {
    scenario.phases.iter().map(|phase| phase.duration).sum()
}

fn rate_max(scenario: &Scenario) -> f64 {
    scenario.phases.iter().map(|phase| phase.load.rate_max()).fold(0.0, f64::max)
}

/// The highest rate, in words.
fn rate(scenario: &Scenario) -> String {
    let is_search = |load: &Load| matches!(load, Load::Search(_));
    let rate = show_number(rate_max(scenario));
    if scenario.phases.iter().any(|phase| is_search(&phase.load)) {
        return format!("searches to {rate}/s");
    }
    if rate == "0" { "silent".to_owned() } else { format!("{rate}/s") }
}
