//! The verdict in words, for a terminal.

use std::fmt::{self, Display, Formatter};

use super::{
    record::{End, Message},
    verdict::{Event, Happening, Kind, Verdict, Violation},
};
use crate::report::number::{bytes, count};

impl Verdict {
    /// The result in one sentence, without a full stop.
    #[must_use]
    pub fn says(&self) -> String {
        let found = self.found();
        if !found.is_empty() {
            let kinds = found.iter().map(|(kind, number)| format!("{} {}", count(*number), kind));
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            return format!("violations: {kinds}");
        }
        match self.end {
            End::Drained => "clean: nothing lost, repeated, reordered, changed or misdelivered",
            End::Interrupted | End::Cut => "clean as far as the ledger reaches, but incomplete",
        }
        .to_owned()
    }

    /// Everything but the violations, one thing a line, each line with its end.
    #[must_use]
    pub fn figures(&self) -> String {
        let mut lines = vec![
            format!(
                "messages    {} sent, {} accepted, {} rejected, {} of unknown outcome ({} arrived)",
                count(self.sent),
                count(self.accepted),
                count(self.rejected),
                count(self.unknown),
                count(self.unknown_arrived),
            ),
            format!(
                "arrivals    {} due, {} delivered, {} lost, {} not judged",
                count(self.due),
                count(self.delivered),
                count(self.lost),
                count(self.pending),
            ),
            format!("orders      {} pairs of devices compared", count(self.order_pairs)),
        ];
        let mut add = |number: u64, line: &str| {
            if number > 0 {
                lines.push(format!("            {} {line}", count(number)));
            }
        };
        add(self.order_pairs_unjudged, "of them not judged: too much is missing at one of them");
        add(self.not_sent, "messages never left: the driver had no room");
        add(self.other_run, "arrivals are left over from another run");
        add(self.truncated, "times a device was told that messages may be missing");
        match self.end {
            End::Drained => (),
            End::Interrupted => lines
                .push("end         interrupted: what had not arrived yet is not judged".to_owned()),
            End::Cut => lines.push(
                "end         the generator ended without a word: its last moments are missing; \
                 what had not arrived yet is not judged"
                    .to_owned(),
            ),
        }
        for torn in &self.torn {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let size = bytes(torn.bytes as f64);
            let (file, at) = (&torn.file, torn.at);
            lines.push(format!(
                "torn        the last {size} of {file}, from byte {at} on, left out"
            ));
        }
        lines.extend(self.flaws.iter().map(|flaw| format!("flaw        {flaw}")));
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Violation {
    /// The sentence, then the history, a line each, without the last line's end.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)?;
        for event in &self.history {
            write!(f, "\n  {event}")?;
        }
        if self.left_out > 0 {
            write!(f, "\n  ... and {} more events elsewhere", count(self.left_out))?;
        }
        Ok(())
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:>13}  {}", seconds(self.at_ns), self.says())
    }
}

impl Event {
    /// What happened, without the time: "device 3: sent message 17 of device 3 in conversation 9".
    #[must_use]
    pub fn says(&self) -> String {
        let (device, what) = (self.device, self.what.name());
        let Some(Message { from, conversation, counter }) = self.message else {
            return format!("device {device}: {what}");
        };
        match self.what {
            Happening::Intended
            | Happening::Sent
            | Happening::Accepted
            | Happening::Rejected
            | Happening::Unknown
            | Happening::NotSent => {
                format!("device {device}: message {counter} to conversation {conversation} {what}")
            }
            Happening::Delivered
            | Happening::Corrupted
            | Happening::Connected
            | Happening::Disconnected
            | Happening::CaughtUp
            | Happening::Drained
            | Happening::Truncated
            | Happening::Conflict => format!(
                "device {device}: {what}: message {counter} of device {from} in conversation \
                 {conversation}"
            ),
        }
    }
}

/// A time of the run, to the microsecond.
pub(super) fn seconds(at_ns: u64) -> String {
    format!("{}.{:06} s", at_ns / 1_000_000_000, at_ns / 1000 % 1_000_000)
}
