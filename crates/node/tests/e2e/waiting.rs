//! A process of a cluster whose engines are not there.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use node::development::{AUDIENCE, Development, ISSUER};
use tokio::time::Instant;

use crate::cluster::{Process, ask, command, ok_here, terminate};

/// Asked to end, a process that only waits does so within this.
const END_WITHIN: Duration = Duration::from_secs(2);
/// The reasons settle within this.
const TELL_WITHIN: Duration = Duration::from_secs(60);

/// A configuration whose engines are at ports where nobody listens.
fn config(folder: &Path, roles: &str) -> String {
    let development = Development::prepare(folder, [127, 0, 0, 1].into()).unwrap();
    let mesh = folder.join("mesh");
    ok_here(&format!("admin mesh-ca new {}", mesh.display()));
    let mesh = ok_here(&format!("admin mesh-ca issue {} --name node-1", mesh.display()));
    // Bound for as long as it takes to know a port that is free, and then closed.
    let nobody = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [kafka, cql, redis] = [nobody(), nobody(), nobody()];
    format!(
        "[node]\nengines = \"cluster\"\nname = \"node-1\"\nroles = [{roles}]\n\
         [listen]\naddress = \"127.0.0.1:0\"\ncertificate_file = {:?}\nkey_file = {:?}\n\
         [identity]\nissuer = {ISSUER:?}\naudience = {AUDIENCE:?}\njwks = {:?}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[telemetry]\nformat = \"json\"\n\
         [kafka]\nbrokers = [\"{kafka}\"]\n[cql]\nnodes = [\"{cql}\"]\n\
         [redis]\nnodes = [\"{redis}\"]\n{mesh}listen = \"127.0.0.1:0\"\n",
        development.certificate_file(),
        development.key_file(),
        development.jwks_file(),
    )
}

/// Starts a process; gives it and its admin listener once that answers.
fn start(file: &Path) -> (Process, SocketAddr) {
    let mut command = command("node --config");
    let mut process = Process::start(command.arg(file).stderr(Stdio::piped()));
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
        line["admin"].as_str()?.parse().ok()
    });
    // The rest has to go somewhere.
    let _rest = std::thread::spawn(move || lines.count());
    (process, address.expect("it says where its admin listener is"))
}

fn ends_soon(mut process: Process) {
    let asked = Instant::now();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < END_WITHIN, "it took {:?}", asked.elapsed());
}

/// Asks whether it is ready until the answer is that it waits for both.
fn wait_until_it_tells(admin: SocketAddr) {
    let began = Instant::now();
    loop {
        let told = ask(admin, "GET", "/readyz");
        assert!(told.starts_with("HTTP/1.1 503"), "{told}");
        let waits = |engine: &str| {
            let reason = told.split([';', '\n']).find(|reason| reason.contains(engine));
            reason.is_some_and(|reason| !reason.contains("being opened"))
        };
        if waits("kafka: ") && waits("cql: ") && told.contains("trying again") {
            return;
        }
        assert!(began.elapsed() < TELL_WITHIN, "{told}");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_waits_for_its_engines_says_so_and_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("posthorn.toml");
    for roles in ["\"edge\"", "\"mail-worker\", \"group-worker\""] {
        let text = config(folder.path(), roles);
        std::fs::write(&file, text).unwrap();
        let checked = ok_here(&format!("config check --config {}", file.display()));
        assert!(checked.contains("good"), "{checked}");
        let (process, admin) = start(&file);
        assert!(ask(admin, "GET", "/livez").starts_with("HTTP/1.1 200"));
        wait_until_it_tells(admin);
        assert!(ask(admin, "GET", "/livez").starts_with("HTTP/1.1 200"));
        assert!(ask(admin, "GET", "/metrics").starts_with("HTTP/1.1 200"));
        terminate(&process);
        ends_soon(process);
        std::fs::remove_dir_all(folder.path().join("mesh")).unwrap();
    }
}

#[test]
fn a_process_that_waits_ends_when_its_admin_listener_is_asked_to_drain() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("posthorn.toml");
    std::fs::write(&file, config(folder.path(), "\"edge\", \"mail-worker\"")).unwrap();
    let (process, admin) = start(&file);
    ask(admin, "POST", "/drain");
    ends_soon(process);
}
