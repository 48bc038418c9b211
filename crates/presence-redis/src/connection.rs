//! A connection, to one server or to a Redis Cluster.

use std::time::Duration;

use redis::{
    Client, Cmd, Pipeline, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};

/// A connection that many use at once. Cloning is cheap.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server.
    Server(MultiplexedConnection),
    /// To every server of a cluster; it follows when slots move.
    Cluster(ClusterConnection),
}

impl Connection {
    /// To one server.
    pub(crate) async fn to_server(client: &Client, within: Duration) -> RedisResult<Self> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(within))
            .set_response_timeout(Some(within));
        client.get_multiplexed_async_connection_with_config(&config).await.map(Self::Server)
    }

    /// To a cluster.
    pub(crate) async fn to_cluster(client: &ClusterClient) -> RedisResult<Self> {
        client.get_async_connection().await.map(Self::Cluster)
    }

    /// Sends commands whose keys are all of one slot. The first of them that failed fails it all;
    /// the others happened.
    pub(crate) async fn send(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let answers = match self {
            Self::Server(server) => server.req_packed_commands(pipeline, 0, pipeline.len()).await,
            Self::Cluster(all) => all.req_packed_commands(pipeline, 0, pipeline.len()).await,
        };
        answers?.into_iter().map(Value::extract_error).collect()
    }

    /// Sends a command without a key, in a cluster to any server.
    pub(crate) async fn ask(&mut self, command: Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(server) => server.req_packed_command(&command).await?,
            Self::Cluster(all) => {
                let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                all.route_command(command, any).await?
            }
        }
        .extract_error()
    }

    /// Whether commands of several slots may go together.
    pub(crate) const fn takes_all_slots(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}
