//! The judgement against a plain one over random histories: slow, obvious, and of the same opinion.

use std::collections::{BTreeMap, BTreeSet};

use loadtest::{
    ledger::{End, Members, Message, Outcome, OwnCopies, Rules, Verdict},
    population::{DeviceIndex, UserIndex},
};
use proptest::prelude::*;

use super::table::{Line, Table, due, message, verdict};

/// A device that can send into a conversation.
const SENDERS: [(u32, u32); 8] = [(0, 0), (2, 0), (1, 1), (3, 1), (0, 2), (2, 2), (4, 3), (7, 3)];

/// One step of a history, with numbers to be fitted to what happened before.
#[derive(Clone, Debug)]
enum Step {
    /// A message is sent, accepted, and heard by all it is due at, but maybe one.
    Good {
        sender: usize,
        but: Option<u32>,
    },
    Sent {
        sender: usize,
    },
    Outcome {
        of: usize,
        outcome: Outcome,
    },
    /// One of those sent is heard somewhere.
    Heard {
        of: usize,
        device: u32,
    },
    /// Something is heard that may never have been sent.
    Strange {
        from: u32,
        conversation: u32,
        counter: u64,
        device: u32,
    },
    /// Two lines change places.
    Swap {
        first: usize,
        second: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let sender = 0..SENDERS.len();
    let outcome = prop_oneof![
        3 => Just(Outcome::Accepted),
        1 => Just(Outcome::Rejected),
        1 => Just(Outcome::Unknown),
        1 => Just(Outcome::NotSent),
    ];
    prop_oneof![
        12 => (sender.clone(), prop::option::weighted(0.1, 0..8_u32))
            .prop_map(|(sender, but)| Step::Good { sender, but }),
        3 => sender.prop_map(|sender| Step::Sent { sender }),
        4 => (0..1000_usize, outcome).prop_map(|(of, outcome)| Step::Outcome { of, outcome }),
        6 => (0..1000_usize, 0..8_u32).prop_map(|(of, device)| Step::Heard { of, device }),
        1 => (0..9_u32, 0..5_u32, 0..6_u64, 0..8_u32).prop_map(
            |(from, conversation, counter, device)| Step::Strange {
                from, conversation, counter, device
            }
        ),
        4 => (0..1000_usize, 0..1000_usize)
            .prop_map(|(first, second)| Step::Swap { first, second }),
    ]
}

fn lines(steps: &[Step]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut sent: Vec<Message> = Vec::new();
    let next = |sender: usize, sent: &mut Vec<Message>| {
        let (from, conversation) = SENDERS[sender];
        let is_of = |it: &&Message| (it.from.0, it.conversation.0) == (from, conversation);
        let counter = sent.iter().filter(is_of).count() as u64;
        sent.push(message(from, conversation, counter));
        message(from, conversation, counter)
    };
    for step in steps {
        match *step {
            Step::Good { sender, but } => {
                let message = next(sender, &mut sent);
                lines.push(Line::Sent(message));
                lines.push(Line::Outcome(message, Outcome::Accepted));
                let heard = due(message).filter(|device| Some(*device) != but);
                lines.extend(heard.map(|device| Line::Heard(device, message)));
            }
            Step::Sent { sender } => lines.push(Line::Sent(next(sender, &mut sent))),
            Step::Outcome { of, outcome } if !sent.is_empty() => {
                lines.push(Line::Outcome(sent[of % sent.len()], outcome));
            }
            Step::Heard { of, device } if !sent.is_empty() => {
                lines.push(Line::Heard(device, sent[of % sent.len()]));
            }
            Step::Strange { from, conversation, counter, device } => {
                lines.push(Line::Heard(device, message(from, conversation, counter)));
            }
            Step::Swap { first, second } if !lines.is_empty() => {
                let len = lines.len();
                // Near each other, so that some order is left.
                lines.swap(first % len, (first + second % 12) % len);
            }
            Step::Outcome { .. } | Step::Heard { .. } | Step::Swap { .. } => (),
        }
    }
    lines
}

/// What the plain judgement knows.
struct Model {
    rules: Rules,
    end: End,
    sent: BTreeSet<Message>,
    accepted: BTreeSet<Message>,
    rejected: BTreeSet<Message>,
    not_sent: BTreeSet<Message>,
    /// By device, each where it first arrived.
    heard: BTreeMap<u32, Vec<Message>>,
    /// Those in which something happened.
    groups: BTreeSet<u32>,
}

fn possible(message: Message) -> bool {
    message.conversation.place() < Table.conversation_count()
        && Table.devices_in(message.conversation).contains(&message.from)
}

fn user_of(device: u32) -> UserIndex {
    Table.user_of(DeviceIndex(device))
}

impl Model {
    fn own_copy(message: Message, device: u32) -> bool {
        user_of(message.from.0) == user_of(device)
    }

    fn may_hear(&self, message: Message, device: u32) -> bool {
        let forbidden = self.rules.own_copies == OwnCopies::Forbidden;
        due(message).any(|it| it == device) && !(forbidden && Self::own_copy(message, device))
    }

    fn must_hear(&self, message: Message, device: u32) -> bool {
        let all = self.rules.own_copies == OwnCopies::Due;
        self.may_hear(message, device) && (all || !Self::own_copy(message, device))
    }

    fn judge(lines: &[Line], rules: Rules, end: End) -> Verdict {
        let mut model = Self {
            rules,
            end,
            sent: BTreeSet::new(),
            accepted: BTreeSet::new(),
            rejected: BTreeSet::new(),
            not_sent: BTreeSet::new(),
            heard: BTreeMap::new(),
            groups: BTreeSet::new(),
        };
        let mut verdict = Verdict { end, ..Verdict::default() };
        lines.iter().for_each(|line| model.take(*line, &mut verdict));
        verdict.contradicted = (&model.accepted & &model.rejected).len() as u64;
        let refused = &model.rejected - &model.accepted;
        verdict.sent = (model.sent.len() - model.not_sent.len()) as u64;
        verdict.not_sent = model.not_sent.len() as u64;
        verdict.accepted = model.accepted.len() as u64;
        verdict.rejected = (refused.len() as u64).saturating_sub(verdict.not_sent);
        let unknown = &(&model.sent - &model.accepted) - &model.rejected;
        verdict.unknown = unknown.len() as u64;
        model.missing(&mut verdict);
        let mut unknown_arrived = BTreeSet::new();
        for message in model.heard.values().flatten() {
            if unknown.contains(message) {
                unknown_arrived.insert(*message);
            }
            verdict.rejected_arrived += u64::from(refused.contains(message));
            if !model.sent.contains(message) {
                if end == End::Cut {
                    unknown_arrived.insert(*message);
                } else {
                    verdict.invented += 1;
                }
            }
        }
        verdict.unknown_arrived = unknown_arrived.len() as u64;
        model.orders(&mut verdict);
        verdict
    }

    fn take(&mut self, line: Line, verdict: &mut Verdict) {
        match line {
            Line::Sent(message) => {
                self.groups.insert(message.conversation.0);
                assert!(self.sent.insert(message));
            }
            Line::Outcome(message, outcome) => match outcome {
                Outcome::Accepted => drop(self.accepted.insert(message)),
                Outcome::Unknown => (),
                Outcome::Rejected => drop(self.rejected.insert(message)),
                Outcome::NotSent => {
                    if self.rejected.insert(message) {
                        self.not_sent.insert(message);
                    }
                }
            },
            Line::Heard(device, message) => self.hear(device, message, verdict),
            Line::Changed(..) | Line::Alien(_) | Line::OtherRun(_) | Line::Note(..) => {
                unreachable!("not in these histories")
            }
        }
    }

    fn hear(&mut self, device: u32, message: Message, verdict: &mut Verdict) {
        verdict.heard += 1;
        self.groups.insert(message.conversation.0);
        if !possible(message) {
            verdict.invented += 1;
            return;
        }
        if !self.may_hear(message, device) {
            verdict.misdelivered += 1;
            return;
        }
        let heard = self.heard.entry(device).or_default();
        if heard.contains(&message) {
            verdict.duplicated += 1;
            return;
        }
        let of_stream =
            |it: &&Message| (it.from, it.conversation) == (message.from, message.conversation);
        let before = heard.iter().rfind(of_stream);
        verdict.reordered += u64::from(before.is_some_and(|it| it.counter > message.counter));
        heard.push(message);
    }

    fn missing(&self, verdict: &mut Verdict) {
        let nothing = Vec::new();
        for message in &self.accepted {
            for device in due(*message).filter(|device| self.must_hear(*message, *device)) {
                verdict.due += 1;
                let heard = self.heard.get(&device).unwrap_or(&nothing);
                let passed_over = heard.iter().any(|it| {
                    (it.from, it.conversation) == (message.from, message.conversation)
                        && it.counter > message.counter
                });
                if heard.contains(message) {
                    verdict.delivered += 1;
                } else if self.end == End::Drained || passed_over {
                    verdict.lost += 1;
                } else {
                    verdict.pending += 1;
                }
            }
        }
    }

    fn orders(&self, verdict: &mut Verdict) {
        let everything = |_: &Message| true;
        if self.rules.mailbox_order {
            for user in 0..4 {
                let devices = Table.devices_of(UserIndex(user));
                let devices: Vec<u32> = (devices.start.0..devices.end.0).collect();
                verdict.mailbox_disordered +=
                    self.ring(&devices, &everything, &mut verdict.order_pairs);
            }
        }
        if !self.rules.group_order {
            return;
        }
        for group in [2, 3] {
            // A group in which nothing happened is not compared.
            let used = self.groups.contains(&group);
            let devices = Table.devices_in(message(0, group, 0).conversation);
            let devices: Vec<u32> = devices.into_iter().map(|device| device.0).collect();
            let of_group = |it: &Message| it.conversation.0 == group;
            let mut pairs = 0;
            verdict.group_disordered += self.ring(&devices, &of_group, &mut pairs);
            verdict.order_pairs += if used { pairs } else { 0 };
        }
    }

    fn ring(&self, devices: &[u32], which: &dyn Fn(&Message) -> bool, pairs: &mut u64) -> u64 {
        let count = match devices.len() {
            0 | 1 => 0,
            2 => 1,
            more => more,
        };
        *pairs += count as u64;
        let disagree = |place: &usize| {
            self.disagree(devices[*place], devices[(*place + 1) % devices.len()], which)
        };
        (0..count).filter(disagree).count() as u64
    }

    fn disagree(&self, first: u32, second: u32, which: &dyn Fn(&Message) -> bool) -> bool {
        let heard = |device| self.heard.get(&device).cloned().unwrap_or_default();
        let (first, second) = (heard(first), heard(second));
        let common = |mine: &[Message], theirs: &[Message]| -> Vec<Message> {
            mine.iter().filter(|it| which(it) && theirs.contains(it)).copied().collect()
        };
        common(&first, &second) != common(&second, &first)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    #[test]
    fn both_judgements_agree(
        steps in prop::collection::vec(step(), 0..40),
        end in prop_oneof![Just(End::Drained), Just(End::Interrupted), Just(End::Cut)],
        copies in prop_oneof![
            Just(OwnCopies::Due), Just(OwnCopies::Allowed), Just(OwnCopies::Forbidden)
        ],
        mailbox_order: bool,
        group_order: bool,
    ) {
        let lines = lines(&steps);
        let rules = Rules { own_copies: copies, mailbox_order, group_order };
        let mut found = verdict(&lines, rules, (end != End::Cut).then_some(end));
        prop_assert_eq!(found.violations.len() as u64, found.violation_count().min(100));
        for violation in &found.violations {
            prop_assert!(violation.history.is_sorted_by_key(|event| event.at_ns));
        }
        found.violations.clear();
        prop_assert_eq!(found, Model::judge(&lines, rules, end), "{:#?}", lines);
    }
}
