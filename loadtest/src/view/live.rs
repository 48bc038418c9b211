//! A few lines that are drawn again and again, on a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    board::{Board, Shown},
    words::{bytes, count, per_second, span},
};
use crate::report::summary::{Kind, Load, Spread};

/// Steps of the bar: finer than a terminal is wide.
const BAR_STEPS: u64 = 1000;
/// As often as the terminal is drawn at most.
const DRAWS_PER_S: u8 = 10;

/// The lines, each a bar of its own.
#[derive(Debug)]
pub(super) struct Live {
    lines: MultiProgress,
    bar: ProgressBar,
    rates: ProgressBar,
    latencies: Vec<(Kind, ProgressBar)>,
    state: ProgressBar,
    usage: ProgressBar,
}

impl Live {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S);
        let lines = MultiProgress::with_draw_target(target);
        let text = ProgressStyle::with_template("{msg}").expect("the template is right");
        let style = "{prefix:.bold} {wide_bar:.cyan/blue} {msg}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        let bar = lines.add(ProgressBar::new(BAR_STEPS).with_style(style));
        let line = || lines.add(ProgressBar::new(1).with_style(text.clone()));
        let rates = line();
        let latencies = [Kind::ScheduleDelay, Kind::Accept, Kind::EndToEnd, Kind::CatchUp];
        let latencies = latencies.into_iter().map(|kind| (kind, line())).collect();
        let (state, usage) = (line(), line());
        Self { lines, bar, rates, latencies, state, usage }
    }

    /// Draws how it stands.
    pub(super) fn draw(&mut self, board: &Board) {
        for sentence in board.take_said() {
            // A terminal that is gone is nobody's loss.
            let _ = self.lines.println(sentence);
        }
        let shown = board.shown();
        let share = shown.stage.share(board.now_ns()).unwrap_or(0.0);
        self.bar.set_prefix(shown.stage.name.clone());
        self.bar.set_message(stage_words(&shown));
        self.bar.set_position((share * BAR_STEPS as f64) as u64);
        self.rates.set_message(rates_line(&shown));
        for (kind, line) in &self.latencies {
            line.set_message(latency_line(*kind, shown.latency.get(*kind)));
        }
        self.state.set_message(format!(
            "  {:<16}{} of {} devices, {} sends wait for their answer, {} errors",
            "connected",
            count(shown.connections),
            count(shown.devices),
            count(shown.waiting),
            count(shown.errors),
        ));
        self.usage.set_message(format!(
            "  {:<16}servers {}   generator {}",
            "uses",
            load_words(shown.server.as_ref()),
            load_words(shown.own.as_ref()),
        ));
    }

    /// Leaves the terminal as it was, with the sentences in it.
    pub(super) fn close(&mut self, board: &Board) {
        for sentence in board.take_said() {
            let _ = self.lines.println(sentence);
        }
        let _ = self.lines.clear();
    }
}

fn stage_words(shown: &Shown) -> String {
    let progress = match shown.stage.done {
        Some((done, of)) => format!("{} of {} ", count(done), count(of)),
        None => String::new(),
    };
    let detail = if shown.stage.lasts.is_some() {
        match shown.stage.lasts {
            Some((_, lasts)) => format!("{}s {}", lasts.as_secs(), shown.stage.detail),
            None => String::new(),
        }
    } else {
        shown.stage.detail.clone()
    };
    format!("{progress}{detail}")
}

fn rates_line(shown: &Shown) -> String {
    let Some(rates) = &shown.rates else { return "  rates".to_owned() };
    format!(
        "  {:<16}intended {:>10}  sent {:>10}  accepted {:>10}  delivered {:>10}",
        "rates",
        per_second(rates.intended_per_s),
        per_second(rates.sent_per_s),
        per_second(rates.accepted_per_s),
        per_second(rates.delivered_per_s),
    )
}

fn latency_line(kind: Kind, spread: Option<&Spread>) -> String {
    match spread {
        None => format!("  {:<16}", kind.title()),
        Some(spread) => format!(
            "  {:<16}p50 {:>9}  p99 {:>9}  max {:>9}",
            kind.title(),
            span(spread.p50_us),
            span(spread.p99_us),
            span(spread.max_us),
        ),
    }
}

fn load_words(load: Option<&Load>) -> String {
    load.map_or_else(
        || "-".to_owned(),
        |load| format!("{:.0}% CPU, {}", load.cpu_cores * 100.0, bytes(load.rss_bytes)),
    )
}
