//! What the cluster and the generator used, never added together.

use std::collections::BTreeSet;

use super::{
    section,
    table::{Cell, Table, numbers, words},
    timeline::{Shown, Timeline},
};
use crate::report::{
    number,
    scale::Axis,
    series::Series,
    summary::{Interval, Load, Process, Summary, Unit},
    svg::{Bound, Width},
};

/// Queues that are drawn at most; the rest is among the metrics.
const QUEUES_MAX: usize = 12;

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "resources",
        "Resources",
        "The cluster and the generator are watched apart, as the one must not be taken for the \
         other. A core counts 1 when it is fully busy.",
    );
    let timeline = Timeline::of(summary);
    timeline.write(out, cpu(summary));
    timeline.write(out, memory(summary));
    timeline.write(out, connections(summary));
    write_queues(out, summary, &timeline);
    write_processes(out, summary);
    out.push_str("</section>\n");
}

fn loads(summary: &Summary, value: fn(&Load) -> f64) -> Vec<Series> {
    let line = |name: &str, load: fn(&Interval) -> Option<Load>| {
        Series::over(name, name, &summary.intervals, |interval| load(interval).as_ref().map(value))
    };
    vec![
        line("generator", |interval| interval.generator),
        line("server", |interval| interval.server),
    ]
}

fn most(series: &[Series]) -> f64 {
    series.iter().flat_map(Series::values).fold(0.0, f64::max)
}

fn cpu(summary: &Summary) -> Shown {
    let series = loads(summary, |load| load.cpu_cores);
    let most = most(&series);
    let cores = f64::from(summary.run.machine.cores);
    // Far below the limit, the line would only press the others together.
    let near = cores > 0.0 && most * 3.0 >= cores;
    let bounds = near.then(|| Bound {
        from: f64::NEG_INFINITY,
        to: f64::INFINITY,
        y: cores,
        text: format!("The generator’s machine has {cores} cores"),
    });
    Shown {
        id: "cpu".to_owned(),
        title: "CPU, cores".to_owned(),
        help: "Cores kept busy by all processes of the cluster, and by the generator; the dashed \
               line, if drawn, is all cores of the generator’s machine."
            .to_owned(),
        y: Axis::linear(if near { most.max(cores) } else { most }, Unit::Cores),
        unit: Unit::Cores,
        height: 110.0,
        width: Width::Whole,
        series,
        bounds: bounds.into_iter().collect(),
    }
}

fn memory(summary: &Summary) -> Shown {
    let series = loads(summary, |load| load.rss_bytes as f64);
    Shown {
        id: "memory".to_owned(),
        title: "Memory".to_owned(),
        help: "Resident memory of all processes of the cluster, and of the generator.".to_owned(),
        y: Axis::linear(most(&series), Unit::Bytes),
        unit: Unit::Bytes,
        height: 110.0,
        width: Width::Whole,
        series,
        bounds: Vec::new(),
    }
}

fn connections(summary: &Summary) -> Shown {
    let series = vec![Series::over("devices", "devices", &summary.intervals, |interval| {
        Some(interval.connections as f64)
    })];
    Shown {
        id: "connections".to_owned(),
        title: "Connections".to_owned(),
        help: "Devices connected at the end of each interval, as they see it themselves."
            .to_owned(),
        y: Axis::linear(most(&series), Unit::Count),
        unit: Unit::Count,
        height: 80.0,
        width: Width::Whole,
        series,
        bounds: Vec::new(),
    }
}

fn write_queues(out: &mut String, summary: &Summary, timeline: &Timeline) {
    let names: BTreeSet<_> = summary
        .intervals
        .iter()
        .flat_map(|interval| &interval.queues)
        .filter(|(_, value)| **value != 0.0)
        .map(|(name, _)| name)
        .collect();
    if names.is_empty() {
        return;
    }
    out.push_str(
        "<h3>Queues</h3><p class=\"lead\">From the cluster’s own metrics, over all its \
         processes. A queue that grows while the load is steady will end in a loss of time.</p>\
         <div class=\"pair\">\n",
    );
    for (place, name) in names.into_iter().take(QUEUES_MAX).enumerate() {
        let unit = unit_of(name);
        let series = vec![Series::over("", "queue", &summary.intervals, |interval| {
            interval.queues.get(name).copied()
        })];
        let shown = Shown {
            id: format!("queue-{place}"),
            title: name.clone(),
            help: String::new(),
            y: Axis::linear(most(&series), unit),
            unit,
            height: 70.0,
            width: Width::Half,
            series,
            bounds: Vec::new(),
        };
        timeline.write(out, shown);
    }
    out.push_str("</div>\n");
}

/// The unit that a metric's name ends in, before its labels.
fn unit_of(metric: &str) -> Unit {
    let name = metric.split('{').next().unwrap_or(metric);
    if name.ends_with("_bytes") {
        Unit::Bytes
    } else if name.ends_with("_seconds") {
        Unit::Seconds
    } else {
        Unit::Count
    }
}

fn write_processes(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "Processes",
        vec![
            words("Process"),
            numbers("CPU time"),
            numbers("Memory at first"),
            numbers("at most"),
            numbers("at the end"),
            numbers("Per connection"),
            numbers("Restarts"),
        ],
    );
    let generator = &summary.generator;
    let each = generator.server_bytes_per_connection.map(number::bytes);
    let alone = summary.processes.len() == 1;
    for process in &summary.processes {
        table.row(
            "",
            vec![
                process.name.as_str().into(),
                number::seconds(process.cpu_s).into(),
                number::bytes(process.rss_begin_bytes as f64).into(),
                number::bytes(process.rss_max_bytes as f64).into(),
                number::bytes(process.rss_end_bytes as f64).into(),
                each.clone().filter(|_| alone).into(),
                process.restarts.to_string().into(),
            ],
        );
    }
    if summary.processes.len() > 1 {
        table.row("total", whole(summary, each));
    }
    table.row(
        "aside",
        vec![
            "generator".into(),
            number::seconds(generator.cpu_s).into(),
            None::<String>.into(),
            number::bytes(generator.rss_max_bytes as f64).into(),
            None::<String>.into(),
            generator.bytes_per_connection.map(number::bytes).into(),
            None::<String>.into(),
        ],
    );
    out.push_str("<h3>Processes</h3>\n");
    table.write(out);
}

fn whole(summary: &Summary, each: Option<String>) -> Vec<Cell> {
    let processes = &summary.processes;
    let cpu: f64 = processes.iter().map(|process| process.cpu_s).sum();
    let sum =
        |value: fn(&Process) -> u64| number::bytes(processes.iter().map(value).sum::<u64>() as f64);
    vec![
        "all of the cluster".into(),
        number::seconds(cpu).into(),
        sum(|process| process.rss_begin_bytes).into(),
        sum(|process| process.rss_max_bytes).into(),
        sum(|process| process.rss_end_bytes).into(),
        each.into(),
        processes.iter().map(|process| process.restarts).sum::<u32>().to_string().into(),
    ]
}
