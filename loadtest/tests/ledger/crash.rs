//! A generator that is killed, and files that end anywhere.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use loadtest::ledger::{self, End, Ledger, Outcome, Rules, Verdict};

use super::table::{Line, Table, at_ns, due, good, judge, message, run_info, tell, write};

/// Set for the child: where to write.
const FOLDER: &str = "LOADTEST_LEDGER_CHILD";

#[test]
fn what_a_killed_generator_wrote_is_judged_and_nothing_is_invented() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut written = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(said) = line.unwrap().strip_prefix("written ") {
            written = said.parse().unwrap();
        }
        if written > 100_000 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let verdict = judge(&folder);
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(!verdict.is_complete());
    assert_eq!(verdict.end, End::Cut);
    assert!(verdict.sent + verdict.accepted + verdict.heard >= written);
    assert_eq!(verdict.sent, verdict.accepted + verdict.unknown);
}

/// The generator to be killed: it writes until then.
#[test]
#[ignore = "started by another test"]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let ledger = Ledger::create(Path::new(&folder), "local", &run_info(Rules::POSTHORN)).unwrap();
    let mut said = 0;
    for counter in 0.. {
        for line in good(message(0, 3, counter)) {
            tell(&ledger, line, at_ns(usize::try_from(counter).unwrap()));
        }
        let written = ledger.written().records;
        if written > said {
            said = written;
            println!("written {written}");
        }
    }
}

/// A ledger of several batches, with what must be left when it is cut off after each.
fn batches() -> (tempfile::TempDir, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "local", &run_info(Rules::POSTHORN)).unwrap();
    let mut ends = vec![ledger.written().bytes];
    let mut told = 0;
    for counter in 0..3 {
        // Only what is sent and answered first; then what is heard.
        let (heard, own): (Vec<_>, Vec<_>) = good(message(0, 2, counter))
            .into_iter()
            .partition(|line| matches!(line, Line::Heard(..)));
        for lines in [own, heard] {
            for line in &lines {
                tell(&ledger, *line, at_ns(told));
                told += 1;
            }
            while ledger.written().records < told as u64 {
                std::thread::yield_now();
            }
            ends.push(ledger.written().bytes);
        }
    }
    let written = ledger.finish(End::Drained, at_ns(told)).unwrap();
    ends.push(written.bytes);
    (folder, ends)
}

fn cut(folder: &tempfile::TempDir, bytes: &[u8]) -> anyhow::Result<Verdict> {
    fs::write(folder.path().join("ledger/local.ledger"), bytes).unwrap();
    ledger::verify(folder.path(), &Table, &mut |_| ())
}

#[test]
fn a_file_that_ends_anywhere_is_judged_up_to_its_last_whole_batch() {
    let (folder, ends) = batches();
    let whole = fs::read(folder.path().join("ledger/local.ledger")).unwrap();
    assert_eq!(whole.len() as u64, *ends.last().unwrap());
    let per_message = due(message(0, 2, 0)).count() as u64;
    for len in 0..whole.len() {
        let verdict = cut(&folder, &whole[..len]);
        let len = len as u64;
        if len < ends[0] {
            let error = verdict.unwrap_err().to_string();
            assert!(error.contains("nothing was written down"), "{error}");
            continue;
        }
        let verdict = verdict.unwrap();
        let kept = *ends.iter().rfind(|end| **end <= len).unwrap();
        assert!(verdict.is_clean() && !verdict.is_complete(), "{verdict:#?}");
        assert_eq!(verdict.end, End::Cut);
        let torn: Vec<_> = verdict.torn.iter().map(|torn| (torn.at, torn.bytes)).collect();
        let expected = if kept == len { vec![] } else { vec![(kept, len - kept)] };
        assert_eq!(torn, expected);
        if let Some(batch) = ends.iter().position(|end| *end == kept).filter(|at| *at < 7) {
            let batch = batch as u64;
            assert_eq!(verdict.accepted, batch.div_ceil(2));
            assert_eq!(verdict.delivered, batch / 2 * per_message);
            assert_eq!(verdict.pending, batch % 2 * per_message);
        }
    }
    assert!(cut(&folder, &whole).unwrap().is_complete());
}

#[test]
fn a_changed_byte_anywhere_is_noticed_and_never_taken_for_a_violation() {
    let (folder, ends) = batches();
    let whole = fs::read(folder.path().join("ledger/local.ledger")).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        match cut(&folder, &changed) {
            Err(_) => assert!((at as u64) < ends[0], "only the head is needed for all"),
            Ok(verdict) => {
                assert!(verdict.is_clean() && !verdict.is_complete(), "{at}: {verdict:#?}");
                assert_eq!(verdict.torn.len(), 1);
            }
        }
    }
}

#[test]
fn a_message_whose_send_was_cut_off_is_of_unknown_outcome() {
    let lines = [Line::Heard(2, message(0, 0, 0)), Line::Heard(1, message(0, 0, 0))];
    let verdict = judge(&write(&lines, Rules::POSTHORN, None));
    assert!(verdict.is_clean());
    assert_eq!((verdict.sent, verdict.unknown_arrived), (0, 1));
    let verdict = judge(&write(&lines, Rules::POSTHORN, Some(End::Interrupted)));
    assert_eq!((verdict.invented, verdict.unknown_arrived), (2, 0));
}

#[test]
fn a_send_without_an_answer_is_of_unknown_outcome() {
    let sent = message(0, 0, 0);
    for lines in [
        &[Line::Sent(sent)][..],
        &[Line::Sent(sent), Line::Outcome(sent, Outcome::Unknown)],
        &[Line::Sent(sent), Line::Heard(2, sent)],
    ] {
        let verdict = judge(&write(lines, Rules::POSTHORN, None));
        assert!(verdict.is_clean());
        assert_eq!((verdict.sent, verdict.unknown), (1, 1));
        assert_eq!(verdict.unknown_arrived, u64::from(lines.contains(&Line::Heard(2, sent))));
    }
}
