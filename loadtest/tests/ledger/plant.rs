//! Each kind of violation, planted in a run that went well, is found with its history.

use loadtest::ledger::{
    End, Happening, Kind, Ledger, Message, Note, Outcome, OwnCopies, Rules, Verdict,
};
use loadtest::population::DeviceIndex;

use super::table::{
    Line, Table, at_ns, due, good, header, judge, message, run_info, tell, verdict, write,
};

/// Twelve messages from three devices into all four conversations, in one order everywhere.
fn clean() -> Vec<Line> {
    let mut lines = Vec::new();
    for counter in 0..3 {
        for (from, conversation) in [(0, 0), (1, 1), (2, 2), (0, 3)] {
            lines.extend(good(message(from, conversation, counter)));
        }
    }
    lines
}

fn planted(change: impl FnOnce(&mut Vec<Line>)) -> Verdict {
    let mut lines = clean();
    change(&mut lines);
    verdict(&lines, Rules::POSTHORN, Some(End::Drained))
}

fn place(lines: &[Line], line: Line) -> usize {
    lines.iter().position(|other| *other == line).unwrap()
}

/// Exactly these kinds are found, so often, each told and the first with this in its sentence.
#[track_caller]
fn check(verdict: &Verdict, kinds: &[(Kind, u64)], says: &str) {
    assert_eq!(verdict.found(), kinds, "{verdict:#?}");
    assert_eq!(verdict.violations.len() as u64, verdict.violation_count());
    assert_eq!(verdict.violations[0].kind, kinds[0].0);
    assert_eq!(verdict.violations[0].says, says);
    assert!(!verdict.is_clean());
    assert_eq!(verdict.due, verdict.delivered + verdict.lost + verdict.pending);
}

/// What is told of the first violation, without the times.
fn history(verdict: &Verdict) -> Vec<String> {
    let history = &verdict.violations[0].history;
    assert!(history.is_sorted_by_key(|event| event.at_ns));
    history.iter().map(loadtest::ledger::Event::says).collect()
}

#[test]
fn a_run_that_went_well_is_clean_and_complete() {
    let verdict = planted(|_| ());
    assert_eq!(verdict.found(), []);
    assert!(verdict.is_clean() && verdict.is_complete());
    // To conversations of 3, 4, 5 and 8 devices, each without the sender.
    let due = 3 * (2 + 3 + 4 + 7);
    let expected = Verdict {
        end: End::Drained,
        sent: 12,
        accepted: 12,
        due,
        delivered: due,
        heard: due,
        order_pairs: verdict.order_pairs,
        ..Verdict::default()
    };
    assert_eq!(verdict, expected);
    // Two groups of 5 and 8 devices; two users of two devices and one of three.
    assert_eq!(verdict.order_pairs, 5 + 8 + 1 + 1 + 3);
}

#[test]
fn lost() {
    let verdict = planted(|lines| {
        let gone = place(lines, Line::Heard(2, message(0, 0, 1)));
        lines[gone] = Line::Note(2, Note::Disconnected);
        lines.insert(0, Line::Note(2, Note::Connected));
        lines.push(Line::Note(2, Note::CaughtUp));
    });
    let says = "device 2 of user 1 never got message 1 of device 0 of user 0 in conversation 0, \
                which was accepted at 0.027000 s";
    check(&verdict, &[(Kind::Lost, 1)], says);
    assert_eq!(
        history(&verdict),
        [
            "device 2: connected",
            "device 2: delivered: message 0 of device 0 in conversation 0",
            "device 0: message 1 to conversation 0 intended",
            "device 0: message 1 to conversation 0 sent",
            "device 0: message 1 to conversation 0 accepted",
            "device 1: delivered: message 1 of device 0 in conversation 0",
            "device 2: disconnected",
            "device 2: delivered: message 2 of device 0 in conversation 0",
            "device 2: caught up",
        ]
    );
    let first = &verdict.violations[0];
    assert_eq!(first.device, Some(DeviceIndex(2)));
    assert_eq!(first.message, Some(message(0, 0, 1)));
    assert_eq!(first.history[2].at_ns + 500_000, first.history[3].at_ns);
}

#[test]
fn lost_at_every_device() {
    let verdict = planted(|lines| {
        lines.retain(|line| !matches!(line, Line::Heard(_, it) if *it == message(2, 2, 2)));
    });
    assert_eq!(verdict.found(), [(Kind::Lost, 4)]);
    let devices: Vec<_> = verdict.violations.iter().map(|it| it.device.unwrap().0).collect();
    assert_eq!(devices, [0, 1, 3, 4]);
}

#[test]
fn duplicated() {
    let verdict = planted(|lines| {
        lines.push(Line::Note(4, Note::Connected));
        lines.push(Line::Heard(4, message(2, 2, 0)));
    });
    let says = "device 4 of user 2 got message 0 of device 2 of user 1 in group 2 again at \
                0.074000 s";
    check(&verdict, &[(Kind::Duplicated, 1)], says);
    let history = history(&verdict);
    let arrived = "device 4: delivered: message 0 of device 2 in conversation 2";
    assert_eq!(history.iter().filter(|line| *line == arrived).count(), 2);
    assert_eq!(history[history.len() - 2..], ["device 4: connected", arrived]);
}

#[test]
fn reordered() {
    let verdict = planted(|lines| {
        let first = place(lines, Line::Heard(2, message(0, 0, 0)));
        let second = place(lines, Line::Heard(2, message(0, 0, 1)));
        lines.swap(first, second);
    });
    let says = "device 2 of user 1 got message 0 of device 0 of user 0 in conversation 0 at \
                0.028000 s, after number 1";
    check(&verdict, &[(Kind::Reordered, 1)], says);
    assert_eq!(verdict.violations[0].other, Some(message(0, 0, 1)));
    let arrivals: Vec<_> = verdict.violations[0]
        .history
        .iter()
        .filter(|event| event.what == Happening::Delivered && event.device == DeviceIndex(2))
        .map(|event| event.message.unwrap().counter)
        .collect();
    assert_eq!(arrivals, [1, 0]);
}

#[test]
fn corrupted_and_so_lost() {
    let verdict = planted(|lines| {
        let sound = place(lines, Line::Heard(2, message(0, 0, 2)));
        lines[sound] = Line::Changed(2, message(0, 0, 2));
    });
    assert_eq!(verdict.found(), [(Kind::Lost, 1), (Kind::Corrupted, 1)]);
    assert_eq!(
        verdict.violations[1].says,
        "device 2 of user 1 got what claims to be message 2 of device 0 of user 0 in conversation \
         0, but was changed at 0.052000 s"
    );
    for violation in &verdict.violations {
        let what: Vec<_> = violation.history.iter().map(|event| event.what).collect();
        assert!(what.contains(&Happening::Corrupted) && what.contains(&Happening::Accepted));
    }
}

#[test]
fn corrupted_beyond_recognition() {
    let verdict = planted(|lines| lines.push(Line::Alien(6)));
    let says = "device 6 of user 3 got a payload that nobody sent at 0.073000 s, or a changed one";
    check(&verdict, &[(Kind::Corrupted, 1)], says);
    assert_eq!(history(&verdict), ["device 6: corrupted"]);
}

#[test]
fn delivered_to_a_stranger() {
    let verdict = planted(|lines| lines.push(Line::Heard(3, message(0, 0, 2))));
    let says = "device 3 of user 2 got message 2 of device 0 of user 0 in conversation 0 at \
                0.073000 s, but is no recipient of it";
    check(&verdict, &[(Kind::Misdelivered, 1)], says);
    assert!(history(&verdict).iter().any(|line| line.starts_with("device 2: delivered")));
}

#[test]
fn delivered_to_the_device_that_sent_it() {
    let verdict = planted(|lines| lines.push(Line::Heard(0, message(0, 0, 2))));
    assert_eq!(verdict.found(), [(Kind::Misdelivered, 1)]);
}

#[test]
fn rejected_but_delivered() {
    for outcome in [Outcome::Rejected, Outcome::NotSent] {
        let verdict = planted(|lines| {
            let answer = place(lines, Line::Outcome(message(0, 0, 2), Outcome::Accepted));
            lines[answer] = Line::Outcome(message(0, 0, 2), outcome);
        });
        let says = "device 1 of user 0 got message 2 of device 0 of user 0 in conversation 0, \
                    which was rejected";
        check(&verdict, &[(Kind::RejectedArrived, 2)], says);
        let rejected = u64::from(outcome == Outcome::Rejected);
        assert_eq!((verdict.rejected, verdict.not_sent), (rejected, 1 - rejected));
        assert_eq!(verdict.sent, 11 + rejected);
    }
}

#[test]
fn rejected_and_never_delivered_is_fine() {
    let verdict = planted(|lines| {
        for counter in 3..9 {
            lines.push(Line::Sent(message(0, 0, counter)));
            lines.push(Line::Outcome(message(0, 0, counter), Outcome::Rejected));
        }
        lines.extend(good(message(0, 0, 9)));
    });
    assert!(verdict.is_clean());
    assert_eq!((verdict.sent, verdict.accepted, verdict.rejected), (19, 13, 6));
}

#[test]
fn delivered_but_never_sent() {
    let verdict = planted(|lines| lines.push(Line::Heard(2, message(0, 0, 9))));
    let says = "device 2 of user 1 got message 9 of device 0 of user 0 in conversation 0, which \
                was never sent";
    check(&verdict, &[(Kind::Invented, 1)], says);
    // A device that is not in the conversation cannot have sent it, nor one that is not there.
    for impossible in [message(7, 0, 0), message(0, 99, 0), message(99, 0, 0)] {
        let verdict = planted(|lines| lines.push(Line::Heard(2, impossible)));
        assert_eq!(verdict.found(), [(Kind::Invented, 1)]);
    }
}

#[test]
fn accepted_and_rejected() {
    let verdict = planted(|lines| {
        lines.push(Line::Outcome(message(0, 0, 2), Outcome::Rejected));
    });
    let says = "message 2 of device 0 of user 0 in conversation 0 was both accepted and rejected, \
                the second at 0.073000 s";
    check(&verdict, &[(Kind::Contradicted, 1)], says);
    assert_eq!((verdict.accepted, verdict.rejected), (12, 0));
}

#[test]
fn two_bodies_under_one_id() {
    let verdict = planted(|lines| lines.push(Line::Note(6, Note::Conflict)));
    check(
        &verdict,
        &[(Kind::Conflict, 1)],
        "device 6 of user 3 got two bodies under one id at 0.073000 s",
    );
}

#[test]
fn two_orders_in_one_mailbox() {
    // Messages of different senders and conversations, so that nothing else is wrong.
    let swap = |lines: &mut Vec<Line>| {
        lines.extend(good(message(2, 0, 0)));
        lines.extend(good(message(3, 1, 0)));
        let first = place(lines, Line::Heard(1, message(2, 0, 0)));
        let second = place(lines, Line::Heard(1, message(3, 1, 0)));
        lines.swap(first, second);
    };
    let verdict = planted(swap);
    let says = "device 1 of user 0 got message 0 of device 2 of user 1 in conversation 0 after \
                message 0 of device 3 of user 2 in conversation 1; device 0 of user 0 of the same \
                user got it before";
    check(&verdict, &[(Kind::MailboxDisordered, 1)], says);
    let mut lines = clean();
    swap(&mut lines);
    let rules = Rules { mailbox_order: false, ..Rules::POSTHORN };
    let verdict = super::table::verdict(&lines, rules, Some(End::Drained));
    assert!(verdict.is_clean());
}

#[test]
fn two_orders_in_one_group() {
    let verdict = planted(|lines| {
        // Device 2 is the only one of its user: its mailbox has nothing to be compared with.
        lines.extend(good(message(3, 2, 0)));
        lines.extend(good(message(0, 2, 0)));
        let first = place(lines, Line::Heard(2, message(3, 2, 0)));
        let second = place(lines, Line::Heard(2, message(0, 2, 0)));
        lines.swap(first, second);
    });
    // Its other neighbour sent one of the two, and so heard only one.
    let says = "device 2 of user 1 got message 0 of device 3 of user 2 in group 2 after message 0 \
                of device 0 of user 0 in group 2; device 1 of user 0 of the same group got it \
                before";
    check(&verdict, &[(Kind::GroupDisordered, 1)], says);
    let concerned: Vec<_> = history(&verdict)
        .into_iter()
        .filter(|line| line.starts_with("device 1: ") || line.starts_with("device 2: "))
        .collect();
    let order = |device, from| {
        let line =
            format!("device {device}: delivered: message 0 of device {from} in conversation 2");
        concerned.iter().position(|it| *it == line).unwrap()
    };
    assert!(order(1, 3) < order(1, 0) && order(2, 3) > order(2, 0));
}

#[test]
fn what_came_to_a_wrong_device_is_not_also_out_of_order() {
    let rules = Rules { own_copies: OwnCopies::Forbidden, ..Rules::POSTHORN };
    let own = |line: &Line| matches!(line, Line::Heard(1, it) if it.from.0 == 0);
    let mut lines = good(message(2, 2, 0));
    lines.extend(good(message(0, 2, 0)));
    lines.retain(|line| !own(line));
    lines.insert(0, Line::Heard(1, message(0, 2, 0)));
    let verdict = super::table::verdict(&lines, rules, Some(End::Drained));
    assert_eq!(verdict.found(), [(Kind::Misdelivered, 1)]);
}

#[test]
fn an_unknown_outcome_may_arrive_once_or_not_at_all() {
    let unknown = message(0, 3, 2);
    for answer in [None, Some(Outcome::Unknown)] {
        for arrivals in [0, 1, 5] {
            let verdict = planted(|lines| {
                lines.retain(|line| match line {
                    Line::Outcome(it, _) => *it != unknown,
                    Line::Heard(device, it) => *it != unknown || *device <= arrivals,
                    Line::Sent(_)
                    | Line::Changed(..)
                    | Line::Alien(_)
                    | Line::OtherRun(_)
                    | Line::Note(..) => true,
                });
                lines.extend(answer.map(|answer| Line::Outcome(unknown, answer)));
            });
            assert!(verdict.is_clean(), "{verdict:#?}");
            assert_eq!((verdict.accepted, verdict.unknown), (11, 1));
            assert_eq!(verdict.unknown_arrived, u64::from(arrivals > 0));
            assert_eq!(verdict.due, verdict.delivered);
        }
    }
}

#[test]
fn an_unknown_outcome_may_not_arrive_twice() {
    let verdict = planted(|lines| {
        lines.retain(|line| *line != Line::Outcome(message(0, 0, 2), Outcome::Accepted));
        lines.push(Line::Heard(2, message(0, 0, 2)));
    });
    assert_eq!(verdict.found(), [(Kind::Duplicated, 1)]);
}

#[test]
fn accepted_after_all_counts_as_accepted() {
    let verdict = planted(|lines| {
        let answer = place(lines, Line::Outcome(message(0, 0, 2), Outcome::Accepted));
        lines.insert(answer, Line::Outcome(message(0, 0, 2), Outcome::Unknown));
    });
    assert!(verdict.is_clean());
    assert_eq!((verdict.accepted, verdict.unknown), (12, 0));
}

#[test]
fn what_is_left_of_another_run_is_no_violation() {
    let verdict = planted(|lines| lines.push(Line::OtherRun(3)));
    assert!(verdict.is_clean());
    assert_eq!(verdict.other_run, 1);
}

#[test]
fn what_was_on_its_way_when_the_run_was_interrupted_is_not_judged() {
    let mut lines = clean();
    let gap = place(&lines, Line::Heard(2, message(0, 0, 1)));
    let tail = place(&lines, Line::Heard(4, message(1, 1, 2)));
    lines.remove(tail);
    for (end, lost, pending) in
        [(Some(End::Drained), 2, 0), (Some(End::Interrupted), 1, 1), (None, 1, 1)]
    {
        let mut lines = lines.clone();
        lines.remove(gap);
        let verdict = verdict(&lines, Rules::POSTHORN, end);
        assert_eq!((verdict.lost, verdict.pending), (lost, pending), "{end:?}");
        assert_eq!(verdict.end, end.unwrap_or(End::Cut));
    }
}

#[test]
fn a_device_that_was_drained_is_judged_though_another_did_not_come_back() {
    let mut lines = clean();
    lines.retain(|line| !matches!(line, Line::Heard(2 | 4, it) if it.counter == 2));
    for (end, pending) in [(Some(End::Interrupted), 3), (None, 3), (Some(End::Drained), 0)] {
        let mut lines = lines.clone();
        lines.push(Line::Note(2, Note::Drained));
        // Device 2 misses two: of device 0 in conversations 0 and 3; device 4 misses three.
        let verdict = verdict(&lines, Rules::POSTHORN, end);
        assert_eq!((verdict.lost, verdict.pending), (5 - pending, pending), "{end:?}");
        assert!(verdict.violations[0].history.iter().any(|it| it.what == Happening::Drained));
    }
}

#[test]
fn copies_for_the_sender_are_judged_by_the_rules() {
    let own_copy = |line: &Line| matches!(line, Line::Heard(1, it) if *it == message(0, 0, 1));
    let with = good(message(0, 0, 0));
    let with = [with, good(message(0, 0, 1))].concat();
    let without: Vec<_> = with.iter().copied().filter(|line| !own_copy(line)).collect();
    let found = |lines: &[Line], own_copies| {
        let rules = Rules { own_copies, ..Rules::POSTHORN };
        verdict(lines, rules, Some(End::Drained)).found()
    };
    assert_eq!(found(&with, OwnCopies::Due), []);
    assert_eq!(found(&without, OwnCopies::Due), [(Kind::Lost, 1)]);
    assert_eq!(found(&with, OwnCopies::Allowed), []);
    assert_eq!(found(&without, OwnCopies::Allowed), []);
    assert_eq!(found(&with, OwnCopies::Forbidden), [(Kind::Misdelivered, 2)]);
    assert_eq!(found(&without, OwnCopies::Forbidden), [(Kind::Misdelivered, 1)]);
}

#[test]
fn at_most_a_hundred_are_told_and_no_kind_is_forgotten() {
    let verdict = planted(|lines| {
        for _ in 0..300 {
            lines.push(Line::Heard(2, message(0, 0, 0)));
        }
        lines.retain(|line| *line != Line::Heard(7, message(0, 3, 2)));
    });
    assert_eq!(verdict.found(), [(Kind::Lost, 1), (Kind::Duplicated, 300)]);
    assert_eq!(verdict.violations.len(), 100);
    assert_eq!(verdict.violations[0].kind, Kind::Lost);
}

#[test]
fn the_verdict_survives_json() {
    let verdict = planted(|lines| lines.push(Line::Heard(3, message(0, 0, 2))));
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn what_the_generator_wrote_wrong_is_said() {
    let verdict = planted(|lines| {
        lines.push(Line::Sent(message(0, 0, 0)));
        lines.push(Line::Sent(message(7, 0, 0)));
        lines.push(Line::Outcome(message(0, 0, 9), Outcome::Accepted));
        lines.push(Line::Heard(99, message(0, 0, 0)));
    });
    assert_eq!(verdict.flaws.len(), 4);
    assert!(!verdict.is_complete());
}

#[test]
fn several_agents_are_judged_together() {
    let lines = clean();
    let device = |line: &Line| match line {
        Line::Sent(message) | Line::Outcome(message, _) => message.from.0,
        Line::Heard(device, _)
        | Line::Changed(device, _)
        | Line::Alien(device)
        | Line::OtherRun(device)
        | Line::Note(device, _) => *device,
    };
    for (last_end, complete) in [(Some(End::Drained), true), (None, false)] {
        let folder = tempfile::tempdir().unwrap();
        for (name, mine) in [("agent-2", 0..3), ("agent-1", 3..8)] {
            let info = run_info(Rules::POSTHORN);
            let ledger = Ledger::create(folder.path(), name, &info).unwrap();
            for (number, line) in lines.iter().enumerate() {
                if mine.contains(&device(line)) {
                    tell(&ledger, *line, at_ns(number));
                }
            }
            let end = if mine.start == 0 { last_end } else { Some(End::Drained) };
            end.map(|end| ledger.finish(end, at_ns(lines.len())).unwrap());
        }
        let verdict = judge(&folder);
        assert_eq!((verdict.is_clean(), verdict.is_complete()), (true, complete));
        assert_eq!((verdict.sent, verdict.due), (12, verdict.delivered));
    }
}

#[test]
fn nothing_is_taken_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "local", &run_info(Rules::POSTHORN)).unwrap();
    let late = ledger.clone();
    ledger.finish(End::Drained, 1).unwrap();
    late.sent(&header(super::table::RUN, message(0, 0, 0), 1_000_000), 2);
    assert_eq!((late.written().records, late.written().dropped), (1, 1));
    assert_eq!(judge(&folder).sent, 0);
}

#[test]
fn a_ledger_is_not_overwritten() {
    let folder = write(&clean(), Rules::POSTHORN, Some(End::Drained));
    Ledger::create(folder.path(), "local", &run_info(Rules::POSTHORN)).unwrap_err();
    assert_eq!(judge(&folder).sent, 12);
}

#[test]
fn another_population_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let info = loadtest::ledger::RunInfo { population: 6, ..run_info(Rules::POSTHORN) };
    Ledger::create(folder.path(), "local", &info).unwrap().finish(End::Drained, 1).unwrap();
    let error = loadtest::ledger::verify(folder.path(), &Table, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("is of the population 0000000000000006"), "{error}");
    assert_eq!(loadtest::ledger::run_of(folder.path()).unwrap(), info);
}

#[test]
fn every_device_keeps_the_order_in_which_it_heard_from_any_thread() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "local", &run_info(Rules::POSTHORN)).unwrap();
    const MESSAGES: u64 = 20_000;
    let senders = [(0, 0), (1, 1), (2, 2), (3, 3)];
    std::thread::scope(|scope| {
        for (from, conversation) in senders {
            let ledger = &ledger;
            scope.spawn(move || {
                for counter in 0..MESSAGES {
                    let message: Message = message(from, conversation, counter);
                    let header = header(super::table::RUN, message, 1_000_000);
                    ledger.sent(&header, 1_000_000);
                    ledger.outcome(message, Outcome::Accepted, 2_000_000);
                    for device in due(message) {
                        ledger.delivered(DeviceIndex(device), &header, 3_000_000);
                    }
                }
            });
        }
    });
    ledger.finish(End::Drained, 4_000_000).unwrap();
    let rules_hold = judge(&folder);
    // The threads mix differently at each device, so only the order of streams is the same.
    assert_eq!((rules_hold.lost, rules_hold.duplicated, rules_hold.reordered), (0, 0, 0));
    assert_eq!(rules_hold.delivered, MESSAGES * (2 + 3 + 4 + 7));
}
