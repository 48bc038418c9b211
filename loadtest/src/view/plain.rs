//! A line now and then, for logs.

use std::time::Duration;

use super::{
    board::{Board, Shown},
    words::{bytes, count, per_second, span},
};
use crate::report::summary::{Kind, Load};

/// Prints lines.
#[derive(Debug)]
pub(super) struct Plain {
    stage: String,
    printed_ns: Option<u64>,
}

impl Plain {
    pub(super) fn new() -> Self {
        Self { stage: String::new(), printed_ns: None }
    }

    /// Prints what is new: sentences and stages at once, figures every so often.
    pub(super) fn look(&mut self, board: &Board, every: Duration) {
        for sentence in board.take_said() {
            print(board, &sentence);
        }
        let shown = board.shown();
        let now_ns = board.now_ns();
        let stage = format!("{} {}", shown.stage.name, shown.stage.detail);
        if stage != self.stage && !shown.stage.name.is_empty() {
            print(board, stage.trim_end());
            self.stage = stage;
            self.printed_ns = Some(now_ns);
        }
        let due = self.printed_ns.is_none_or(|printed_ns| {
            now_ns.saturating_sub(printed_ns) >= u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)
        });
        if due && !shown.stage.name.is_empty() {
            self.printed_ns = Some(now_ns);
            print(board, &line(&shown, now_ns));
        }
    }

    /// Prints the sentences that are left.
    pub(super) fn close(&mut self, board: &Board) {
        for sentence in board.take_said() {
            print(board, &sentence);
        }
    }
}

fn print(board: &Board, text: &str) {
    eprintln!("{:>6.1}s {text}", board.now_ns() as f64 / 1e9);
}

/// Everything in one line.
fn line(shown: &Shown, now_ns: u64) -> String {
    let mut parts = Vec::new();
    match (shown.stage.share(now_ns), shown.stage.done) {
        (Some(_), Some((done, of))) if shown.stage.lasts.is_none() => {
            parts.push(format!("{} {} of {}", shown.stage.name, count(done), count(of)));
        }
        (Some(share), _) => parts.push(format!("{} {:.0}%", shown.stage.name, share * 100.0)),
        (None, _) => parts.push(shown.stage.name.clone()),
    }
    if let Some(rates) = &shown.rates {
        parts.push(format!(
            "intended {} accepted {} delivered {}",
            per_second(rates.intended_per_s),
            per_second(rates.accepted_per_s),
            per_second(rates.delivered_per_s),
        ));
        for kind in [Kind::Accept, Kind::EndToEnd, Kind::ScheduleDelay] {
            if let Some(spread) = shown.latency.get(kind) {
                parts.push(format!("{} p99 {}", kind.title(), span(spread.p99_us)));
            }
        }
    }
    parts.push(format!("{} connected", count(shown.connections)));
    if shown.errors > 0 {
        parts.push(format!("{} errors", count(shown.errors)));
    }
    let usage = |who: &str, load: &Load| {
        format!("{who} {:.0}% {}", load.cpu_cores * 100.0, bytes(load.rss_bytes))
    };
    parts.extend(shown.server.as_ref().map(|load| usage("servers", load)));
    parts.extend(shown.own.as_ref().map(|load| usage("generator", load)));
    parts.join(" | ")
}
