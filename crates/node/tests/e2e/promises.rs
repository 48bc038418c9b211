//! What is promised about what was accepted, with processes that come and go.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::cluster::{Dev, Process, lines, numbers, ok, run, spawn, terminate, text, texts};

/// The lines a following process prints, one by one.
fn following(process: &mut Process) -> impl Iterator<Item = String> + use<> {
    BufReader::new(process.stdout.take().unwrap()).lines().map(|line| line.unwrap())
}

#[test]
fn every_device_gets_everything_in_one_order_also_after_being_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    for device in
        ["--as alice", "--as alice --device laptop", "--as bob", "--as bob --device phone"]
    {
        assert_eq!(ok(data, &format!("recv {device}"), ""), "");
    }
    // Bob's phone is away; both devices of Alice send at the same time.
    let mut here = spawn(data, "recv --as bob --follow -o json");
    let shown = following(&mut here);
    let senders = ["", " --device laptop"].map(|device| {
        let mut sender = spawn(data, &format!("send --as alice --to bob{device} -o json"));
        let mut input = sender.stdin.take().unwrap();
        let from = if device.is_empty() { "first" } else { "laptop" };
        let said: Vec<String> = (0..200).map(|number| format!("{from} {number}")).collect();
        input.write_all(lines(&said).as_bytes()).unwrap();
        (sender, said)
    });
    let here_lines: Vec<String> = shown.take(400).collect();
    let senders = senders.map(|(sender, said)| (sender.wait_with_output().stdout, said));
    for (sent, said) in senders {
        assert_eq!(sent, b"{\"accepted\":200}\n");
        let from = said[0].split(' ').next().unwrap().to_owned();
        let shown = here_lines.iter().map(|line| text(line)).filter(|text| text.starts_with(&from));
        assert_eq!(shown.collect::<Vec<_>>(), said);
        // The other device of the sender has them too.
        let other = if from == "first" { " --device laptop" } else { "" };
        assert_eq!(texts(&ok(data, &format!("recv --as alice{other} -o json"), "")), said);
    }
    let away = ok(data, "recv --as bob --device phone -o json", "");
    assert_eq!(away.lines().collect::<Vec<_>>(), here_lines);
    assert_eq!(ok(data, "recv --as bob --device phone", ""), "");
}

#[test]
fn without_any_push_everything_arrives_by_the_head_check() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let settings = ["worker.push=false", "edge.head_check=200ms"];
    let dev = Dev::start_with(data, "127.0.0.1:0", &settings);
    let mut follower = spawn(data, "recv --as bob --follow -o json");
    let mut shown = following(&mut follower).map(|line| text(&line));
    ok(data, "send --as alice --to bob first", "");
    assert_eq!(shown.next().unwrap(), "first");
    let said = numbers(0..500);
    ok(data, "send --as alice --to bob", &lines(&said));
    assert_eq!(shown.take(500).collect::<Vec<_>>(), said);
    assert_eq!(dev.metric("posthorn_edge_pushes_total"), 0.0);
}

#[test]
fn pushes_there_is_no_room_for_are_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // No head check comes to help.
    let settings = ["worker.push_queue_len=1", "edge.head_check=1h"];
    let dev = Dev::start_with(data, "127.0.0.1:0", &settings);
    let mut follower = spawn(data, "recv --as bob --follow -o json");
    let mut shown = following(&mut follower).map(|line| text(&line));
    ok(data, "send --as alice --to bob first", "");
    assert_eq!(shown.next().unwrap(), "first");
    for round in 0..3 {
        let said = numbers(round * 1000..(round + 1) * 1000);
        ok(data, "send --as alice --to bob", &lines(&said));
        assert_eq!(shown.by_ref().take(1000).collect::<Vec<_>>(), said);
    }
    assert!(dev.metric("posthorn_edge_mesh_lost_total") > 0.0, "some were lost");
}

#[test]
fn drains_and_kills_under_load_lose_nothing_and_everybody_goes_on() {
    const LINES: usize = 4000;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let address = dev.address.clone();
    let mut follower = spawn(data, "recv --as bob --follow -o json");
    let mut shown = following(&mut follower).map(|line| text(&line));
    let mut sender = spawn(data, "send --as alice --to bob -o json");
    let mut input = sender.stdin.take().unwrap();
    let numbers = numbers(0..LINES);
    let mut feed = |numbers: &[String]| input.write_all(lines(numbers).as_bytes()).unwrap();
    let mut seen = Vec::new();
    // A pipe takes more than is sent at once: both are always in the middle of it.
    feed(&numbers[..1000]);
    seen.extend(shown.by_ref().take(100));
    assert_eq!(dev.terminate(), Some(0));
    let dev = Dev::start_at(data, &address);
    feed(&numbers[1000..2000]);
    seen.extend(shown.by_ref().take(1000));
    dev.kill();
    let dev = Dev::start_at(data, &address);
    feed(&numbers[2000..3000]);
    seen.extend(shown.by_ref().take(1000));
    assert_eq!(dev.drain(), Some(0));
    let dev = Dev::start_at(data, &address);
    feed(&numbers[3000..]);
    seen.extend(shown.by_ref().take(1000));
    dev.kill();
    let _dev = Dev::start_at(data, &address);
    drop(input);
    let sent = sender.wait_with_output();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let accepted = format!("{{\"accepted\":{LINES}}}\n");
    assert_eq!(String::from_utf8(sent.stdout).unwrap(), accepted);
    seen.extend(shown.by_ref().take(LINES - seen.len()));
    let wrong = seen.iter().zip(&numbers).position(|(seen, number)| seen != number);
    assert_eq!((seen.len(), wrong), (LINES, None));
    terminate(&follower);
    assert!(follower.wait().unwrap().success());
    assert_eq!(shown.next(), None);
    assert_eq!(ok(data, "recv --as bob", ""), "");
}

#[test]
fn a_note_to_oneself_reaches_every_device_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "recv --as alice", ""), "");
    assert_eq!(ok(data, "recv --as alice --device laptop", ""), "");
    let said = numbers(0..50);
    ok(data, "send --as alice --to alice", &lines(&said));
    for device in ["", " --device laptop"] {
        assert_eq!(texts(&ok(data, &format!("recv --as alice{device} -o json"), "")), said);
    }
    assert_eq!(ok(data, "recv --as alice", ""), "");
}

#[test]
fn with_one_partition_both_parties_get_everything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let settings = ["engine.mail_partitions=1", "engine.group_partitions=1"];
    let _dev = Dev::start_with(data, "127.0.0.1:0", &settings);
    assert_eq!(ok(data, "recv --as alice", ""), "");
    assert_eq!(ok(data, "recv --as alice --device laptop", ""), "");
    let said = numbers(0..200);
    ok(data, "send --as alice --to bob", &lines(&said));
    ok(data, "send --as bob --to alice back", "");
    ok(data, "group create #team bob --as alice", "");
    ok(data, "send --as bob --to #team all", "");
    let bob = texts(&ok(data, "recv --as bob -o json", ""));
    assert_eq!(bob, said);
    let laptop = texts(&ok(data, "recv --as alice --device laptop -o json", ""));
    assert_eq!(laptop[..200], said);
    assert_eq!(laptop[200..], ["back", "all"]);
    assert_eq!(ok(data, "recv --as alice", ""), "bob: back\nbob in #team: all\n");
}

#[test]
fn a_device_away_for_longer_than_rows_are_kept_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let settings = ["node.retention=4s", "engine.window=1s"];
    let _dev = Dev::start_with(data, "127.0.0.1:0", &settings);
    assert_eq!(ok(data, "recv --as bob", ""), "");
    ok(data, "send --as alice --to bob old", "");
    // Time passes while Carol is written to, until her first row is gone, and Bob's with it.
    ok(data, "send --as alice --to carol 0", "");
    for number in 1.. {
        ok(data, &format!("send --as alice --to carol {number}"), "");
        let kept = ok(data, "history --as carol -n 1000 -o json", "");
        if !texts(&kept).contains(&"0".to_owned()) {
            break;
        }
    }
    ok(data, "send --as alice --to bob kept", "");
    let output = run(data, "recv --as bob -o json", "");
    assert!(output.status.success());
    assert_eq!(texts(&String::from_utf8(output.stdout).unwrap()), ["kept"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("may be missing: this device was away for too long"), "{told}");
    let output = run(data, "recv --as bob", "");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
}

#[test]
fn a_change_is_answered_also_when_more_waits_than_a_device_is_given_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "recv --as bob", ""), "");
    assert_eq!(ok(data, "recv --as bob --device laptop", ""), "");
    let said = numbers(0..2500);
    ok(data, "send --as alice --to bob", &lines(&said));
    let devices = ok(data, "device list --as bob", "");
    let other = devices.lines().find(|line| !line.contains("this one")).unwrap();
    let other = other.split(' ').next().unwrap();
    assert_eq!(ok(data, "group create #team alice --as bob", ""), "#team created\n");
    let revoked = ok(data, &format!("device revoke {other} --as bob"), "");
    assert_eq!(revoked, format!("{other} is revoked\n"));
    assert_eq!(texts(&ok(data, "recv --as bob -o json", "")), said);
}
