//! What is decided by Redis: small scripts, each on keys of one slot, each safe to run again.

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};

use crate::connection::Connection;

/// The scripts, compiled once.
pub(crate) struct Scripts {
    pub(crate) attach: Source,
    pub(crate) detach: Source,
    pub(crate) renew: Source,
    pub(crate) release: Source,
    pub(crate) leases: Source,
    pub(crate) witness: Source,
}

/// A script and the name a server has for it.
pub(crate) struct Source {
    text: &'static str,
    hash: String,
}

/// Keys and arguments of one run.
pub(crate) struct Run {
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            attach: Source::new(include_str!("scripts/attach.lua")),
            detach: Source::new(include_str!("scripts/detach.lua")),
            renew: Source::new(include_str!("scripts/renew.lua")),
            release: Source::new(include_str!("scripts/release.lua")),
            leases: Source::new(include_str!("scripts/leases.lua")),
            witness: Source::new(include_str!("scripts/witness.lua")),
        }
    }
}

impl Source {
    fn new(text: &'static str) -> Self {
        Self { text, hash: Script::new(text).get_hash().to_owned() }
    }

    /// Runs it once for each of `runs`, whose keys are all of one slot, in one pipeline. By name; a
    /// server that does not know it is given the text and knows it from then on.
    pub(crate) async fn run(
        &self,
        connection: &mut Connection,
        runs: &[Run],
    ) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(runs.len());
        for run in runs {
            pipeline.add_command(self.command("EVALSHA", &self.hash, run));
        }
        match connection.send(&pipeline).await {
            Err(error) if is_unknown(&error) => {}
            answers => return answers,
        }
        // Running one again changes nothing, so those that were known may run again.
        let mut pipeline = Pipeline::with_capacity(runs.len());
        for (at, run) in runs.iter().enumerate() {
            pipeline.add_command(match at {
                0 => self.command("EVAL", self.text, run),
                _ => self.command("EVALSHA", &self.hash, run),
            });
        }
        connection.send(&pipeline).await
    }

    fn command(&self, name: &str, script: &str, run: &Run) -> Cmd {
        debug_assert!(!self.hash.is_empty(), "it has a name");
        let mut command = redis::cmd(name);
        command.arg(script).arg(run.keys.len()).arg(&run.keys).arg(&run.arguments);
        command
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
