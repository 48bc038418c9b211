//! The judgement: every message at every device, by one pass over the files, or up to three.
//!
//! The first pass takes everything in; what it keeps grows with the pairs of sender and receiver
//! and with what went wrong, not with the messages. A second compares the few devices whose order
//! may differ. A third collects the histories of the violations that are told.

use std::path::Path;

use anyhow::bail;

use super::{
    counters::CounterSet,
    findings::{Finding, Findings},
    history::Histories,
    members::Members,
    order::{Ring, Suspects},
    reader::Files,
    record::{End, Message, Note, Outcome, Record, RunInfo, What},
    seen::Arrival,
    streams::{Due, Heard, StreamView, Streams, counter_of},
    verdict::{Kind, Verdict},
};
use crate::population::DeviceIndex;

/// How far the judgement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub pass: Pass,
    /// Bytes read in this pass.
    pub bytes: u64,
    /// Bytes of all files.
    pub of: u64,
}

/// What one pass over the files is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Every message at every device.
    Judge,
    /// The order of devices that may differ.
    Order,
    /// What happened around the violations.
    Histories,
}

impl Pass {
    /// What it does, for a person: "judging".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Judge => "judging",
            Self::Order => "comparing orders",
            Self::Histories => "collecting histories",
        }
    }
}

/// Which run the ledger in the folder of a run belongs to.
///
/// # Errors
/// When there is no ledger, or it cannot be read.
pub fn run_of(folder: &Path) -> anyhow::Result<RunInfo> {
    Ok(Files::open(folder)?.run)
}

/// Judges the ledger in the folder of a run. Needs some 4 bytes for each sender and receiver that
/// had to do with each other, and more for what went wrong. `progress` is called for each batch.
///
/// # Errors
/// When there is no ledger, it cannot be read, or it is of another population.
pub fn verify(
    folder: &Path,
    members: &dyn Members,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Verdict> {
    let files = Files::open(folder)?;
    if files.run.population != members.digest() {
        bail!(
            "the ledger in {} is of the population {:016x}, drawn from seed {}; \
             this one is {:016x}",
            folder.display(),
            files.run.population,
            files.run.seed,
            members.digest(),
        );
    }
    let of = files.len();
    let mut tell = |pass, bytes| progress(Progress { pass, bytes, of });
    let mut judge = Judge::new(members, files.run);
    let ending = files.read(&mut |bytes| tell(Pass::Judge, bytes), |record| judge.take(record))?;
    judge.verdict.end = ending.end;
    judge.verdict.torn = ending.torn;
    judge.conclude();
    let mut suspects = judge.suspects();
    if !suspects.is_empty() {
        let streams = &judge.streams;
        files.read(&mut |bytes| tell(Pass::Order, bytes), |record| {
            if let What::Delivered { device, message } = record.what
                && streams.may_hear(device, message)
            {
                suspects.take(device, message);
            }
        })?;
        judge.verdict.order_pairs_unjudged = suspects.given_up;
        for finding in suspects.judge() {
            judge.findings.add(&mut judge.verdict, finding);
        }
    }
    let told = judge.findings.told();
    if !told.is_empty() {
        let mut histories = Histories::new(&told);
        files.read(&mut |bytes| tell(Pass::Histories, bytes), |record| histories.take(record))?;
        judge.verdict.violations = histories.tell(members);
    }
    Ok(judge.verdict)
}

struct Judge<'a> {
    members: &'a dyn Members,
    streams: Streams<'a>,
    /// Of users with several devices; none when mailboxes need no order.
    mailboxes: Vec<Mailbox>,
    /// By device: the place in `mailboxes`.
    mailbox_of: Vec<Option<u32>>,
    /// By device: whether it had its time to get everything.
    drained: Vec<bool>,
    verdict: Verdict,
    findings: Findings,
    flaws: Flaws,
}

/// The devices of one user.
struct Mailbox {
    first: DeviceIndex,
    end: DeviceIndex,
    ring: Ring,
}

/// What the generator must not have written.
#[derive(Default)]
struct Flaws {
    sent_by_stranger: u64,
    sent_again: u64,
    outcome_without_send: u64,
    unknown_device: u64,
}

impl<'a> Judge<'a> {
    fn new(members: &'a dyn Members, run: RunInfo) -> Self {
        let mut judge = Self {
            members,
            streams: Streams::new(members, run.rules),
            mailboxes: Vec::new(),
            mailbox_of: vec![None; members.device_count()],
            drained: vec![false; members.device_count()],
            verdict: Verdict::default(),
            findings: Findings::default(),
            flaws: Flaws::default(),
        };
        if run.rules.mailbox_order {
            judge.make_mailboxes();
        }
        judge
    }

    fn make_mailboxes(&mut self) {
        let mut next = 0;
        while next < self.mailbox_of.len() {
            let device = DeviceIndex(u32::try_from(next).expect("devices have 32 bits"));
            let devices = self.members.devices_of(self.members.user_of(device));
            assert!(devices.contains(&device), "a user's devices follow each other");
            let count = devices.end.place() - devices.start.place();
            if count > 1 {
                let place = u32::try_from(self.mailboxes.len()).expect("fewer than devices");
                self.mailbox_of[devices.start.place()..devices.end.place()].fill(Some(place));
                let (first, end) = (devices.start, devices.end);
                self.mailboxes.push(Mailbox { first, end, ring: Ring::new(count) });
            }
            next = devices.end.place();
        }
    }

    fn take(&mut self, record: &Record) {
        match record.what {
            What::Sent { message, late_us: _ } => match self.streams.stream(message) {
                None => self.flaws.sent_by_stranger += 1,
                Some(stream) => {
                    let new = stream.sent.insert(counter_of(message));
                    self.flaws.sent_again += u64::from(!new);
                }
            },
            What::Outcome { message, outcome } => self.take_outcome(message, outcome, record.at_ns),
            What::Delivered { device, message } => {
                self.take_delivery(device, message, record.at_ns)
            }
            What::Corrupted { device, claimed } => {
                self.verdict.heard += 1;
                self.find(Kind::Corrupted, device, claimed, None, record.at_ns);
            }
            What::OtherRun { device: _ } => {
                self.verdict.heard += 1;
                self.verdict.other_run += 1;
            }
            What::Note { device, note } => match note {
                Note::Connected | Note::Disconnected | Note::CaughtUp => (),
                Note::Truncated => self.verdict.truncated += 1,
                Note::Drained => match self.drained.get_mut(device.place()) {
                    Some(drained) => *drained = true,
                    None => self.flaws.unknown_device += 1,
                },
                Note::Conflict => self.find(Kind::Conflict, device, None, None, record.at_ns),
            },
            What::End(_) => (),
        }
    }

    fn take_outcome(&mut self, message: Message, outcome: Outcome, at_ns: u64) {
        let counter = counter_of(message);
        let Some(stream) = self.streams.stream(message) else {
            self.flaws.outcome_without_send += 1;
            return;
        };
        let contradicted = match outcome {
            Outcome::Unknown => false,
            Outcome::Accepted => {
                stream.accepted.insert(counter) && stream.rejected.contains(counter)
            }
            Outcome::Rejected | Outcome::NotSent => {
                let new = stream.rejected.insert(counter);
                self.verdict.not_sent += u64::from(new && outcome == Outcome::NotSent);
                new && stream.accepted.contains(counter)
            }
        };
        if contradicted {
            self.find(Kind::Contradicted, message.from, Some(message), None, at_ns);
        }
    }

    fn take_delivery(&mut self, device: DeviceIndex, message: Message, at_ns: u64) {
        self.verdict.heard += 1;
        let Some(mailbox) = self.mailbox_of.get(device.place()).copied() else {
            self.flaws.unknown_device += 1;
            return;
        };
        match self.streams.hear(device, message) {
            Heard::Impossible => self.find(Kind::Invented, device, Some(message), None, at_ns),
            Heard::Astray => self.find(Kind::Misdelivered, device, Some(message), None, at_ns),
            Heard::Here(Arrival::Again) => {
                self.find(Kind::Duplicated, device, Some(message), None, at_ns);
            }
            Heard::Here(Arrival::First) => self.order(mailbox, device, message),
            Heard::Here(Arrival::Below(higher)) => {
                let higher = Message { counter: u64::from(higher), ..message };
                self.find(Kind::Reordered, device, Some(message), Some(higher), at_ns);
                self.order(mailbox, device, message);
            }
        }
    }

    fn order(&mut self, mailbox: Option<u32>, device: DeviceIndex, message: Message) {
        let Some(place) = mailbox else { return };
        let mailbox = &mut self.mailboxes[place as usize];
        let own = mailbox.first <= message.from && message.from < mailbox.end;
        let place = |device: DeviceIndex| device.place() - mailbox.first.place();
        mailbox.ring.hear(place(device), own.then(|| place(message.from)), message);
    }

    fn find(
        &mut self,
        kind: Kind,
        device: DeviceIndex,
        message: Option<Message>,
        other: Option<Message>,
        at_ns: u64,
    ) {
        let device = Some(device);
        let finding = Finding { kind, device, peer: None, message, other, at_ns: Some(at_ns) };
        self.findings.add(&mut self.verdict, finding);
    }

    /// Judges what only shows when everything was read.
    fn conclude(&mut self) {
        let (verdict, findings) = (&mut self.verdict, &mut self.findings);
        for stream in self.streams.each() {
            let totals = Totals::of(&stream, &self.drained);
            self.flaws.outcome_without_send += totals.judge(&stream, verdict, findings);
        }
        verdict.sent -= verdict.not_sent.min(verdict.sent);
        verdict.rejected -= verdict.not_sent.min(verdict.rejected);
        verdict.flaws = self.flaws.sentences();
    }

    fn suspects(&mut self) -> Suspects {
        let mut suspects = Suspects::default();
        let (compared, unequal) = self.streams.unequal_groups();
        self.verdict.order_pairs = compared;
        for (group, first, second) in unequal {
            suspects.add(Some(group), first, second);
        }
        for mailbox in &self.mailboxes {
            self.verdict.order_pairs += mailbox.ring.len();
            for (first, second) in mailbox.ring.unequal() {
                let [first, second] = [first, second].map(|place| {
                    let place = u32::try_from(place).expect("devices have 32 bits");
                    DeviceIndex(mailbox.first.0 + place)
                });
                suspects.add(None, first, second);
            }
        }
        suspects
    }
}

/// What became of the messages of one stream.
struct Totals<'a> {
    drained: &'a [bool],
    accepted: CounterSet,
    rejected: CounterSet,
    unknown: CounterSet,
}

impl<'a> Totals<'a> {
    fn of(stream: &StreamView<'_>, drained: &'a [bool]) -> Self {
        let stream = stream.stream;
        let accepted = stream.accepted.clone();
        let rejected = stream.rejected.minus(&accepted);
        let unknown = stream.sent.minus(&accepted).minus(&rejected);
        Self { drained, accepted, rejected, unknown }
    }

    /// Judges one stream at all its receivers; how many outcomes have no send.
    fn judge(
        &self,
        stream: &StreamView<'_>,
        verdict: &mut Verdict,
        findings: &mut Findings,
    ) -> u64 {
        let sent = &stream.stream.sent;
        verdict.sent += sent.len();
        verdict.accepted += self.accepted.len();
        verdict.rejected += self.rejected.len();
        verdict.unknown += self.unknown.len();
        let mut unknown_arrived = CounterSet::default();
        for (device, due, seen) in stream.receivers() {
            if due == Due::Yes {
                self.judge_due(stream, device, &seen, verdict, findings);
            }
            if seen == self.accepted {
                continue;
            }
            unknown_arrived.add(&seen.and(&self.unknown));
            let rejected = seen.and(&self.rejected);
            find_all(Kind::RejectedArrived, stream, device, &rejected, verdict, findings);
            let unsent = seen.minus(sent).minus(&self.accepted).minus(&self.rejected);
            if verdict.end == End::Cut {
                unknown_arrived.add(&unsent);
            } else {
                find_all(Kind::Invented, stream, device, &unsent, verdict, findings);
            }
        }
        verdict.unknown_arrived += unknown_arrived.len();
        self.accepted.minus(sent).len() + self.rejected.minus(sent).len()
    }

    fn judge_due(
        &self,
        stream: &StreamView<'_>,
        device: DeviceIndex,
        seen: &CounterSet,
        verdict: &mut Verdict,
        findings: &mut Findings,
    ) {
        let due = self.accepted.len();
        verdict.due += due;
        if *seen == self.accepted {
            verdict.delivered += due;
            return;
        }
        let missing = self.accepted.minus(seen);
        verdict.delivered += due - missing.len();
        let lost = if verdict.end == End::Drained || self.drained[device.place()] {
            missing.clone()
        } else {
            // What is missing below one that arrived was passed over: it will not come.
            missing.and(&CounterSet::below(seen.end()))
        };
        verdict.pending += missing.len() - lost.len();
        find_all(Kind::Lost, stream, device, &lost, verdict, findings);
    }
}

fn find_all(
    kind: Kind,
    stream: &StreamView<'_>,
    device: DeviceIndex,
    counters: &CounterSet,
    verdict: &mut Verdict,
    findings: &mut Findings,
) {
    let each = counters.iter().map(|counter| Finding {
        device: Some(device),
        message: Some(stream.message(counter)),
        ..Finding::of(kind)
    });
    findings.add_all(verdict, kind, counters.len(), each);
}

impl Flaws {
    fn sentences(&self) -> Vec<String> {
        [
            (
                self.sent_by_stranger,
                "messages were sent by a device that is not in the conversation",
            ),
            (self.sent_again, "messages were written down as sent more than once"),
            (
                self.outcome_without_send,
                "messages have an outcome but were not written down as sent",
            ),
            (self.unknown_device, "messages were heard by a device that does not exist"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}
