//! `posthorn node`: the roles of a configuration, as an operator runs them.

use crate::{cli::NodeArgs, config, failure::Outcome, run, telemetry};

/// Runs until it is asked to end.
///
/// # Errors
/// What kept it from starting, or a part that failed.
///
/// # Cancel safety
/// As [`run::run`].
pub async fn run(args: NodeArgs) -> Outcome {
    let loaded = config::load(args.config.as_deref(), &args.set)?;
    telemetry::start(&loaded.config.telemetry)?;
    run::run(&loaded.config, |started| {
        let shown = |address: Option<std::net::SocketAddr>| {
            address.map_or_else(|| "none".to_owned(), |address| address.to_string())
        };
        tracing::info!(
            clients = shown(started.address),
            admin = shown(started.admin),
            roles = ?loaded.config.node.roles,
            "serving"
        );
        Ok(())
    })
    .await
}
