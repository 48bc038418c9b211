//! Reads a scenario file, and says everything that is wrong with it at once.

mod action;
mod phase;
mod population;
mod slo;
mod traffic;
pub(crate) mod values;

use std::{path::Path, time::Duration};

use super::{
    Cluster, ClusterKind, Honest, Problems, Scenario,
    source::{Fields, Places, Source},
};

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Scenario {
    /// Reads one. `origin` is what people are told it was read from; files it names are relative to
    /// `folder`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, Problems> {
        let source = Source::new(text, origin);
        let root = source.parse()?;
        let scenario = read(&source, Fields::root(&source, root.get_ref()), folder);
        let places = source.finish()?;
        let scenario = scenario.expect("what is missing was noted");
        Ok(Self { text: text.to_owned(), origin: origin.to_owned(), places, ..scenario })
    }
}

/// None only when something was noted.
fn read(source: &Source<'_>, mut root: Fields<'_, '_>, folder: &Path) -> Option<Scenario> {
    let name = root.need("name", "name = \"my-test\"", String::new(), values::name);
    let example = "about = \"What it is for, in one sentence.\"";
    let about = root.need("about", example, String::new(), values::some_text);
    let seed = root.get("seed", values::count(0..=i64::MAX as u64)).unwrap_or(1);
    let cluster = root.table("cluster").map_or(CLUSTER_DEFAULT, cluster);
    let population = root.need_table("population", "[population]\nusers = 100");
    let population = population.map(population::read);
    let traffic =
        root.table("traffic").map_or_else(traffic::default, |it| traffic::read(it, folder));
    let honest = root.table("honest").map_or(HONEST_DEFAULT, honest);
    let phases = root.tables("phase");
    if phases.is_empty() && !root.has("phase") {
        let help = "For example:\n[[phase]]\nname = \"load\"\nduration = \"30s\"\nrate = 100";
        root.refuse("phase", "it is missing: there is nothing to do", help);
    }
    let phases = phase::read_all(source, phases, cluster.kind);
    root.finish();
    let population = population?;
    traffic::check(source, &traffic, &population);
    Some(Scenario {
        name,
        about,
        seed,
        cluster,
        population,
        traffic,
        honest,
        phases,
        text: String::new(),
        origin: String::new(),
        places: Places::new(),
    })
}

const CLUSTER_DEFAULT: Cluster = Cluster { kind: ClusterKind::OneMachine, set: Vec::new() };

fn cluster(mut fields: Fields<'_, '_>) -> Cluster {
    let kinds = [("one-machine", false), ("engines", true)];
    let on_engines = fields.get("kind", values::one_of(&kinds)).unwrap_or(false);
    let set = fields.get("set", setting_list()).unwrap_or_default();
    let kind = if on_engines {
        let edges = fields.get("edges", values::count32(1..=16)).unwrap_or(1);
        let workers = fields.get("workers", values::count32(1..=16)).unwrap_or(1);
        ClusterKind::Engines { edges, workers }
    } else {
        for key in ["edges", "workers"] {
            let help = "Add kind = \"engines\", or leave it out.";
            fields.refuse_present(key, "with kind = \"one-machine\" one process does all", help);
        }
        ClusterKind::OneMachine
    };
    fields.finish();
    Cluster { kind, set }
}

/// Settings of the servers, each `section.key=value`.
fn setting_list() -> impl Fn(&toml::de::DeValue<'_>) -> super::source::Read<Vec<String>> {
    let setting = |value: &toml::de::DeValue<'_>| {
        let text = values::text(value)?;
        let is_setting = text.split_once('=').is_some_and(|(key, _)| {
            key.trim().split_once('.').is_some_and(|(section, key)| {
                !section.is_empty() && !key.is_empty() && !key.contains(char::is_whitespace)
            })
        });
        let expected = "a text such as \"edge.connections_max=30000\"";
        if is_setting { Ok(text) } else { Err(expected.to_owned()) }
    };
    values::list(64, "settings", setting)
}

const HONEST_DEFAULT: Honest =
    Honest { schedule_delay_p99_max: Duration::from_millis(5), grace: Duration::from_secs(30) };

fn honest(mut fields: Fields<'_, '_>) -> Honest {
    let Honest { schedule_delay_p99_max, grace } = HONEST_DEFAULT;
    let delay = fields.get("schedule_delay_p99_max", values::duration(MS / 10..=MS * 1_000));
    let grace_read = fields.get("grace", values::duration(Duration::ZERO..=DAY));
    fields.finish();
    Honest {
        schedule_delay_p99_max: delay.unwrap_or(schedule_delay_p99_max),
        grace: grace_read.unwrap_or(grace),
    }
}
