//! The engines the tests run on, and how parts of them are killed.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

/// Key and version of Kafka requests; <https://kafka.apache.org/protocol> has their layouts.
const DELETE_TOPICS: (u16, u16) = (20, 1);
const CREATE_TOPICS: (u16, u16) = (19, 2);
/// A code in answers of Kafka.
const TOPIC_ALREADY_EXISTS: u16 = 36;

/// The engines somebody else has started.
pub(crate) struct Engines {
    program: PathBuf,
    folder: PathBuf,
}

impl Engines {
    /// Those the environment names.
    pub(crate) fn find() -> Self {
        let variable = |name: &str| {
            let value = env::var_os(name);
            PathBuf::from(value.unwrap_or_else(|| {
                panic!("{name} is not set: run these tests by `cargo xtask test engines`")
            }))
        };
        let program = variable("POSTHORN_ENGINES");
        Self { program, folder: variable("POSTHORN_ENGINES_DIR") }
    }

    /// The settings of a process that uses them.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("posthorn.toml")
    }

    /// SIGKILL.
    pub(crate) fn kill(&self, name: &str) {
        self.act("kill", name);
    }

    /// Starts what was killed, on the same data, and waits until it is ready.
    pub(crate) fn start(&self, name: &str) {
        self.act("start", name);
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self, name: &str) {
        self.act("pause", name);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, name: &str) {
        self.act("resume", name);
    }

    /// Lets Redis forget everything.
    pub(crate) fn flush_redis(&self) {
        let mut redis = TcpStream::connect(self.first("redis", "nodes")).unwrap();
        redis.write_all(b"FLUSHALL\r\n").unwrap();
        let mut answer = [0; 5];
        redis.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
    }

    /// Deletes a topic and makes another one of the same name.
    pub(crate) fn remake_topic(&self, name: &str, partitions: u32) {
        let topic = [&(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
        let one = 1_u32.to_be_bytes();
        let timeout_ms = 30_000_u32.to_be_bytes();
        let delete = [&one[..], &topic, &timeout_ms].concat();
        assert_eq!(self.ask_kafka(DELETE_TOPICS, &delete), 0, "deleting {name}");
        let replication = 3_u16.to_be_bytes();
        let nothing = 0_u32.to_be_bytes();
        let parts = partitions.to_be_bytes();
        let create =
            [&one[..], &topic, &parts, &replication, &nothing, &nothing, &timeout_ms, &[0]]
                .concat();
        // The name is free a moment after the topic is gone.
        while self.ask_kafka(CREATE_TOPICS, &create) == TOPIC_ALREADY_EXISTS {}
    }

    /// Sends a request about one topic, and gives the error code of the answer.
    fn ask_kafka(&self, (key, version): (u16, u16), body: &[u8]) -> u16 {
        let correlation = 7_u32.to_be_bytes();
        let no_client_id = u16::MAX.to_be_bytes();
        let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation, &no_client_id];
        let request = [&header.concat(), body].concat();
        let mut broker = TcpStream::connect(self.first("kafka", "brokers")).unwrap();
        broker.write_all(&(request.len() as u32).to_be_bytes()).unwrap();
        broker.write_all(&request).unwrap();
        let mut len = [0; 4];
        broker.read_exact(&mut len).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        broker.read_exact(&mut answer).unwrap();
        // Correlation, throttle time, the number of topics, the name, the code.
        let name_len = u16::from_be_bytes([answer[12], answer[13]]);
        let at = 14 + usize::from(name_len);
        u16::from_be_bytes([answer[at], answer[at + 1]])
    }

    /// The first address of a setting.
    fn first(&self, section: &str, key: &str) -> String {
        let file = fs::read_to_string(self.config()).unwrap();
        let file: toml::Table = file.parse().unwrap();
        file[section][key][0].as_str().unwrap().to_owned()
    }

    fn act(&self, verb: &str, name: &str) {
        let arguments: [&Path; 5] =
            ["engines".as_ref(), verb.as_ref(), name.as_ref(), "--dir".as_ref(), &self.folder];
        let output = Command::new(&self.program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {name}: {said}");
    }
}

/// Whatever a test killed or paused is there again for the next one.
pub(crate) struct Restored<'a> {
    pub(crate) engines: &'a Engines,
    pub(crate) name: &'a str,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = &self.engines.folder;
            for verb in ["resume", "start"] {
                let mut command = Command::new(&self.engines.program);
                command.args(["engines", verb, self.name, "--dir"]).arg(folder).output().ok();
            }
        }
    }
}
