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
pub(crate) struct Args {
    /// The one to explain; without it, all of them are listed
    name: Option<String>,
    /// Print its file, to make another of it
    #[arg(long, requires = "name", conflicts_with = "output")]
    text: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no such scenario, something is wrong with it, or the result cannot be printed.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    output::print(&explain(args)?)?;
    Ok(Exit::Pass)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(name: Option<&str>, output: Format) -> String {
        let name = name.map(str::to_owned);
        explain(&Args { name, text: false, output: OutputArgs { output } }).unwrap()
    }

    #[test]
    fn the_list_has_every_scenario_with_what_it_is_about() {
        let [text, json] = [Format::Text, Format::Json].map(|output| told(None, output));
        let json: Value = serde_json::from_str(&json).unwrap();
        for (place, shipped) in ALL.iter().enumerate() {
            let about = shipped.scenario().unwrap().about;
            assert!(text.contains(&format!("{:<16} ", shipped.name)) && text.contains(&about));
            assert_eq!(json[place]["name"], shipped.name);
            assert_eq!(json[place]["about"], about);
        }
        assert!(text.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn an_explanation_says_why_and_what() {
        let text = told(Some("hot-group"), Format::Text);
        assert!(text.starts_with("The announcement channel of a company"), "{text}");
        assert!(text.contains("one group of 512"), "{text}");
        let json: Value = serde_json::from_str(&told(Some("hot-group"), Format::Json)).unwrap();
        assert_eq!(json["demand"]["group_members_max"], 512);
        let text = Args {
            name: Some("idle".into()),
            text: true,
            output: OutputArgs { output: Format::Text },
        };
        assert!(explain(&text).unwrap().contains("users = 20000\n"));
    }
}
