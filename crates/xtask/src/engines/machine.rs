//! What the machine must have: programs, and loopback addresses nobody else uses.

use std::{
    fs::File,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

/// Programs, what shows that they are there, and the packages of Debian and Fedora.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("mvn", "maven", "maven"),
    ("redis-server", "redis-server", "redis"),
    ("redis-cli", "redis-tools", "redis"),
    ("openssl", "openssl", "openssl"),
];

/// What every engine listens on, each on an address of its own; tried before a block is taken.
const PORTS: &[u16] = &[6379, 6380, 7000, 7001, 9042, 9092, 9093, 9094];

/// The Java that runs Kafka and Cassandra.
///
/// # Errors
/// When it is missing or of a wrong version; says what to install.
pub(crate) fn java() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    let java = home.map_or_else(|| PathBuf::from("java"), |home| home.join("bin/java"));
    let remedy = "Kafka and Cassandra need Java 17 to 23.\n  \
                  Debian, Ubuntu: apt-get install openjdk-17-jre-headless\n  \
                  Fedora: dnf install java-17-openjdk-headless\n  \
                  another one: set JAVA_HOME to its folder";
    let output = Command::new(&java).arg("-version").output();
    let Ok(output) = output else { bail!("{} is missing. {remedy}", java.display()) };
    let said = String::from_utf8_lossy(&output.stderr);
    let version = java_version(&said).with_context(|| format!("java -version says {said}"))?;
    ensure!((17..=23).contains(&version), "{} is Java {version}. {remedy}", java.display());
    Ok(java)
}

fn java_version(said: &str) -> Option<u32> {
    let quoted = said.split('"').nth(1)?;
    quoted.split(['.', '-', '+']).next()?.parse().ok()
}

/// Whether the programs are there.
///
/// # Errors
/// Names all that are missing and what installs them.
pub(crate) fn programs() -> anyhow::Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, ..)| !is_installed(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let join = |words: Vec<&str>| words.join(" ");
    bail!(
        "missing: {}\n  Debian, Ubuntu: apt-get install {}\n  Fedora: dnf install {}",
        join(missing.iter().map(|entry| entry.0).collect()),
        join(missing.iter().map(|entry| entry.1).collect()),
        join(missing.iter().map(|entry| entry.2).collect())
    )
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// 256 loopback addresses that one folder's engines have for themselves. Cassandra's drivers learn
/// addresses, not ports, so each node needs its own; and where each engine has its own, nothing
/// else on the machine takes its port while it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block(u8, u8);

impl Block {
    /// One on which nobody listens.
    ///
    /// # Errors
    /// When the machine has no loopback addresses besides 127.0.0.1.
    pub(crate) fn free() -> anyhow::Result<Self> {
        for _ in 0..50 {
            let [x, y, ..] = random()?;
            // 127.0 is what people use by hand.
            let block = Self(x.max(1), y);
            if block.is_free() {
                return Ok(block);
            }
        }
        bail!("no free loopback addresses 127.x.y.1: is this Linux, with the interface lo up?")
    }

    fn is_free(self) -> bool {
        let is_free = |n, port: &u16| TcpListener::bind((self.address(n), *port)).is_ok();
        (1..=4).all(|n| PORTS.iter().all(|port| is_free(n, port)))
    }

    /// Address `n` of the block, from 1.
    pub(crate) fn address(self, n: u8) -> String {
        format!("127.{}.{}.{n}", self.0, self.1)
    }
}

/// Bytes nobody can guess.
///
/// # Errors
/// When the machine has no source of them.
pub(crate) fn random() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open(Path::new("/dev/urandom"))?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::{super::progress::until, *};

    #[test]
    fn the_version_of_java_is_its_first_number() {
        assert_eq!(java_version("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(java_version("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(java_version("openjdk version \"22-ea\" 2024"), Some(22));
        assert_eq!(java_version("java version \"1.8.0_401\""), Some(1));
        assert_eq!(java_version("command not found"), None);
    }

    #[test]
    fn a_block_with_a_listener_is_not_free() {
        let block = Block::free().unwrap();
        let held = TcpListener::bind((block.address(2), 9042)).unwrap();
        assert!(!block.is_free());
        drop(held);
        // A process that another test starts may hold it for a moment, until it is that program.
        assert!(until(Duration::from_secs(20), || block.is_free()));
    }
}
