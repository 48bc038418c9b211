//! What happened around the violations that are told.

use std::collections::{BTreeMap, HashMap};

use super::{
    findings::Finding,
    members::Members,
    record::{Message, Note, Outcome, Record, What},
    verdict::{Event, Happening, Kind, Violation},
    words::seconds,
};
use crate::population::DeviceIndex;

/// Deliveries to devices that are not concerned, in one history.
const ELSEWHERE_MAX: usize = 16;
/// Connects and disconnects in one history between the first and the last event of its messages.
const NOTES_MAX: usize = 16;
/// Connects and disconnects before that, and after.
const NOTES_AROUND: usize = 2;

/// Collects the histories in one pass.
pub(super) struct Histories<'a> {
    findings: &'a [Finding],
    /// What to look for, and for which findings.
    wanted: HashMap<Message, Vec<Wanted>>,
    /// What else happened to the devices of the findings, by time.
    notes: BTreeMap<DeviceIndex, Vec<Event>>,
    /// By finding.
    events: Vec<Vec<Event>>,
}

#[derive(Clone, Copy)]
struct Wanted {
    finding: usize,
    scope: Scope,
}

/// Which events of a message belong to a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All: it is the message.
    All,
    /// Its sending, and its arrivals at the devices concerned: it is the other one.
    Concerned,
    /// Its arrivals at the devices concerned: it is the one before or after in its stream.
    Neighbour,
}

impl Finding {
    fn concerns(&self, device: DeviceIndex) -> bool {
        self.device == Some(device) || self.peer == Some(device)
    }

    fn wants(&self) -> Vec<(Message, Scope)> {
        let Some(message) = self.message else { return Vec::new() };
        let mut wants = vec![(message, Scope::All)];
        wants.extend(self.other.map(|other| (other, Scope::Concerned)));
        let around = [message.counter.checked_sub(1), message.counter.checked_add(1)];
        for counter in around.into_iter().flatten() {
            let neighbour = Message { counter, ..message };
            if self.other != Some(neighbour) {
                wants.push((neighbour, Scope::Neighbour));
            }
        }
        wants
    }
}

impl<'a> Histories<'a> {
    pub(super) fn new(findings: &'a [Finding]) -> Self {
        let mut wanted: HashMap<Message, Vec<Wanted>> = HashMap::new();
        let mut notes = BTreeMap::new();
        for (place, finding) in findings.iter().enumerate() {
            for (message, scope) in finding.wants() {
                wanted.entry(message).or_default().push(Wanted { finding: place, scope });
            }
            for device in [finding.device, finding.peer].into_iter().flatten() {
                notes.entry(device).or_insert_with(Vec::new);
            }
        }
        Self { findings, wanted, notes, events: vec![Vec::new(); findings.len()] }
    }

    /// Takes a record of the pass.
    pub(super) fn take(&mut self, record: &Record) {
        let at_ns = record.at_ns;
        match record.what {
            What::Sent { message, late_us } => {
                let intended_ns = at_ns.saturating_sub(u64::from(late_us) * 1000);
                self.of_message(message, message.from, intended_ns, Happening::Intended);
                self.of_message(message, message.from, at_ns, Happening::Sent);
            }
            What::Outcome { message, outcome } => {
                let what = match outcome {
                    Outcome::Accepted => Happening::Accepted,
                    Outcome::Rejected => Happening::Rejected,
                    Outcome::Unknown => Happening::Unknown,
                    Outcome::NotSent => Happening::NotSent,
                };
                self.of_message(message, message.from, at_ns, what);
            }
            What::Delivered { device, message } => {
                self.of_message(message, device, at_ns, Happening::Delivered);
            }
            What::Corrupted { device, claimed: Some(message) } => {
                self.of_message(message, device, at_ns, Happening::Corrupted);
            }
            What::Corrupted { device, claimed: None } => {
                self.of_device(device, at_ns, Happening::Corrupted);
            }
            What::Note { device, note } => {
                let what = match note {
                    Note::Connected => Happening::Connected,
                    Note::Disconnected => Happening::Disconnected,
                    Note::CaughtUp => Happening::CaughtUp,
                    Note::Drained => Happening::Drained,
                    Note::Truncated => Happening::Truncated,
                    Note::Conflict => Happening::Conflict,
                };
                self.of_device(device, at_ns, what);
            }
            What::OtherRun { .. } | What::End(_) => (),
        }
    }

    fn of_message(&mut self, message: Message, device: DeviceIndex, at_ns: u64, what: Happening) {
        let Some(wanted) = self.wanted.get(&message) else { return };
        let arrival = matches!(what, Happening::Delivered | Happening::Corrupted);
        for Wanted { finding, scope } in wanted {
            let concerned = arrival && self.findings[*finding].concerns(device);
            let belongs = match scope {
                Scope::All => true,
                Scope::Concerned => !arrival || concerned,
                Scope::Neighbour => concerned,
            };
            if belongs {
                let message = Some(message);
                self.events[*finding].push(Event { at_ns, what, device, message });
            }
        }
    }

    fn of_device(&mut self, device: DeviceIndex, at_ns: u64, what: Happening) {
        if let Some(notes) = self.notes.get_mut(&device) {
            notes.push(Event { at_ns, what, device, message: None });
        }
    }

    /// The violations with their histories.
    pub(super) fn tell(self, members: &dyn Members) -> Vec<Violation> {
        let Self { findings, notes, events, wanted: _ } = self;
        let told = findings.iter().zip(events);
        told.map(|(finding, events)| violation(finding, events, &notes, members)).collect()
    }
}

fn violation(
    finding: &Finding,
    mut history: Vec<Event>,
    notes: &BTreeMap<DeviceIndex, Vec<Event>>,
    members: &dyn Members,
) -> Violation {
    let mut left_out = shorten(finding, &mut history);
    let times = || history.iter().map(|event| event.at_ns).chain(finding.at_ns);
    let span = (times().min().unwrap_or(0), times().max().unwrap_or(u64::MAX));
    let devices = [finding.device, finding.peer].into_iter().flatten();
    for notes in devices.filter_map(|device| notes.get(&device)) {
        left_out += add_notes(notes, span, &mut history);
    }
    history.sort_by_key(|event| event.at_ns);
    Violation {
        kind: finding.kind,
        says: says(finding, &history, members),
        device: finding.device,
        message: finding.message,
        other: finding.other,
        history,
        left_out,
    }
}

/// Leaves out deliveries to devices that are not concerned, but for the first.
fn shorten(finding: &Finding, history: &mut Vec<Event>) -> u64 {
    let before = history.len();
    let mut elsewhere = 0;
    history.retain(|event| {
        let here = event.what != Happening::Delivered || finding.concerns(event.device);
        elsewhere += usize::from(!here);
        here || elsewhere <= ELSEWHERE_MAX
    });
    (before - history.len()) as u64
}

/// Adds what happened to a device from shortly before the first event to shortly after the last;
/// how many are left out between.
fn add_notes(notes: &[Event], (first, last): (u64, u64), history: &mut Vec<Event>) -> u64 {
    let begin = notes.partition_point(|event| event.at_ns < first);
    let end = notes.partition_point(|event| event.at_ns <= last);
    history.extend_from_slice(&notes[begin.saturating_sub(NOTES_AROUND)..begin]);
    let between = &notes[begin..end];
    let kept = between.len().min(NOTES_MAX);
    let (head, tail) = (kept / 2, kept - kept / 2);
    history.extend_from_slice(&between[..head]);
    history.extend_from_slice(&between[between.len() - tail..]);
    history.extend_from_slice(&notes[end..(end + NOTES_AROUND).min(notes.len())]);
    (between.len() - kept) as u64
}

fn says(finding: &Finding, history: &[Event], members: &dyn Members) -> String {
    let device = finding.device.map_or_else(|| "a device".into(), |it| device_name(it, members));
    let message =
        finding.message.map_or_else(|| "a message".into(), |it| message_name(it, members));
    let other = finding.other.map_or_else(|| "another".into(), |it| message_name(it, members));
    let peer = finding.peer.map_or_else(|| "another".into(), |it| device_name(it, members));
    let at = finding.at_ns.map_or_else(String::new, |at| format!(" at {}", seconds(at)));
    match finding.kind {
        Kind::Lost => {
            let is_answer = |event: &&Event| {
                event.what == Happening::Accepted && event.message == finding.message
            };
            let accepted = history.iter().find(is_answer);
            let when = accepted.map_or_else(String::new, |it| format!(" at {}", seconds(it.at_ns)));
            format!("{device} never got {message}, which was accepted{when}")
        }
        Kind::Duplicated => format!("{device} got {message} again{at}"),
        Kind::Reordered => format!("{device} got {message}{at}, after number {}", number(finding)),
        Kind::Corrupted if finding.message.is_some() => {
            format!("{device} got what claims to be {message}, but was changed{at}")
        }
        Kind::Corrupted => format!("{device} got a payload that nobody sent{at}, or a changed one"),
        Kind::Misdelivered => format!("{device} got {message}{at}, but is no recipient of it"),
        Kind::RejectedArrived => format!("{device} got {message}, which was rejected"),
        Kind::Invented => format!("{device} got {message}, which was never sent"),
        Kind::Contradicted => format!("{message} was both accepted and rejected, the second{at}"),
        Kind::Conflict => format!("{device} got two bodies under one id{at}"),
        Kind::MailboxDisordered => {
            format!("{device} got {message} after {other}; {peer} of the same user got it before")
        }
        Kind::GroupDisordered => {
            format!("{device} got {message} after {other}; {peer} of the same group got it before")
        }
    }
}

fn number(finding: &Finding) -> u64 {
    finding.other.map_or(0, |other| other.counter)
}

fn device_name(device: DeviceIndex, members: &dyn Members) -> String {
    if device.place() < members.device_count() {
        format!("device {device} of user {}", members.user_of(device))
    } else {
        format!("device {device}")
    }
}

fn message_name(message: Message, members: &dyn Members) -> String {
    let Message { from, conversation, counter } = message;
    let known = conversation.place() < members.conversation_count();
    let place = if known && members.is_group(conversation) { "group" } else { "conversation" };
    format!("message {counter} of {} in {place} {conversation}", device_name(from, members))
}
