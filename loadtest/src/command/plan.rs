//! What a scenario would do, in words and as JSON.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::scenario::{
    ClusterKind, Payload, Scenario,
    demand::{Demand, PhaseDemand},
    quantity::{show_bytes, show_duration, show_number},
};

/// Lists are wrapped here.
const COLUMNS: usize = 98;

/// In words, several lines.
pub(super) fn describe(scenario: &Scenario, demand: &Demand) -> String {
    let mut rows = vec![
        ("name", scenario.name.clone()),
        ("about", scenario.about.clone()),
        ("seed", scenario.seed.to_string()),
        ("cluster", cluster(scenario)),
        ("users", users(demand)),
        ("talks", talks(demand)),
        ("payloads", payloads(scenario, demand)),
    ];
    if demand.rate_max > 0.0 {
        let recipients = match show_number(demand.recipients_mean) {
            one if one == "1" => "one device".to_owned(),
            many => format!("{many} devices"),
        };
        rows.push(("a message", format!("is for {recipients} on average")));
    }
    rows.push(("takes", takes(scenario, demand)));
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "  {name:<10} {value}").expect("a String takes everything");
    }
    text.push_str("\nPhases:\n");
    let names = demand.phases.iter().map(|phase| phase.name.len());
    let width = names.max().unwrap_or(0);
    for phase in &demand.phases {
        describe_phase(&mut text, phase, width);
    }
    if !demand.notes.is_empty() {
        text.push_str("\nGood to know:\n");
        for note in &demand.notes {
            writeln!(text, "  {note}").expect("a String takes everything");
        }
    }
    text
}

fn describe_phase(text: &mut String, phase: &PhaseDemand, width: usize) {
    let mut line =
        format!("  {:width$}  {:>7}  {}", phase.name, seconds(phase.duration_s), phase.load);
    if let Some(messages) = phase.messages.filter(|messages| *messages > 0.0) {
        write!(line, ": {} messages", show_number(messages.round()))
            .expect("a String takes everything");
    }
    if let Some(deliveries) = phase.deliveries.filter(|deliveries| *deliveries > 0.0) {
        write!(line, ", {} deliveries", show_number(deliveries.round()))
            .expect("a String takes everything");
    }
    if !phase.measured {
        line.push_str(" (not measured)");
    }
    text.push_str(&line);
    text.push('\n');
    let gap = " ".repeat(width + 13);
    for happens in &phase.happens {
        writeln!(text, "{gap}{happens}").expect("a String takes everything");
    }
    if !phase.bounds.is_empty() {
        let mut line = format!("{gap}must hold: ");
        let indent = " ".repeat(line.len());
        for (place, bound) in phase.bounds.iter().enumerate() {
            let comma = if place + 1 < phase.bounds.len() { ", " } else { "" };
            if line.len() + bound.len() > COLUMNS && line.trim_start() != "must hold: " {
                writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
                line.clone_from(&indent);
            }
            line.push_str(bound);
            line.push_str(comma);
        }
        writeln!(text, "{line}").expect("a String takes everything");
    }
}

fn cluster(scenario: &Scenario) -> String {
    let mut text = match scenario.cluster.kind {
        ClusterKind::OneMachine => "one process on this machine".to_owned(),
        ClusterKind::Engines { .. } => {
            let processes = scenario.cluster.kind.processes().join(", ");
            format!("{processes}, on Kafka, CQL and Redis")
        }
    };
    if !scenario.cluster.set.is_empty() {
        write!(text, "; {}", scenario.cluster.set.join(", ")).expect("a String takes everything");
    }
    text
}

fn users(demand: &Demand) -> String {
    let [users, devices, online] =
        [demand.users, demand.devices, demand.devices_online].map(|it| show_number(f64::from(it)));
    format!("{users} with {devices} devices, {online} of them connected at first")
}

fn talks(demand: &Demand) -> String {
    let pairs = show_number(f64::from(demand.direct_conversations));
    match demand.groups {
        0 => format!("{pairs} of two, no groups"),
        1 => format!("{pairs} of two, one group of {}", demand.group_members_max),
        groups => {
            let [groups, members] =
                [groups, demand.group_members_max].map(|it| show_number(f64::from(it)));
            format!("{pairs} of two, {groups} groups of at most {members}")
        }
    }
}

fn payloads(scenario: &Scenario, demand: &Demand) -> String {
    let mean = show_bytes(demand.payload_bytes_mean.round());
    match &scenario.traffic.payload {
        Payload::Fixed(_) => mean,
        Payload::LogNormal { median, p99, max } => {
            let [median, p99, max] = [median, p99, max].map(|it| show_bytes(f64::from(*it)));
            format!("half below {median}, 99% below {p99}, at most {max}; {mean} on average")
        }
        Payload::File(path) => format!("lines of {}, {mean} on average", path.display()),
    }
}

fn takes(scenario: &Scenario, demand: &Demand) -> String {
    let total = seconds(demand.duration_s);
    let grace = show_duration(scenario.honest.grace);
    format!("{total} with {grace} of grace, and connecting before")
}

fn seconds(seconds: f64) -> String {
    show_duration(Duration::from_secs_f64(seconds))
}

/// For programs.
///
/// # Errors
/// When a figure is no number, which none is.
pub(super) fn as_json(scenario: &Scenario, demand: &Demand) -> serde_json::Result<Value> {
    Ok(json!({
        "name": scenario.name,
        "about": scenario.about,
        "seed": scenario.seed,
        "cluster": {
            "kind": match scenario.cluster.kind {
                ClusterKind::OneMachine => "one-machine",
                ClusterKind::Engines { .. } => "engines",
            },
            "processes": scenario.cluster.kind.processes(),
            "set": scenario.cluster.set,
        },
        "demand": serde_json::to_value(demand)?,
    }))
}
