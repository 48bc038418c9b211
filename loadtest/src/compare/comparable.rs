//! Whether two runs measured the same thing under the same conditions.

use std::collections::BTreeMap;

use crate::report::{
    number,
    summary::{Machine, Outcome, Summary},
};

/// Memory may differ by this share between two boots of one machine.
const MEMORY_SLACK: f64 = 0.02;

/// Whether two runs can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparability {
    /// Why not, in sentences.
    pub refusals: Vec<String>,
    /// What differs and does not forbid it, in sentences.
    pub notes: Vec<String>,
}

/// Whether two runs can be compared, and what differs.
#[must_use]
pub fn comparable(a: &Summary, b: &Summary) -> Comparability {
    let mut found = Comparability::default();
    for (which, summary) in [("first", a), ("second", b)] {
        found.refusals.extend(refuse_outcome(which, summary));
    }
    found.scenario(a, b);
    if a.run.driver != b.run.driver {
        found.refusals.push(format!(
            "The drivers differ: {} and {}, so these are different systems.",
            a.run.driver, b.run.driver
        ));
    }
    if a.agents.len() != b.agents.len() {
        found.refusals.push(format!(
            "The load came from {} agents in the first run and {} in the second.",
            a.agents.len(),
            b.agents.len(),
        ));
    }
    found.machine(&a.run.machine, &b.run.machine);
    found.versions(a, b);
    found.loops([a, b]);
    found
}

/// Only runs that were carried through say something about the cluster.
fn refuse_outcome(which: &str, summary: &Summary) -> Option<String> {
    let why = match summary.verdict.outcome {
        Outcome::Pass | Outcome::Fail => return None,
        Outcome::GeneratorBound => "is generator-bound: it measured the generator",
        Outcome::Interrupted => "was interrupted",
        Outcome::Incomplete => "is incomplete",
        Outcome::Violation => "has violations of the ledger: speed without correctness is none",
    };
    Some(format!("The {which} run {why}."))
}

impl Comparability {
    fn scenario(&mut self, a: &Summary, b: &Summary) {
        if a.run.scenario != b.run.scenario {
            self.refusals
                .push(format!("The scenarios differ: {} and {}.", a.run.scenario, b.run.scenario));
            return;
        }
        let differing = differing_keys(&a.run.scenario_text, &b.run.scenario_text);
        if !differing.is_empty() {
            self.refusals
                .push(format!("The scenario was changed between them: {}.", differing.join(", ")));
        }
        if a.run.seed != b.run.seed {
            self.notes.push(format!(
                "The seeds differ ({} and {}): other people and times of the same kind.",
                a.run.seed, b.run.seed
            ));
        }
    }

    fn machine(&mut self, a: &Machine, b: &Machine) {
        let memory = a.memory_bytes.abs_diff(b.memory_bytes) as f64;
        let refused = [
            ("processors", a.cpu.clone(), b.cpu.clone(), a.cpu != b.cpu),
            ("numbers of cores", a.cores.to_string(), b.cores.to_string(), a.cores != b.cores),
            (
                "amounts of memory",
                number::bytes(a.memory_bytes as f64),
                number::bytes(b.memory_bytes as f64),
                memory > a.memory_bytes.max(b.memory_bytes) as f64 * MEMORY_SLACK,
            ),
        ];
        for (what, a, b, differs) in refused {
            if differs {
                self.refusals.push(format!("The machines differ in their {what}: {a} and {b}."));
            }
        }
        if a.kernel != b.kernel {
            self.notes.push(format!("The kernels differ: {} and {}.", a.kernel, b.kernel));
        }
    }

    /// Latencies of which some are left out look better than others.
    fn loops(&mut self, runs: [&Summary; 2]) {
        for (which, summary) in ["first", "second"].into_iter().zip(runs) {
            let cautions = summary.measured().filter_map(|(_, phase)| phase.caution());
            self.notes.extend(cautions.map(|it| format!("In the {which} run {it}.")));
        }
    }

    fn versions(&mut self, a: &Summary, b: &Summary) {
        if a.run.loadtest_version != b.run.loadtest_version {
            self.notes.push(format!(
                "The harness was of version {} and {}.",
                a.run.loadtest_version, b.run.loadtest_version
            ));
        }
        if let (Some(a), Some(b)) = (&a.run.server_version, &b.run.server_version)
            && a != b
        {
            self.notes.push(format!("The cluster was of version {a} and {b}."));
        }
    }
}

/// The keys whose values differ; comments and layout do not count.
fn differing_keys(a: &str, b: &str) -> Vec<String> {
    if a == b {
        return Vec::new();
    }
    let (Some(mut a), Some(mut b)) = (leaves(a), leaves(b)) else {
        return vec!["a text is no TOML".to_owned()];
    };
    // Drawn anew for another seed, which is said by itself.
    for leaves in [&mut a, &mut b] {
        leaves.remove("seed");
    }
    let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    keys.into_iter()
        .filter(|key| a.get(*key) != b.get(*key))
        .map(|key| format!("`{key}`"))
        .collect()
}

/// Every value of a TOML text under its full key.
fn leaves(text: &str) -> Option<BTreeMap<String, toml::Value>> {
    let mut out = BTreeMap::new();
    let table: toml::Table = text.parse().ok()?;
    collect(String::new(), toml::Value::Table(table), &mut out);
    Some(out)
}

fn collect(key: String, value: toml::Value, out: &mut BTreeMap<String, toml::Value>) {
    let below = |name: &str| match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    };
    if let toml::Value::Table(table) = value {
        for (name, value) in table {
            collect(below(&name), value, out);
        }
    } else if let toml::Value::Array(items) = &value
        && items.iter().any(toml::Value::is_table)
    {
        for (place, value) in items.iter().enumerate() {
            collect(below(&(place + 1).to_string()), value.clone(), out);
        }
    } else {
        out.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_seeds_do_not_make_another_scenario() {
        let a = "# why\nseed = 1\nname = 'x'\n[[phase]]\nrate = 5\n";
        let b = "seed = 2\nname = \"x\"\nphase = [{ rate = 5 }]\n";
        assert!(differing_keys(a, b).is_empty());
        assert_eq!(differing_keys(a, &b.replace("5", "6")), ["`phase.1.rate`"]);
    }
}
