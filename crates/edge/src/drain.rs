//! Going away without losing anything that was promised.

use std::{sync::Arc, time::Duration};

use link::quic::ServerEndpoint;
use session::close::CloseCode;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::edge::Shared;

/// What remains of a drain once connections are gone has this long, beyond `drain_within`.
const LAST_STEPS_WITHIN: Duration = Duration::from_secs(5);
/// Clients that do not confirm the end are not waited for longer.
const IDLE_WITHIN: Duration = Duration::from_secs(1);

/// Ends everything in order: connections, cursors, routes, lease, socket. Attempts to connect are
/// refused meanwhile, so that clients go elsewhere at once.
pub(crate) async fn drain(
    shared: &Arc<Shared>,
    endpoint: &ServerEndpoint,
    mut connections: JoinSet<()>,
    mut lease: JoinSet<()>,
    mut writers: JoinSet<()>,
    finish_writers: CancellationToken,
) {
    shared.draining.cancel();
    tracing::info!(connections = connections.len(), "draining");
    let leaving = async { while connections.join_next().await.is_some() {} };
    let refusing = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    let all_left = tokio::select! {
        biased;
        left = timeout(shared.config.drain_within() + Duration::from_secs(1), leaving) => left,
        () = refusing => Ok(()),
    };
    if all_left.is_err() {
        tracing::warn!(connections = connections.len(), "closing what did not leave in time");
        connections.shutdown().await;
    }
    let last_steps = async {
        finish_writers.cancel();
        while writers.join_next().await.is_some() {}
        // Nobody renews what is being released.
        lease.shutdown().await;
        let release = shared.engines.presence.release_lease(shared.edge_id);
        shared.presence.call(&shared.metrics, release).await;
    };
    if timeout(LAST_STEPS_WITHIN, last_steps).await.is_err() {
        tracing::warn!("cursors or routes were not written to the end; they may lag");
    }
    endpoint.close(CloseCode::GoingAway.code(), "going away");
    timeout(IDLE_WITHIN, endpoint.wait_idle()).await.ok();
    tracing::info!("drained");
}
