//! What the demo says at the end.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::demo::tally::Tally;

/// The result of a demo, as `--format json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Messages of the input.
    pub messages: usize,
    /// Messages the cluster accepted.
    pub accepted: usize,
    /// Deliveries that were due and happened, over all devices.
    pub delivered: usize,
    /// Deliveries that were due and did not happen.
    pub lost: usize,
    /// Deliveries of something the device had been given before.
    pub duplicated: usize,
    /// Deliveries out of order.
    pub reordered: usize,
    /// Deliveries with other bytes than were sent.
    pub corrupted: usize,
    /// Devices that were away and caught up from their cursor.
    pub resumed: usize,
    /// Milliseconds from giving a message to the SDK to its being durable.
    pub accept_ms: Spread,
    /// Milliseconds from giving a message to the SDK to a device having it that stays connected.
    pub deliver_ms: Spread,
}

/// How long something took, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half of them took at most this.
    pub p50: f64,
    /// 99 of 100 took at most this.
    pub p99: f64,
    /// None took longer.
    pub max: f64,
}

/// What the text says beyond the numbers.
#[derive(Clone, Debug)]
pub struct Scene {
    /// People, with two devices each.
    pub people: usize,
    /// Groups.
    pub groups: usize,
    /// How long the routing took.
    pub took: Duration,
    /// Messages the devices that were away found waiting.
    pub caught_up: usize,
    /// A few lines of what a device received that was away: its title and the lines.
    pub excerpt: Option<(String, Vec<String>)>,
}

impl Report {
    /// The report of these counts and times.
    #[must_use]
    pub fn new(
        messages: usize,
        accepted: usize,
        resumed: usize,
        tally: Tally,
        accept: Vec<Duration>,
        deliver: Vec<Duration>,
    ) -> Self {
        Self {
            messages,
            accepted,
            delivered: tally.delivered,
            lost: tally.lost,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            corrupted: tally.corrupted,
            resumed,
            accept_ms: Spread::of(accept),
            deliver_ms: Spread::of(deliver),
        }
    }

    /// Nothing was lost, duplicated, reordered or corrupted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.corrupted] == [0; 4]
    }

    /// The report for people.
    #[must_use]
    pub fn to_text(&self, scene: &Scene) -> String {
        let mut text = String::new();
        if let Some((title, lines)) = &scene.excerpt {
            let _ = writeln!(text, "{title}");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "{} people, two devices each, {} groups; every second device was away for the middle \
             third.\n",
            scene.people, scene.groups
        );
        let rows = [
            ("messages", self.messages, "in the input"),
            ("accepted", self.accepted, "durable on the log"),
            ("delivered", self.delivered, "to all devices they are for"),
            ("lost", self.lost, ""),
            ("duplicated", self.duplicated, ""),
            ("reordered", self.reordered, ""),
            ("corrupted", self.corrupted, ""),
        ];
        for (name, count, note) in rows {
            let line = format!("  {name:<11}{count:>9}  {note}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let note = format!("devices caught up from their cursor, {} messages", scene.caught_up);
        let _ = writeln!(text, "  {:<11}{:>9}  {note}\n", "resumed", self.resumed);
        for (name, spread) in [("accepted", &self.accept_ms), ("delivered", &self.deliver_ms)] {
            let Spread { p50, p99, max } = spread;
            let _ = writeln!(
                text,
                "  {name:<11}half within {p50:.1} ms, 99 % within {p99:.1} ms, all within \
                 {max:.1} ms"
            );
        }
        let _ = writeln!(text, "  {:<11}{:.1} s", "took", scene.took.as_secs_f64());
        text
    }
}

impl Spread {
    /// The spread of these times; all zero when there are none.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |per_cent: usize| {
            let rank = (times.len() * per_cent).div_ceil(100).saturating_sub(1);
            times.get(rank).map_or(0.0, |time| millis(*time))
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_spread_is_of_the_nearest_rank() {
        let times = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(Spread::of(times), Spread { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
        let one = Spread::of(vec![Duration::from_micros(1500)]);
        assert_eq!(one, Spread { p50: 1.5, p99: 1.5, max: 1.5 });
    }

    #[test]
    fn the_json_has_the_names_that_are_promised() {
        let report = Report::new(3, 3, 2, Tally::default(), vec![], vec![]);
        let json = serde_json::to_value(report).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        for name in [
            "messages",
            "accepted",
            "delivered",
            "lost",
            "duplicated",
            "reordered",
            "corrupted",
            "resumed",
            "accept_ms",
            "deliver_ms",
        ] {
            assert!(names.iter().any(|one| one == name), "{name}");
        }
        assert_eq!(json["accept_ms"]["p99"], 0.0);
    }
}
