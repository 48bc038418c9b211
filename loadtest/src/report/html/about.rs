//! Under which conditions the run was made, so that it can be made again.

use super::{
    section,
    table::{Table, numbers, words},
};
use crate::report::{
    markup::{Escaped, put},
    number,
    summary::{Agent, Machine, Summary},
};

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "about",
        "Conditions",
        "What it takes to make this run again. The same seed draws the same people, times and \
         contents.",
    );
    write_run(out, summary);
    write_agents(out, &summary.agents);
    write_metrics(out, summary);
    put!(
        out,
        "<details class=\"source\"><summary>The scenario as it was run</summary>\
         <pre tabindex=\"0\"><code>{}</code></pre></details>\n</section>\n",
        Escaped(&summary.run.scenario_text),
    );
}

fn write_run(out: &mut String, summary: &Summary) {
    let run = &summary.run;
    let people = &run.population;
    let facts = [
        ("Target", run.target.clone()),
        ("Driver", run.driver.clone()),
        ("Version of the cluster", run.server_version.clone().unwrap_or("not known".to_owned())),
        ("Version of loadtest", run.loadtest_version.clone()),
        ("Began", number::date(run.began_ms)),
        ("Length", number::seconds(run.duration_s)),
        ("Grace after the load", number::seconds(run.grace_s)),
        ("Seed", run.seed.to_string()),
        ("Run", run.id.clone()),
        (
            "Population",
            format!(
                "{} users with {} devices, {} connected at first; {} pairs and {} groups",
                number::count(people.users),
                number::count(people.devices),
                number::count(people.online),
                number::count(people.pairs),
                number::count(people.groups),
            ),
        ),
        ("Digest of the population", people.digest.clone()),
        ("Machine", machine(&run.machine)),
        ("Command", run.command.join(" ")),
    ];
    out.push_str("<dl class=\"facts\">");
    for (name, text) in facts.iter().filter(|(_, text)| !text.is_empty()) {
        put!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(text));
    }
    out.push_str("</dl>\n");
}

fn machine(machine: &Machine) -> String {
    let mut parts = vec![
        machine.cpu.clone(),
        format!("{} cores", machine.cores),
        number::bytes(machine.memory_bytes as f64),
        machine.os.clone(),
        machine.kernel.clone(),
    ];
    parts.extend(machine.notes.iter().cloned());
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn write_agents(out: &mut String, agents: &[Agent]) {
    let mut table = Table::new(
        "Agents",
        vec![
            words("Agent"),
            words("Address"),
            numbers("Devices"),
            numbers("Clock ahead"),
            numbers("give or take"),
            numbers("Drift"),
            numbers("Schedule delay p99"),
            words("Ended"),
            words("Machine"),
        ],
    );
    for agent in agents {
        table.row(
            if agent.lost.is_some() { "missed wordy" } else { "wordy" },
            vec![
                agent.name.as_str().into(),
                agent.address.as_str().into(),
                number::count(agent.devices).into(),
                signed_latency(agent.clock_offset_us).into(),
                number::latency(agent.clock_uncertainty_us).into(),
                agent.clock_drift_us.map(signed_latency).into(),
                agent.schedule_delay_p99_us.map(|us| number::latency(us as f64)).into(),
                agent.lost.as_deref().unwrap_or("in order").into(),
                machine(&agent.machine).into(),
            ],
        );
    }
    if !table.is_empty() {
        out.push_str("<h3>Agents</h3>\n");
        table.write(out);
    }
}

fn signed_latency(us: f64) -> String {
    let sign = if us < 0.0 { "−" } else { "" };
    format!("{sign}{}", number::latency(us.abs()))
}

fn write_metrics(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "Metrics of the cluster",
        vec![
            words("Metric"),
            words("Process"),
            numbers("At first"),
            numbers("At the end"),
            numbers("Change"),
        ],
    );
    // What never moved says nothing.
    let moved = summary.metrics.iter().filter(|metric| metric.begin != metric.end);
    for metric in moved {
        let change = metric.begin.zip(metric.end).map(|(begin, end)| number::plain(end - begin));
        table.row(
            "",
            vec![
                metric.name.as_str().into(),
                metric.process.as_str().into(),
                metric.begin.map(number::plain).into(),
                metric.end.map(number::plain).into(),
                change.into(),
            ],
        );
    }
    if !table.is_empty() {
        out.push_str(
            "<details class=\"source\"><summary>The cluster’s own metrics that changed</summary>",
        );
        table.write(out);
        out.push_str("</details>\n");
    }
}
