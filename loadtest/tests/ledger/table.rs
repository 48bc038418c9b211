//! A small population written down by hand, and runs written down line by line.

use std::ops::Range;

use bytes::BytesMut;
use loadtest::{
    ledger::{
        self, End, Ledger, Members, Message, Note, Outcome, Rules, RunInfo, Verdict,
        content::{self, Header},
    },
    population::{ConversationIndex, DeviceIndex, UserIndex},
};
use tempfile::TempDir;

pub(crate) const RUN: u64 = 77;
/// Users of two, one, two and three devices.
const USERS: [Range<u32>; 4] = [0..2, 2..3, 3..5, 5..8];
/// Two conversations of two, then two groups.
const CONVERSATIONS: [&[u32]; 4] = [&[0, 1], &[0, 2], &[0, 1, 2], &[0, 1, 2, 3]];
const GROUPS_FROM: usize = 2;

pub(crate) struct Table;

impl Members for Table {
    fn digest(&self) -> u64 {
        5
    }

    fn device_count(&self) -> usize {
        8
    }

    fn conversation_count(&self) -> usize {
        CONVERSATIONS.len()
    }

    fn user_of(&self, device: DeviceIndex) -> UserIndex {
        let user = USERS.iter().position(|devices| devices.contains(&device.0)).unwrap();
        UserIndex(user.try_into().unwrap())
    }

    fn devices_of(&self, user: UserIndex) -> Range<DeviceIndex> {
        let devices = &USERS[user.place()];
        DeviceIndex(devices.start)..DeviceIndex(devices.end)
    }

    fn devices_in(&self, conversation: ConversationIndex) -> Vec<DeviceIndex> {
        let members = CONVERSATIONS[conversation.place()].iter();
        members.flat_map(|user| USERS[*user as usize].clone()).map(DeviceIndex).collect()
    }

    fn is_group(&self, conversation: ConversationIndex) -> bool {
        conversation.place() >= GROUPS_FROM
    }
}

/// What the generator tells the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Sent(Message),
    Outcome(Message, Outcome),
    /// Heard by this device.
    Heard(u32, Message),
    /// Heard by this device with another body.
    Changed(u32, Message),
    /// Not one of ours, heard by this device.
    Alien(u32),
    /// Of another run, heard by this device.
    OtherRun(u32),
    Note(u32, Note),
}

pub(crate) fn message(from: u32, conversation: u32, counter: u64) -> Message {
    Message { from: DeviceIndex(from), conversation: ConversationIndex(conversation), counter }
}

/// Every device that must hear the message.
pub(crate) fn due(message: Message) -> impl Iterator<Item = u32> {
    let devices = Table.devices_in(message.conversation).into_iter();
    devices.filter(move |device| *device != message.from).map(|device| device.0)
}

/// A message that goes well everywhere.
pub(crate) fn good(message: Message) -> Vec<Line> {
    let mut lines = vec![Line::Sent(message), Line::Outcome(message, Outcome::Accepted)];
    lines.extend(due(message).map(|device| Line::Heard(device, message)));
    lines
}

pub(crate) fn run_info(rules: Rules) -> RunInfo {
    RunInfo { run: RUN, seed: 1, population: Table.digest(), rules }
}

/// The time of a line: its number in milliseconds, from 1.
pub(crate) fn at_ns(line: usize) -> u64 {
    (line as u64 + 1) * 1_000_000
}

/// What a device sends: due half a millisecond before it is sent.
pub(crate) fn header(run: u64, message: Message, at_ns: u64) -> Header {
    let Message { from, conversation, counter } = message;
    Header { run, from, conversation, counter, intended_ns: at_ns - 500_000 }
}

pub(crate) fn tell(ledger: &Ledger, line: Line, at_ns: u64) {
    let mut payload = BytesMut::new();
    match line {
        Line::Sent(message) => ledger.sent(&header(RUN, message, at_ns), at_ns),
        Line::Outcome(message, outcome) => ledger.outcome(message, outcome, at_ns),
        Line::Heard(device, message) => {
            content::write(&header(RUN, message, at_ns), b"body", &mut payload);
            let heard = ledger.heard(DeviceIndex(device), &payload, at_ns);
            assert_eq!(heard.unwrap().message(), message);
        }
        Line::Changed(device, message) => {
            content::write(&header(RUN, message, at_ns), b"body", &mut payload);
            payload[content::HEADER_BYTES] ^= 1;
            ledger.heard(DeviceIndex(device), &payload, at_ns).unwrap_err();
        }
        Line::Alien(device) => {
            ledger.heard(DeviceIndex(device), b"hello", at_ns).unwrap_err();
        }
        Line::OtherRun(device) => {
            content::write(&header(RUN + 1, message(0, 0, 0), at_ns), b"body", &mut payload);
            ledger.heard(DeviceIndex(device), &payload, at_ns).unwrap();
        }
        Line::Note(device, note) => ledger.note(DeviceIndex(device), note, at_ns),
    }
}

/// A ledger with these lines; `None` is one whose generator says nothing at its end.
pub(crate) fn write(lines: &[Line], rules: Rules, end: Option<End>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "local", &run_info(rules)).unwrap();
    for (number, line) in lines.iter().enumerate() {
        tell(&ledger, *line, at_ns(number));
    }
    if let Some(end) = end {
        ledger.finish(end, at_ns(lines.len())).unwrap();
    }
    drop(ledger);
    folder
}

pub(crate) fn judge(folder: &TempDir) -> Verdict {
    ledger::verify(folder.path(), &Table, &mut |_| ()).unwrap()
}

/// The verdict over these lines.
pub(crate) fn verdict(lines: &[Line], rules: Rules, end: Option<End>) -> Verdict {
    judge(&write(lines, rules, end))
}
