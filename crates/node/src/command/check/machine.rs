//! What this machine gives: its clock, open files, ports, disk and data folder.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use embedded::{Engine, OpenError, Standing};
use ports::operate::Finding;
use rustix::{
    fs::{Access, access, statvfs},
    process::{Resource, getrlimit},
};

use crate::{
    assemble::local::cannot_open,
    clock,
    config::{Config, Role, cluster, value::Size},
    findings::{self, doubtful, good, wrong},
};

/// A clock before this was never set: the program is younger. 2025-01-01.
const CLOCK_MIN_MS: u64 = 1_735_689_600_000;
/// Open files a process gets along with whatever it is connected to.
const OPEN_FILES_GOOD: u64 = 4096;
/// With fewer it does not get far.
const OPEN_FILES_MIN: u64 = 512;

/// How an address is listened on.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Udp,
    Tcp,
}

/// Looks at the machine.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut found = vec![wall_clock(clock::wall_clock_ms()), open_files()];
    let is_cluster = config.node.engines == cluster::Engines::Cluster;
    let is_edge = config.has(Role::Edge);
    let listeners = [
        (is_edge, "clients", Transport::Udp, config.listen.address, "listen.address"),
        (is_edge && is_cluster, "mesh", Transport::Udp, config.mesh.listen, "mesh.listen"),
        (config.admin.enabled, "operators", Transport::Tcp, config.admin.address, "admin.address"),
    ];
    for (wanted, whose, transport, address, setting) in listeners {
        if wanted {
            found.push(port(whose, transport, address, setting));
        }
    }
    found
}

/// Looks at the data folder of embedded engines and the disk below it.
#[must_use]
pub fn data(config: &Config) -> Vec<Finding> {
    let data = &config.node.data;
    let mut found = vec![folder(config)];
    if let Some(there) = data.ancestors().find(|path| path.exists()) {
        found.push(disk(there, config.engine.disk_reserve.0));
    } else {
        found.push(disk(Path::new("."), config.engine.disk_reserve.0));
    }
    found
}

fn wall_clock(now_ms: u64) -> Finding {
    let (about, now) = ("clock", clock::date_time(now_ms));
    if now_ms < CLOCK_MIN_MS {
        return wrong(about, format!("it is {now}"), "set it, and keep it set by NTP");
    }
    good(about, now)
}

fn open_files() -> Finding {
    let about = "open files";
    // As high as this the process sets it itself.
    let Some(limit) = getrlimit(Resource::Nofile).maximum else {
        return good(about, "no limit");
    };
    let found = format!("at most {limit}");
    let remedy =
        format!("allow {OPEN_FILES_GOOD}: `ulimit -Hn`, or LimitNOFILE= of the systemd unit");
    if limit < OPEN_FILES_MIN {
        wrong(about, found, remedy)
    } else if limit < OPEN_FILES_GOOD {
        doubtful(about, found, remedy)
    } else {
        good(about, found)
    }
}

fn port(whose: &str, transport: Transport, address: SocketAddr, setting: &str) -> Finding {
    let (name, bound) = match transport {
        Transport::Udp => ("UDP", UdpSocket::bind(address).map(drop)),
        Transport::Tcp => ("TCP", TcpListener::bind(address).map(drop)),
    };
    port_finding(format!("port for {whose}: {name} {address}"), bound, setting)
}

fn port_finding(about: String, bound: io::Result<()>, setting: &str) -> Finding {
    let Err(error) = bound else { return good(about, "free") };
    let kind = error.kind();
    if kind == ErrorKind::AddrInUse {
        let remedy = format!("good if that is the running posthorn; otherwise change {setting}");
        return doubtful(about, "a process has it", remedy);
    }
    let (found, remedy) = if kind == ErrorKind::PermissionDenied {
        let remedy = "choose a port from 1024, or give the process CAP_NET_BIND_SERVICE";
        (error.to_string(), format!("{remedy} ({setting})"))
    } else if kind == ErrorKind::AddrNotAvailable {
        let remedy = format!("set {setting} to one that it has, or to 0.0.0.0 or [::] for all");
        ("this machine does not have the address".to_owned(), remedy)
    } else {
        (error.to_string(), format!("choose another address in {setting}"))
    };
    wrong(about, found, remedy)
}

fn folder(config: &Config) -> Finding {
    let data = &config.node.data;
    let about = format!("data folder {}", data.display());
    match Engine::look(&config.engine_config()) {
        Ok(Standing::Free) => writable(about, data, "there, and free"),
        Ok(Standing::Absent) => {
            let there = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
            writable(about, there, "not there yet; the first start makes it")
        }
        Err(OpenError::InUse(_)) => doubtful(
            about,
            "a running process uses it",
            "good if that is the running posthorn; two cannot share it",
        ),
        Err(error @ (OpenError::Mismatch { .. } | OpenError::Io(..) | OpenError::Damaged(..))) => {
            findings::of_failure(&about, &cannot_open(&error))
        }
    }
}

fn writable(about: String, path: &Path, found: &str) -> Finding {
    match access(path, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => good(about, found),
        Err(error) => wrong(
            about,
            format!("{} cannot be written: {error}", path.display()),
            "run as the user it belongs to, or choose another folder in node.data",
        ),
    }
}

fn disk(path: &Path, reserve: u64) -> Finding {
    let about = "disk room";
    match statvfs(path) {
        Ok(stat) => room(about, stat.f_bavail.saturating_mul(stat.f_frsize), reserve),
        Err(error) => doubtful(about, error.to_string(), "look by hand"),
    }
}

fn room(about: &str, free: u64, reserve: u64) -> Finding {
    let found = format!("{} free, {} kept in reserve", shown(free), shown(reserve));
    let remedy = "make room, or put node.data on another disk: without room sends are answered \
                  Busy";
    if free <= reserve {
        wrong(about, found, remedy)
    } else if free < reserve.saturating_mul(4) {
        doubtful(about, found, remedy)
    } else {
        good(about, found)
    }
}

/// Bytes in a unit that keeps two digits or more.
fn shown(bytes: u64) -> String {
    let (unit, name) = if bytes >= Size::gib(10).0 {
        (Size::gib(1), "GiB")
    } else if bytes >= Size::mib(10).0 {
        (Size::mib(1), "MiB")
    } else {
        (Size::kib(1), "KiB")
    };
    format!("{} {name}", bytes / unit.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ports::operate::State;

    use super::*;

    #[test]
    fn a_port_that_is_taken_is_doubtful_and_an_address_of_others_wrong() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let found = port("clients", Transport::Udp, address, "listen.address");
        assert_eq!(found.state, State::Doubtful, "{found:?}");
        drop(taken);
        let found = port("clients", Transport::Udp, address, "listen.address");
        assert_eq!(found.state, State::Good, "{found:?}");
        let foreign = "192.0.2.1:0".parse().unwrap();
        let found = port("operators", Transport::Tcp, foreign, "admin.address");
        assert_eq!(found.state, State::Wrong, "{found:?}");
        let denied = Err(ErrorKind::PermissionDenied.into());
        let found = port_finding("UDP".to_owned(), denied, "listen.address");
        assert!(found.remedy.contains("1024"), "{found:?}");
    }

    #[test]
    fn room_is_wrong_at_the_reserve_and_doubtful_near_it() {
        let reserve = Size::mib(512).0;
        let state = |free| room("disk", free, reserve).state;
        assert_eq!(state(reserve), State::Wrong);
        assert_eq!(state(2 * reserve), State::Doubtful);
        assert_eq!(state(4 * reserve), State::Good);
        let found = room("disk", Size::gib(12).0, reserve).found;
        assert_eq!(found, "12 GiB free, 512 MiB kept in reserve");
    }

    #[test]
    fn a_clock_that_was_never_set_is_wrong() {
        assert_eq!(wall_clock(0).state, State::Wrong);
        assert_eq!(wall_clock(CLOCK_MIN_MS).state, State::Good);
    }

    #[test]
    fn a_data_folder_is_looked_at_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data = folder.path().join("a/b");
        assert_eq!(data(&config)[0].state, State::Good);
        assert!(!folder.path().join("a").exists());
        let engine = Engine::open(config.engine_config(), clock::wall_clock_ms).unwrap();
        assert_eq!(data(&config)[0].state, State::Doubtful);
        engine.close().unwrap();
        assert_eq!(data(&config)[0].state, State::Good);
        config.engine.mail_partitions = 7;
        assert_eq!(data(&config)[0].state, State::Wrong);
    }
}
