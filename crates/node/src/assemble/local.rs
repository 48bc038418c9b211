//! The embedded engines, opened for this process.

use std::{path::Path, sync::Arc};

use embedded::{Engine, OpenError};

use crate::{
    catalogue::Code,
    clock::wall_clock_ms,
    config::{Config, Role},
    failure::{Failure, Outcome},
    private_file,
};

/// Opens them; waits for no one.
///
/// # Errors
/// Why the data directory cannot be used.
pub(super) async fn open(config: &Config) -> Outcome<Arc<Engine>> {
    warn_of_missing(config);
    let data = &config.node.data;
    private_file::make_folder(data).map_err(|error| unusable(data, &error))?;
    let opening = config.engine_config();
    tokio::task::spawn_blocking(move || Engine::open(opening, wall_clock_ms))
        .await
        .map_err(anyhow::Error::from)?
        .map(Arc::new)
        .map_err(|error| cannot_open(&error))
}

/// Closes them, unless somebody looks at the metrics this very moment: dropping them then is as
/// safe as a crash.
///
/// # Errors
/// What could not be written on the way.
pub(super) async fn close(engine: Arc<Engine>) -> Outcome {
    let Some(engine) = Arc::into_inner(engine) else { return Ok(()) };
    let closed = tokio::task::spawn_blocking(move || engine.close()).await;
    closed.map_err(anyhow::Error::from)?.map_err(|error| {
        Failure::new(Code::RoleStopped, error.to_string())
            .at("closing the engines")
            .remedy("start again: it recovers as after a crash")
    })
}

/// Embedded engines belong to one process: what it does not do, nobody does.
fn warn_of_missing(config: &Config) {
    let duties = [
        (Role::Edge, "no client can connect"),
        (Role::MailWorker, "accepted messages reach no mailbox until it runs on this data"),
        (Role::GroupWorker, "nothing in groups is decided or delivered until it runs on this data"),
    ];
    for (role, consequence) in duties {
        if !config.has(role) {
            tracing::warn!(?role, "this process does not play a role: {consequence}");
        }
    }
}

/// Why embedded engines cannot be opened, and what to do.
#[must_use]
pub fn cannot_open(error: &OpenError) -> Failure {
    match error {
        OpenError::InUse(directory) => {
            Failure::new(Code::DataInUse, "another process uses this data directory")
                .at(directory.display().to_string())
                .remedy("use the running one, stop it, or choose another folder (--data DIR)")
        }
        OpenError::Mismatch { directory, found, wanted } => {
            Failure::new(Code::DataForeign, format!("it was made with {found}, not with {wanted}"))
                .at(directory.display().to_string())
                .remedy("set back what was changed, or choose another folder")
        }
        OpenError::Io(directory, problem) => unusable(directory, problem),
        OpenError::Damaged(directory, problem) => {
            Failure::new(Code::DataForeign, format!("it cannot be opened: {problem}"))
                .at(directory.display().to_string())
                .remedy("use the program that made it, or choose another folder")
        }
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::DataUnusable, error.to_string())
        .at(path.display().to_string())
        .remedy("check that the disk has room and the folder is yours, or choose another one")
}
