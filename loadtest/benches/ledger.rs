//! What the ledger costs: the generator for each record, and the judgement for each message.
//!
//! `cargo bench -p loadtest --bench ledger [-- MESSAGES]`: 3,000,000 messages unless said.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a measurement")]

use std::{env, fs, ops::Range, path::Path};

use bytes::BytesMut;
use loadtest::{
    clock::RunClock,
    ledger::{
        self, End, Ledger, Members, Message, Outcome, Rules, RunInfo,
        content::{self, Header},
    },
    population::{ConversationIndex, DeviceIndex, UserIndex},
};

const MESSAGES: u64 = 3_000_000;
const USERS: u32 = 5000;
/// Two devices each: every message is due at three.
const DEVICES: u32 = USERS * 2;
/// Each user talks to the next ten.
const CONTACTS: u32 = 10;
/// Sent, accepted, heard by three.
const RECORDS_PER_MESSAGE: u64 = 5;
const PAYLOAD_BYTES: usize = 256;
const RUN: u64 = 1;

fn main() {
    let asked = env::args().skip(1).find_map(|argument| argument.parse().ok());
    let messages = asked.unwrap_or(MESSAGES);
    println!("{USERS} users of 2 devices, {} conversations of two", USERS * CONTACTS);
    println!("payloads of {PAYLOAD_BYTES} bytes, {messages} messages, each due at 3 devices\n");
    payloads();
    for threads in [1, 2, 4] {
        write(messages / 4, threads, "");
    }
    let folder = write(messages, 1, ", to be judged");
    judge(folder.path(), messages);
}

/// What a payload costs by itself: it is written and read with or without a ledger.
fn payloads() {
    const TIMES: u64 = 1_000_000;
    let body = [0xAB; PAYLOAD_BYTES - content::HEADER_BYTES];
    let mut payload = BytesMut::with_capacity(PAYLOAD_BYTES);
    let clock = RunClock::start();
    for counter in 0..TIMES {
        payload.clear();
        content::write(&header(message(0, 0, counter)), &body, &mut payload);
    }
    let wrote = clock.now_ns();
    for _ in 0..TIMES {
        std::hint::black_box(content::read(std::hint::black_box(&payload)).unwrap());
    }
    let read = clock.now_ns() - wrote;
    let each = |ns: u64| ns as f64 / TIMES as f64;
    println!("payload       write {:.0} ns, read {:.0} ns", each(wrote), each(read));
}

/// Writes as fast as the ledger takes it.
fn write(messages: u64, threads: u64, purpose: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules::POSTHORN;
    let info = RunInfo { run: RUN, seed: 1, population: Many.digest(), rules };
    let ledger = Ledger::create(folder.path(), "local", &info).unwrap();
    let cpu = cpu_ns();
    let clock = RunClock::start();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let ledger = &ledger;
            scope.spawn(move || tell(ledger, clock, messages, thread, threads));
        }
    });
    let told_ns = clock.now_ns();
    let written = ledger.finish(End::Drained, clock.now_ns()).unwrap();
    let cpu = cpu_ns() - cpu;
    let records = written.records as f64;
    println!(
        "{threads} threads     {:.2} million records/s; {:.0} ns of each thread for a record, \
         {:.0} ns of CPU in all; {} waits, {:.1} ms{purpose}",
        records * 1e3 / told_ns as f64,
        told_ns as f64 * threads as f64 / records,
        cpu as f64 / records,
        written.waits,
        written.waited_ns as f64 / 1e6,
    );
    folder
}

/// Every thread has its own conversations, and hears what it sends.
fn tell(ledger: &Ledger, clock: RunClock, messages: u64, thread: u64, threads: u64) {
    let conversations = u64::from(USERS * CONTACTS);
    for number in (thread..messages).step_by(usize::try_from(threads).unwrap()) {
        // Neighbours in time are far from each other in the population, as in a run.
        let conversation = u32::try_from(number * 7919 % conversations).unwrap();
        let sender = conversation / CONTACTS * 2;
        let message = message(sender, conversation, number / conversations);
        let header = header(message);
        let now = clock.now_ns();
        ledger.sent(&header, now);
        ledger.outcome(message, Outcome::Accepted, now);
        let peer = Many.user_of(DeviceIndex(sender)).0 + 1 + conversation % CONTACTS;
        let peer = peer % USERS * 2;
        for device in [sender + 1, peer, peer + 1] {
            ledger.delivered(DeviceIndex(device), &header, now);
        }
    }
}

fn judge(folder: &Path, messages: u64) {
    let before = resident_mib();
    let clock = RunClock::start();
    let verdict = ledger::verify(folder, &Many, &mut |_| ()).unwrap();
    let took_ns = clock.now_ns();
    assert_eq!(verdict.sent, messages);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.reordered), (0, 0, 0));
    let bytes = fs::metadata(folder.join("ledger/local.ledger")).unwrap().len();
    println!(
        "judgement     {:.1} s for {:.0} MB: {:.0} ns for a record; peak memory {:.0} MiB, before \
         {before:.0}",
        took_ns as f64 / 1e9,
        bytes as f64 / 1e6,
        took_ns as f64 / (messages * RECORDS_PER_MESSAGE) as f64,
        status_mib("VmHWM:"),
    );
}

fn message(from: u32, conversation: u32, counter: u64) -> Message {
    Message { from: DeviceIndex(from), conversation: ConversationIndex(conversation), counter }
}

fn header(message: Message) -> Header {
    let Message { from, conversation, counter } = message;
    Header { run: RUN, from, conversation, counter, intended_ns: 0 }
}

/// CPU time of this process.
fn cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time, in ticks of 10 ms.
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
        * 10_000_000
}

fn resident_mib() -> f64 {
    status_mib("VmRSS:")
}

fn status_mib(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// A large population that needs no memory.
struct Many;

impl Members for Many {
    fn digest(&self) -> u64 {
        1
    }

    fn device_count(&self) -> usize {
        DEVICES as usize
    }

    fn conversation_count(&self) -> usize {
        (USERS * CONTACTS) as usize
    }

    fn user_of(&self, device: DeviceIndex) -> UserIndex {
        UserIndex(device.0 / 2)
    }

    fn devices_of(&self, user: UserIndex) -> Range<DeviceIndex> {
        DeviceIndex(user.0 * 2)..DeviceIndex(user.0 * 2 + 2)
    }

    fn devices_in(&self, conversation: ConversationIndex) -> Vec<DeviceIndex> {
        let user = conversation.0 / CONTACTS;
        let peer = (user + 1 + conversation.0 % CONTACTS) % USERS;
        let (low, high) = (user.min(peer), user.max(peer));
        [low, high].iter().flat_map(|user| [user * 2, user * 2 + 1]).map(DeviceIndex).collect()
    }

    fn is_group(&self, _: ConversationIndex) -> bool {
        false
    }
}
