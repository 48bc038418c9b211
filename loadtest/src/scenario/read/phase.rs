//! Reads `[[phase]]`.

use std::{ops::RangeInclusive, time::Duration};

use super::{DAY, MS, action, slo, values};
use crate::scenario::{
    Churn, ClusterKind, Load, Phase, PhaseRate, Process, Search, SlowReaders, quantity,
    source::{Fields, Source},
};

const SECOND: Duration = Duration::from_secs(1);
/// No cluster takes more, and neither does one generator give it.
const RATE_MAX: f64 = 10_000_000.0;
const RATES: RangeInclusive<f64> = 0.0..=RATE_MAX;
const DURATIONS: RangeInclusive<Duration> = MS..=Duration::from_secs(31 * 24 * 3_600);
const PHASES_MAX: usize = 1_000;
/// A search that takes more tries goes nowhere.
const TRIES_MAX: u32 = 100;
/// More of them than any tool has; beyond, a closed loop is hardly one.
const SENDERS_MAX: u32 = 100_000;

pub(super) fn read_all(
    source: &Source<'_>,
    tables: Vec<Fields<'_, '_>>,
    cluster: ClusterKind,
) -> Vec<Phase> {
    if tables.len() > PHASES_MAX {
        source.refuse("phase", format!("there are {} phases", tables.len()), "At most 1,000.");
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    let mut running = action::Running::new(cluster);
    let mut phases = Vec::new();
    for fields in tables {
        let path = fields.path_of("name");
        let phase = read(fields, &mut running);
        if names.contains(&phase.name) && !phase.name.is_empty() {
            let what = format!("there is a phase \"{}\" already", phase.name);
            source.refuse(&path, what, "Reports tell phases apart by name.");
        }
        names.push(phase.name.clone());
        phases.push(phase);
    }
    phases
}

fn read(mut fields: Fields<'_, '_>, running: &mut action::Running) -> Phase {
    let name = fields.need("name", "name = \"load\"", String::new(), values::name);
    let (load, duration) = match fields.table("search") {
        Some(search) => read_search(search, &mut fields),
        None => read_rate(&mut fields),
    };
    let measured = fields.get("measured", values::flag).unwrap_or(true);
    let churn = fields.table("churn").map(churn);
    let slow_readers = fields.table("slow_readers").map(slow_readers);
    let slo = fields.table("slo").map(slo::read).unwrap_or_default();
    let actions = fields.tables("action");
    let actions = action::read_all(actions, duration, running);
    if matches!(load, Load::Search(_)) {
        if slo.bounds.is_empty() {
            let help = "For example: slo = { end_to_end_p99 = \"20ms\", rate_min = 0.99 }";
            fields.refuse("search", "there is no bound to search against", help);
        }
        if let Some(action) = actions.first() {
            let what = format!("a search cannot have actions, such as {}", action.what.name());
            fields.refuse("search", what, "Each try would have to do them again.");
        }
    }
    if !measured && !slo.bounds.is_empty() {
        let help = "Leave one of the two out: what is not measured is not judged.";
        fields.refuse("slo", "the phase has bounds and measured = false", help);
    }
    fields.finish();
    Phase { name, duration, load, measured, churn, slow_readers, slo, actions }
}

fn read_rate(fields: &mut Fields<'_, '_>) -> (Load, Duration) {
    let duration =
        fields.need("duration", "duration = \"30s\"", SECOND, values::duration(DURATIONS));
    let process = read_process(fields);
    let rate = if let Process::Steps(rates) = &process {
        let help = "Leave it out.";
        fields.refuse_present("rate", "the steps say the rates", help);
        rates.iter().sum::<f64>() / rates.len() as f64
    } else {
        fields.need("rate", "rate = 1000  # messages/s, 0 for none", 0.0, values::number(RATES))
    };
    (Load::Rate(PhaseRate { rate, process, duration }), duration)
}

fn read_process(fields: &mut Fields<'_, '_>) -> Process {
    if !fields.is_table("arrivals") {
        let names = [("poisson", Process::Poisson), ("constant", Process::Constant)];
        let choices = names.each_ref().map(|(name, process)| (*name, process));
        let others = ", { sine = { .. } }, { steps = [..] }, { closed = { .. } }";
        let read = fields.get("arrivals", values::one_of_and(&choices, others));
        return read.cloned().unwrap_or(Process::Poisson);
    }
    let Some(mut shape) = fields.table("arrivals") else { return Process::Poisson };
    let sine = shape.table("sine").map(sine);
    let steps = shape.get("steps", values::list(1_000, "rates", values::number(RATES)));
    let closed = shape.table("closed").map(closed);
    if ["sine", "steps", "closed"].iter().filter(|key| shape.has(key)).count() != 1 {
        let help = "One of { sine = { amplitude = 0.5, period = \"30s\" } }, \
                    { steps = [1000, 2000] } and { closed = { senders = 20 } }.";
        shape.refuse_table("it must say exactly one shape", help);
    }
    shape.finish();
    sine.or(steps.map(Process::Steps)).or(closed).unwrap_or(Process::Poisson)
}

fn closed(mut fields: Fields<'_, '_>) -> Process {
    let senders = values::count32(1..=SENDERS_MAX);
    let senders = fields.need("senders", "senders = 20", 1, senders);
    fields.finish();
    Process::Closed { senders }
}

fn sine(mut fields: Fields<'_, '_>) -> Process {
    let amplitude = fields.need("amplitude", "amplitude = 0.5", 0.0, values::share);
    let period = fields.need("period", "period = \"30s\"", SECOND, values::duration(DURATIONS));
    fields.finish();
    Process::Sine { amplitude, period }
}

/// A search says how long it lasts by itself.
fn read_search(mut search: Fields<'_, '_>, fields: &mut Fields<'_, '_>) -> (Load, Duration) {
    let positive = 0.1..=RATE_MAX;
    let from = search.need("from", "from = 1000", 1.0, values::number(positive.clone()));
    let to = search.need("to", "to = 60000", from, values::number(positive));
    let precision = search.get("precision", values::number(0.001..=1.0)).unwrap_or(0.05);
    let step = search.get("step", values::duration(SECOND..=DAY)).unwrap_or(SECOND * 10);
    let prove = search.get("prove", values::duration(SECOND..=DAY)).unwrap_or(SECOND * 30);
    for key in ["duration", "rate"] {
        fields.refuse_present(key, "the search says it by itself", "Leave it out.");
    }
    let process = read_process(fields);
    match process {
        Process::Constant | Process::Poisson => {}
        Process::Sine { .. } | Process::Steps(_) => {
            let help = "Each try holds one rate: \"poisson\" or \"constant\".";
            fields.refuse("arrivals", "a search has no shape", help);
        }
        Process::Closed { .. } => {
            let help = "It asks for no more than it is answered, so that hardly any rate would \
                        miss a bound.\nEach try holds one rate: \"poisson\" or \"constant\".";
            fields.refuse("arrivals", "a closed loop cannot search", help);
        }
    }
    if to < from {
        let [from, to] = [from, to].map(quantity::show_number);
        search.refuse("to", format!("it is {to}, less than from, which is {from}"), "");
    }
    let load = Search { from, to: to.max(from), precision, step, prove, process };
    if load.tries_max() > TRIES_MAX {
        let what = format!("it would take {} tries", load.tries_max());
        search.refuse_table(what, "At most 100: raise `from` or `precision`.");
    }
    search.finish();
    let duration = load.duration_max();
    (Load::Search(load), duration)
}

fn churn(mut fields: Fields<'_, '_>) -> Churn {
    let per_s = fields.need("per_s", "per_s = 5.0", 0.0, values::number(0.0..=1_000_000.0));
    let away = fields.need("away", "away = \"2s\"", SECOND, values::duration(MS..=DAY));
    fields.finish();
    Churn { per_s, away }
}

fn slow_readers(mut fields: Fields<'_, '_>) -> SlowReaders {
    let share = fields.need("share", "share = 0.05", 0.0, values::share);
    let pauses = MS..=Duration::from_secs(60);
    let pause = fields.need("pause", "pause = \"20ms\"", MS, values::duration(pauses));
    fields.finish();
    SlowReaders { share, pause }
}
