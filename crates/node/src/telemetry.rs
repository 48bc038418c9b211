//! Log lines, on standard error.

use tracing_subscriber::EnvFilter;

use crate::{
    catalogue::Code,
    config::tree::{LogFormat, Telemetry},
    failure::{Failure, Outcome},
};

/// Libraries that say nothing unless they are named: the database's driver calls every attempt to
/// reach a server an error, and what it means for this process is told by the store.
const QUIET: &str = "scylla=off";

/// Starts logging as configured; `RUST_LOG` is stronger than the configured level.
///
/// # Errors
/// When the level cannot be understood.
pub fn start(telemetry: &Telemetry) -> Outcome {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| telemetry.level.clone());
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| {
        Failure::new(Code::BadValue, format!("`{level}` is not a log level: {error}"))
            .at("telemetry.level or RUST_LOG")
            .remedy("write error, warn, info, debug or trace, or for one part: info,edge=debug")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, in tests of one process, leaves the first as it is.
    let _already_started = match telemetry.format {
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(is_terminal).with_target(true).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
