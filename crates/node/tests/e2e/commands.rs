//! The commands, as people type them.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use crate::cluster::{Dev, Process, command, fails, ok, signal, spawn, terminate, texts};

#[test]
fn what_was_accepted_survives_a_kill_and_comes_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let numbers: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let sent = ok(data, "send --as alice --to bob -o json", &numbers.join("\n"));
    assert_eq!(sent, "{\"accepted\":300}\n");
    dev.kill();
    let dev = Dev::start(data);
    assert_eq!(texts(&ok(data, "recv --as bob -o json", "")), numbers);
    assert_eq!(ok(data, "recv --as bob", ""), "");
    ok(data, "send --as alice --to bob after", "");
    assert_eq!(ok(data, "recv --as bob", ""), "alice: after\n");
    let newest = ok(data, "history --as bob -n 2 -o json", "");
    assert_eq!(texts(&newest), ["299", "after"]);
    assert_eq!(dev.terminate(), Some(0));
}

#[test]
fn a_group_is_made_spoken_in_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "group create #team bob carol --as alice", ""), "#team created\n");
    ok(data, "send --as alice --to #team hello", "");
    assert_eq!(ok(data, "recv --as carol", ""), "alice in #team: hello\n");
    ok(data, "group leave #team --as carol", "");
    ok(data, "send --as bob --to #team bye", "");
    assert_eq!(ok(data, "recv --as carol", ""), "");
    let bob = ok(data, "recv --as bob -o json", "");
    assert_eq!(texts(&bob), ["hello"]);
    let (code, message) = fails(data, "group add #team dave --as bob");
    assert_eq!(code, 5, "{message}");
    assert!(message.contains("PH0502") && message.contains("admin"), "{message}");
    let (code, message) = fails(data, "group show #team --as carol");
    assert_eq!((code, message.contains("PH0504")), (5, true), "{message}");
    assert_eq!(ok(data, "group show #team --as alice", "").lines().count(), 2);
}

#[test]
fn a_second_device_reads_on_its_own_and_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "recv --as bob", ""), "");
    assert_eq!(ok(data, "recv --as bob --device laptop", ""), "");
    ok(data, "send --as alice --to bob both", "");
    assert_eq!(ok(data, "recv --as bob --device laptop", ""), "alice: both\n");
    assert_eq!(ok(data, "recv --as bob", ""), "alice: both\n");
    let devices = ok(data, "device list --as bob -o json", "");
    let devices: Vec<serde_json::Value> =
        devices.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(devices.len(), 2);
    let other = devices.iter().find(|device| device["this"] == false).unwrap();
    let id = other["id"].as_str().unwrap();
    ok(data, &format!("device revoke {id} --as bob"), "");
    let (code, message) = fails(data, "recv --as bob --device laptop");
    assert_eq!((code, message.contains("PH0404")), (5, true), "{message}");
}

#[test]
fn errors_have_codes_and_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (code, message) = fails(data, "send --as alice --to bob hello");
    assert_eq!((code, message.contains("PH0204")), (3, true), "{message}");
    let _dev = Dev::start(data);
    let (code, message) = fails(data, "dev --listen 127.0.0.1:0 --admin 127.0.0.1:0");
    assert_eq!((code, message.contains("PH0201")), (3, true), "{message}");
    let (code, message) = fails(data, "dev --set edge.head_chek=1s");
    assert_eq!((code, message.contains("edge.head_check")), (3, true), "{message}");
    let (code, message) = fails(data, "send --as alice --to # hello");
    assert_eq!((code, message.contains("PH0503")), (2, true), "{message}");
    assert_eq!(fails(data, "send --nonsense").0, 2);
}

#[test]
fn the_demo_routes_a_file_and_says_so_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.jsonl");
    let lines: String = (0..60)
        .map(|number| {
            let (from, to) = if number % 2 == 0 { ("alice", "bob") } else { ("bob", "#team") };
            format!("{{\"from\":\"{from}\",\"to\":\"{to}\",\"text\":\"{number}\"}}\n")
        })
        .chain(["{\"group\":\"#team\",\"members\":[\"alice\",\"carol\"]}\n".to_owned()])
        .collect();
    std::fs::write(&file, lines).unwrap();
    let demo = |input: &Path| command("demo -o json --input").arg(input).output().unwrap();
    let output = demo(&file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // 30 direct ones reach three devices, 30 in the group of three reach five.
    for (name, value) in
        [("messages", 60), ("accepted", 60), ("delivered", 240), ("lost", 0), ("resumed", 3)]
    {
        assert_eq!(report[name], value, "{name} in {report}");
    }
    std::fs::write(&file, "{\"from\":\"alice\"}\n").unwrap();
    let output = demo(&file);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1"));
}

#[test]
fn a_follower_prints_what_comes_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    ok(data, "send --as alice --to bob first", "");
    let mut follower = spawn(data, "recv --as bob --follow");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "alice: first");
    ok(data, "send --as alice --to bob second", "");
    assert_eq!(lines.next().unwrap().unwrap(), "alice: second");
    // The device is taken; the person can still send, with another one.
    let (code, message) = fails(data, "recv --as bob");
    assert_eq!((code, message.contains("PH0411")), (4, true), "{message}");
    ok(data, "send --as bob --to alice back", "");
    assert_eq!(lines.next().unwrap().unwrap(), "bob to alice: back");
    terminate(&follower);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    assert_eq!(ok(data, "recv --as bob", ""), "");
    assert_eq!(ok(data, "recv --as alice", ""), "bob: back\n");
}

#[test]
fn any_cluster_is_reached_by_address_authority_and_token() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let development = node::development::Development::find(data).unwrap();
    let now_ms = node::clock::wall_clock_ms();
    let token = data.join("token");
    std::fs::write(&token, development.mint("carol", now_ms).unwrap()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |ca: &Path| {
        format!("--server {} --ca {} --token-file {}", dev.address, ca.display(), token.display())
    };
    let with_ca = at(&development.ca_file());
    ok(elsewhere.path(), &format!("send --to bob hello {with_ca}"), "");
    assert_eq!(ok(data, "recv --as bob", ""), "carol: hello\n");
    ok(data, "send --as bob --to carol back", "");
    assert_eq!(ok(elsewhere.path(), &format!("recv {with_ca}"), ""), "bob: back\n");

    let other = tempfile::tempdir().unwrap();
    let localhost = "127.0.0.1".parse().unwrap();
    let stranger = node::development::Development::prepare(other.path(), localhost).unwrap();
    let (code, message) = fails(elsewhere.path(), &format!("recv {}", at(&stranger.ca_file())));
    assert_eq!((code, message.contains("PH0402")), (5, true), "{message}");
    std::fs::write(&token, stranger.mint("carol", now_ms).unwrap()).unwrap();
    let (code, message) = fails(elsewhere.path(), &format!("recv {with_ca}"));
    assert_eq!((code, message.contains("PH0403")), (5, true), "{message}");
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut child = spawn(
        data,
        "dev --listen 127.0.0.1:0 --admin 127.0.0.1:0 --set edge.drain_jitter=30s --set \
         node.drain_within=60s",
    );
    let mut welcome = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(welcome.next().unwrap().unwrap().contains("is running"));
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    ok(data, "send --as alice --to bob first", "");
    let mut follower = spawn(data, "recv --as bob --follow");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "alice: first");
    ok(data, "send --as alice --to carol kept", "");
    // A client that does not leave by itself makes the drain last.
    signal(&follower, "-STOP");
    terminate(&child);
    assert!(log.any(|line| line.unwrap().contains("a second signal ends at once")));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    follower.kill().unwrap();
    follower.wait().unwrap();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "recv --as carol", ""), "alice: kept\n");
}

#[test]
fn a_revoked_device_that_is_connected_is_told_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    assert_eq!(ok(data, "recv --as bob", ""), "");
    assert_eq!(ok(data, "recv --as bob --device laptop", ""), "");
    let mut follower = spawn(data, "recv --as bob --device laptop --follow");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    ok(data, "send --as alice --to bob before", "");
    assert_eq!(lines.next().unwrap().unwrap(), "alice: before");
    let devices = ok(data, "device list --as bob", "");
    let other = devices.lines().find(|line| !line.contains("this one")).unwrap();
    ok(data, &format!("device revoke {} --as bob", other.split(' ').next().unwrap()), "");
    let ended = follower.wait_with_output();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), told.contains("PH0404")), (Some(5), true), "{told}");
    ok(data, "send --as alice --to bob after", "");
    assert_eq!(ok(data, "recv --as bob", ""), "alice: before\nalice: after\n");
}

#[test]
fn an_operator_runs_the_roles_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let localhost = "127.0.0.1".parse().unwrap();
    let provider = node::development::Development::prepare(data, localhost).unwrap();
    let config = data.join("posthorn.toml");
    let text = format!(
        "[node]\ndata = {:?}\n[listen]\naddress = \"127.0.0.1:0\"\ncertificate_file = {:?}\n\
         key_file = {:?}\n[identity]\nissuer = {:?}\njwks = {:?}\n[admin]\n\
         address = \"127.0.0.1:0\"\n[telemetry]\nformat = \"json\"\n",
        data.join("node"),
        provider.certificate_file(),
        provider.key_file(),
        node::development::ISSUER,
        provider.jwks_file(),
    );
    std::fs::write(&config, text).unwrap();
    let mut operator = command("node --config");
    operator.arg(&config).env("POSTHORN__EDGE__HEAD_CHECK", "1s").stderr(Stdio::piped());
    let mut process = Process::start(&mut operator);
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(&line.unwrap()).expect("the log is JSON")
    });
    let serving = log.find(|line| line["message"] == "serving").expect("it serves");
    let _rest = std::thread::spawn(move || log.for_each(drop));
    let server = serving["clients"].as_str().unwrap();
    let as_person = |name: &str| {
        let token = data.join(name);
        let now_ms = node::clock::wall_clock_ms();
        std::fs::write(&token, provider.mint(name, now_ms).unwrap()).unwrap();
        let ca = provider.ca_file();
        format!("--server {server} --ca {} --token-file {}", ca.display(), token.display())
    };
    let (alice, bob) = (as_person("alice"), as_person("bob"));
    ok(data, &format!("send --to bob hello {alice}"), "");
    assert_eq!(ok(data, &format!("recv {bob}"), ""), "alice: hello\n");
    terminate(&process);
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_person_has_ten_devices_and_another_one_for_each_that_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let _dev = Dev::start(data);
    for number in 0..10 {
        assert_eq!(ok(data, &format!("recv --as bob --device d{number}"), ""), "");
    }
    let (code, message) = fails(data, "recv --as bob --device one-more");
    assert_eq!((code, message.contains("PH0405")), (5, true), "{message}");
    let devices = ok(data, "device list --as bob --device d0", "");
    let other = devices.lines().find(|line| !line.contains("this one")).unwrap();
    let other = other.split(' ').next().unwrap();
    ok(data, &format!("device revoke {other} --as bob --device d0"), "");
    assert_eq!(ok(data, "recv --as bob --device one-more", ""), "");
    ok(data, "send --as alice --to bob hello", "");
    assert_eq!(ok(data, "recv --as bob --device one-more", ""), "alice: hello\n");
}

#[test]
fn an_erased_mailbox_is_empty_and_what_comes_later_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    ok(data, "send --as alice --to bob before", "");
    let erase = format!(
        "admin erase --issuer {} --subject bob -o json --set node.data={}",
        node::development::ISSUER,
        data.display()
    );
    let used = command(&erase).output().unwrap();
    assert_eq!(used.status.code(), Some(3), "a running process has the data");
    assert_eq!(dev.terminate(), Some(0));
    let rows = |arguments: &str| {
        let output = command(&format!("{erase} {arguments}")).output().unwrap();
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        line["rows"].as_u64().unwrap()
    };
    assert_eq!((rows(""), rows("--yes"), rows("")), (1, 1, 0));
    let _dev = Dev::start(data);
    ok(data, "send --as alice --to bob after", "");
    assert_eq!(ok(data, "recv --as bob", ""), "alice: after\n");
}
