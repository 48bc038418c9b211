//! Values of a scenario that are changed on the command line.

use std::path::Path;

use anyhow::{Context as _, bail};
use toml::Value;

use super::Args;
use crate::scenario::{self, Scenario};

/// Reads the scenario, with the changes that were asked for.
///
/// # Errors
/// Everything that is wrong with it, or a change that changes nothing.
pub(super) fn read(args: &Args) -> anyhow::Result<Scenario> {
    let found = scenario::find(&args.scenario)?;
    let mut sets = args.set.clone();
    sets.extend(args.seed.map(|seed| format!("seed={seed}")));
    if sets.is_empty() {
        return Ok(found);
    }
    let mut table: toml::Table = toml::from_str(&found.text).context("it was read before")?;
    for set in &sets {
        apply(&mut table, set).with_context(|| format!("--set {set}"))?;
    }
    let text = toml::to_string(&table)?;
    let text = format!("# {} with {}\n{text}", found.origin, sets.join(" "));
    let folder = Path::new(&args.scenario).parent().unwrap_or(Path::new(""));
    Ok(Scenario::parse(&text, &format!("{} as changed by --set", found.origin), folder)?)
}

/// Changes one value. A phase is named by its name or its place from 0.
fn apply(table: &mut toml::Table, set: &str) -> anyhow::Result<()> {
    let (path, value) = set.split_once('=').context("expected PATH=VALUE")?;
    let value = parse(value);
    let mut keys = path.trim().split('.');
    let first = keys.next().filter(|key| !key.is_empty()).context("it names nothing")?;
    let mut place =
        table.entry(first.to_owned()).or_insert_with(|| Value::Table(toml::Table::new()));
    for key in keys {
        place = step(place, key)?;
    }
    *place = value;
    Ok(())
}

/// The value under a key; made when it is not there, so that what may be left out can be set.
fn step<'a>(place: &'a mut Value, key: &str) -> anyhow::Result<&'a mut Value> {
    match place {
        Value::Table(table) => {
            Ok(table.entry(key.to_owned()).or_insert_with(|| Value::Table(toml::Table::new())))
        }
        Value::Array(list) => {
            let named = |value: &Value| value.get("name").and_then(Value::as_str) == Some(key);
            let found = list.iter().position(named).or_else(|| key.parse().ok());
            let names: Vec<_> =
                list.iter().filter_map(|value| value.get("name")?.as_str()).collect();
            let names = names.join(", ");
            found
                .and_then(|at| list.get_mut(at))
                .with_context(|| format!("there is no `{key}`; there are {names}"))
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => bail!("there is nothing under a plain value, so no `{key}`"),
    }
}

/// As TOML; what is none is a text, so that no shell quotes are needed.
fn parse(value: &str) -> Value {
    let document: Result<toml::Table, _> = toml::from_str(&format!("value = {value}"));
    let parsed = document.ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn changed(set: &str) -> anyhow::Result<toml::Table> {
        let mut table = toml::from_str(
            "name = \"x\"\n[population]\nusers = 1\n[[phase]]\nname = \"a\"\nrate = 1\n",
        )?;
        apply(&mut table, set)?;
        Ok(table)
    }

    #[test]
    fn values_are_changed_where_they_stand_and_added_where_there_are_none() {
        let table = changed("population.users=50").unwrap();
        assert_eq!(table["population"]["users"].as_integer(), Some(50));
        let table = changed("phase.a.duration=5s").unwrap();
        assert_eq!(table["phase"][0]["duration"].as_str(), Some("5s"));
        let table = changed("phase.0.rate=2.5").unwrap();
        assert_eq!(table["phase"][0]["rate"].as_float(), Some(2.5));
        let table = changed("phase.a.arrivals={ closed = { senders = 20 } }").unwrap();
        let senders = &table["phase"][0]["arrivals"]["closed"]["senders"];
        assert_eq!(senders.as_integer(), Some(20));
        let table = changed("honest.grace=1s").unwrap();
        assert_eq!(table["honest"]["grace"].as_str(), Some("1s"));
    }

    #[test]
    fn a_change_of_nothing_is_explained() {
        let problem = changed("phase.b.rate=1").unwrap_err().to_string();
        assert!(problem.contains("there are a"), "{problem}");
        assert!(changed("name.first=1").unwrap_err().to_string().contains("plain value"));
        assert!(changed("users").unwrap_err().to_string().contains("PATH=VALUE"));
    }
}
