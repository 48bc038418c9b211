//! A made-up run with everything a report can show, drawn from a seed.

#![allow(dead_code, reason = "each test uses a part of it")]

use hdrhistogram::Histogram;
use loadtest::{
    ledger::{self, Happening},
    population::{ConversationIndex, DeviceIndex},
    report::summary::{
        Counts, Curve, ErrorCount, Event, EventKind, Figure, Generator, Interval, Kind, Kinds,
        Load, Machine, Metric, Outcome, Percentiles, Phase, PopulationFigures, Process, Reason,
        Run, SloResult, Spread, Summary, Unit, VERSION, Verdict,
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a phase of the made-up run is like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) seconds: u32,
    pub(crate) rate: f64,
    pub(crate) measured: bool,
    /// The median of the end to end latency.
    pub(crate) median_us: f64,
    /// How far its values spread: the standard deviation of their logarithm.
    pub(crate) spread: f64,
}

pub(crate) const SHAPES: &[Shape] = &[
    Shape {
        name: "warm-up",
        seconds: 10,
        rate: 500.0,
        measured: false,
        median_us: 900.0,
        spread: 0.6,
    },
    Shape {
        name: "steady",
        seconds: 60,
        rate: 1_000.0,
        measured: true,
        median_us: 780.0,
        spread: 0.5,
    },
    Shape {
        name: "spike",
        seconds: 20,
        rate: 6_000.0,
        measured: true,
        median_us: 2_300.0,
        spread: 0.8,
    },
    Shape {
        name: "after",
        seconds: 30,
        rate: 1_000.0,
        measured: true,
        median_us: 820.0,
        spread: 0.5,
    },
];

/// A run that passed.
pub(crate) fn passed(seed: u64) -> Summary {
    run(seed, SHAPES, 1.0)
}

/// The same with every latency as many times as long.
pub(crate) fn slower(seed: u64, factor: f64) -> Summary {
    run(seed, SHAPES, factor)
}

/// A run that missed a bound, had errors and lost messages.
pub(crate) fn violated(seed: u64) -> Summary {
    let mut summary = slower(seed, 4.0);
    let ledger = summary.ledger.as_mut().expect("there is one");
    ledger.lost = 2;
    ledger.delivered -= 2;
    ledger.duplicated = 131;
    ledger.violations = (0..5).map(violation).collect();
    summary.phases[2].errors = vec![
        ErrorCount {
            kind: "connect: unreachable".to_owned(),
            count: 1_204,
            example: Some("not connected in time: 10 s <b>without</b> an answer".to_owned()),
        },
        ErrorCount { kind: "send: unknown outcome".to_owned(), count: 12, example: None },
    ];
    summary.phases[2].counts.errors = 1_216;
    for interval in summary.intervals.iter_mut().filter(|one| one.phase == Some(2)) {
        interval.counts.errors = 60;
    }
    summary.verdict = Verdict::of(
        vec![
            Reason {
                outcome: Outcome::Fail,
                phase: Some("spike".to_owned()),
                text: "end to end p99 is 162 ms, and must be at most 50 ms.".to_owned(),
            },
            Reason {
                outcome: Outcome::Violation,
                phase: None,
                text: "2 deliveries were lost and 131 came again.".to_owned(),
            },
        ],
        vec!["12 sends were never answered: each may have arrived once, or not at all.".to_owned()],
    );
    summary
}

fn violation(number: u32) -> ledger::Violation {
    let message = ledger::Message {
        from: DeviceIndex(17),
        conversation: ConversationIndex(3),
        counter: u64::from(number),
    };
    let event = |at_ns: u64, what, device| ledger::Event {
        at_ns,
        what,
        device: DeviceIndex(device),
        message: Some(message),
    };
    ledger::Violation {
        kind: if number < 2 { ledger::Kind::Lost } else { ledger::Kind::Duplicated },
        says: format!(
            "message {number} of device 17 in conversation 3 was accepted at 74.812 s and never \
             came to device 23"
        ),
        device: Some(DeviceIndex(23)),
        message: Some(message),
        other: None,
        history: vec![
            event(74_810_000_000, Happening::Intended, 17),
            event(74_810_041_000, Happening::Sent, 17),
            event(74_812_200_000, Happening::Accepted, 17),
            event(74_812_900_000, Happening::Delivered, 22),
            ledger::Event { message: None, ..event(75_100_000_000, Happening::Disconnected, 23) },
            ledger::Event { message: None, ..event(77_000_000_000, Happening::CaughtUp, 23) },
        ],
        left_out: u64::from(number),
    }
}

/// A run of these phases; every latency is `factor` times as long.
pub(crate) fn run(seed: u64, shapes: &[Shape], factor: f64) -> Summary {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut intervals, mut phases, mut curves) = (Vec::new(), Vec::new(), Vec::new());
    let mut at_s = 0.0;
    let mut totals = Counts::default();
    for (place, shape) in shapes.iter().enumerate() {
        let part = part(&mut rng, place, *shape, at_s, factor);
        at_s += f64::from(shape.seconds);
        totals += part.phase.counts;
        intervals.extend(part.intervals);
        if shape.measured {
            let kinds = Kind::ALL.iter().zip(&part.histograms);
            curves.extend(kinds.filter_map(|(kind, found)| Curve::of(place, *kind, found)));
        }
        phases.push(part.phase);
    }
    Summary {
        version: VERSION,
        run: about(seed, at_s),
        verdict: Verdict::of(Vec::new(), Vec::new()),
        ledger: Some(ledger::Verdict {
            end: ledger::End::Drained,
            sent: totals.sent,
            accepted: totals.accepted,
            due: totals.due,
            delivered: totals.delivered,
            heard: totals.delivered,
            order_pairs: 412,
            ..ledger::Verdict::default()
        }),
        totals,
        phases,
        intervals,
        curves,
        events: events(at_s),
        processes: processes(),
        metrics: metrics(totals),
        generator: Generator {
            cpu_s: 31.4,
            rss_max_bytes: 148 << 20,
            bytes_per_connection: Some(21_400.0),
            server_bytes_per_connection: Some(34_900.0),
        },
        agents: Vec::new(),
    }
}

struct Part {
    phase: Phase,
    intervals: Vec<Interval>,
    /// In the order of `Kind::ALL`.
    histograms: Vec<Histogram<u64>>,
}

fn part(rng: &mut ChaCha8Rng, place: usize, shape: Shape, at_s: f64, factor: f64) -> Part {
    let mut histograms: Vec<_> = Kind::ALL.iter().map(|_| histogram()).collect();
    let mut intervals = Vec::new();
    let mut counts = Counts::default();
    for second in 0..shape.seconds {
        let began_s = at_s + f64::from(second);
        let mut each: Vec<_> = Kind::ALL.iter().map(|_| histogram()).collect();
        let stalled = if shape.rate > 2_000.0 && second == 7 { 9.0 } else { 1.0 };
        for _ in 0..(shape.rate / 4.0) as u32 {
            let long = shape.median_us * factor * stalled * (gauss(rng) * shape.spread).exp();
            record(&mut each[0], long);
            record(&mut each[1], long * 0.62);
            record(&mut each[2], 18.0 * (gauss(rng) * 0.9).exp());
            if rng.random_bool(0.004) {
                record(&mut each[3], 1e6 * (1.0 + gauss(rng).abs()));
            }
        }
        for (all, one) in histograms.iter_mut().zip(&each) {
            all.add(one).expect("it grows");
        }
        let sent = (shape.rate + gauss(rng) * shape.rate.sqrt()).round() as u64;
        let one = Counts {
            intended: sent,
            sent,
            accepted: sent,
            due: sent * 5 / 2,
            delivered: sent * 5 / 2,
            errors: 0,
            accepted_bytes: sent * 256,
        };
        counts += one;
        intervals.push(interval(rng, place, began_s, one, &each));
    }
    let phase = phase(shape, at_s, counts, &histograms);
    Part { phase, intervals, histograms }
}

fn interval(
    rng: &mut ChaCha8Rng,
    place: usize,
    at_s: f64,
    counts: Counts,
    each: &[Histogram<u64>],
) -> Interval {
    let busy = counts.delivered as f64 * 68e-6;
    let queue = (counts.sent as f64 / 90.0 * (1.0 + 0.3 * gauss(rng))).max(0.0).round();
    Interval {
        at_s,
        length_s: 1.0,
        phase: Some(place),
        counts,
        latency: Kinds::from_fn(|kind| Spread::of(&each[index(kind)])),
        connections: 520 - (if (72.0..75.0).contains(&at_s) { 156 } else { 0 }),
        server: Some(Load {
            cpu_cores: busy * (1.0 + 0.08 * gauss(rng)),
            rss_bytes: (96 << 20) + (at_s * 220_000.0) as u64,
        }),
        queues: [
            ("posthorn_worker_lag_ms{log=\"mail\"}".to_owned(), queue / 2.0),
            ("posthorn_engine_backlog_bytes".to_owned(), queue * 900.0),
            ("posthorn_edge_half_open".to_owned(), 0.0),
        ]
        .into(),
        generator: Some(Load { cpu_cores: busy * 0.8, rss_bytes: 120 << 20 }),
    }
}

fn phase(shape: Shape, at_s: f64, counts: Counts, histograms: &[Histogram<u64>]) -> Phase {
    let latency = Kinds::from_fn(|kind| Percentiles::of(&histograms[index(kind)]));
    let p99 = latency.end_to_end.as_ref().map(|latency| latency.p99_us as f64);
    let slo = vec![
        SloResult {
            name: "end_to_end_p99".to_owned(),
            bound: 50_000.0,
            measured: p99,
            unit: Unit::Microseconds,
            kept: p99.is_some_and(|p99| p99 <= 50_000.0),
        },
        SloResult {
            name: "rate_min".to_owned(),
            bound: 0.99,
            measured: Some(1.0),
            unit: Unit::Share,
            kept: true,
        },
        SloResult {
            name: "errors_max".to_owned(),
            bound: 0.0,
            measured: Some(0.0),
            unit: Unit::Count,
            kept: true,
        },
    ];
    let back = Figure {
        name: "back_within".to_owned(),
        value: 2.84,
        unit: Unit::Seconds,
        explanation: "After the disconnection all 156 devices were connected again.".to_owned(),
    };
    Phase {
        closed_loop: None,
        name: shape.name.to_owned(),
        measured: shape.measured,
        at_s,
        duration_s: f64::from(shape.seconds),
        counts,
        rates: counts.per_second(f64::from(shape.seconds)),
        latency,
        errors: Vec::new(),
        server_cpu_us_per_delivered: Some(68.0),
        slo: if shape.measured { slo } else { Vec::new() },
        figures: if shape.name == "spike" { vec![back] } else { Vec::new() },
    }
}

fn about(seed: u64, duration_s: f64) -> Run {
    Run {
        id: format!("{:016x}", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        scenario: "spike".to_owned(),
        about: "Six times the usual load for 20 s, and how soon all is as before.".to_owned(),
        scenario_text: "# Mornings are like this.\nname = \"spike\"\nseed = 1\n\n[[phase]]\n\
                        name = \"steady\"\nduration = \"60s\"\nrate = 1000\n"
            .to_owned(),
        seed,
        began_ms: 1_795_460_640_000,
        duration_s,
        driver: "posthorn".to_owned(),
        driver_lacks: Vec::new(),
        target: "one machine: server".to_owned(),
        server_version: Some("posthorn 0.1.0".to_owned()),
        loadtest_version: "0.1.0".to_owned(),
        command: ["loadtest", "run", "loadtest/scenarios/spike.toml"].map(str::to_owned).into(),
        machine: Machine {
            cpu: "AMD EPYC 7B13".to_owned(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "Linux 6.1.0".to_owned(),
            os: "Debian GNU/Linux 12".to_owned(),
            notes: vec!["a virtual machine".to_owned()],
        },
        population: PopulationFigures {
            digest: "5d41402abc4b2a76".to_owned(),
            users: 500,
            devices: 731,
            pairs: 4_120,
            groups: 50,
            online: 520,
        },
        schedule_delay_p99_max_us: 5_000,
        grace_s: 30.0,
    }
}

fn events(end_s: f64) -> Vec<Event> {
    let events = [
        (72.0, EventKind::Action, "disconnect 30 % of the devices"),
        (75.0, EventKind::Action, "reconnect them"),
        (88.4, EventKind::Trouble, "server restarted by itself after 0.4 s"),
    ];
    events
        .into_iter()
        .filter(|(at_s, _, _)| *at_s < end_s)
        .map(|(at_s, kind, text)| Event { at_s, kind, text: text.to_owned() })
        .collect()
}

fn processes() -> Vec<Process> {
    vec![Process {
        name: "server".to_owned(),
        cpu_s: 44.1,
        rss_begin_bytes: 88 << 20,
        rss_max_bytes: 131 << 20,
        rss_end_bytes: 122 << 20,
        restarts: 1,
    }]
}

fn metrics(totals: Counts) -> Vec<Metric> {
    let metric = |name: &str, begin: f64, end: f64| Metric {
        process: "server".to_owned(),
        name: name.to_owned(),
        begin: Some(begin),
        end: Some(end),
    };
    vec![
        metric("posthorn_edge_accepted_total", 0.0, totals.accepted as f64),
        metric("posthorn_edge_busy_total{reason=\"rate\"}", 0.0, 0.0),
        metric("posthorn_worker_rows_total", 0.0, totals.delivered as f64),
    ]
}

fn index(kind: Kind) -> usize {
    Kind::ALL.iter().position(|one| *one == kind).expect("it is one of all")
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

fn record(histogram: &mut Histogram<u64>, us: f64) {
    histogram.record(us.round() as u64).expect("it grows");
}

/// About normal: the sum of twelve uniform values, less its mean.
fn gauss(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
