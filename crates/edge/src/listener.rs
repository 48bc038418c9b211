//! Taking client connections: who may come in, and at what price while many try.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use link::quic::{Incoming, ServerEndpoint};
use prometheus::IntGauge;
use tokio::task::JoinSet;

use crate::{connection, edge::Shared};

/// Who is connected from where. Shared by the guards it gives out.
#[derive(Default)]
pub(crate) struct Door {
    half_open: AtomicUsize,
    per_network: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicUsize,
}

/// A connection counted as not yet authenticated, until dropped.
pub(crate) struct HalfOpen {
    door: Arc<Door>,
    gauge: IntGauge,
}

/// A connection counted towards the limits, until dropped.
struct Slot {
    door: Arc<Door>,
    network: IpAddr,
    gauge: IntGauge,
}

/// What to do with an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    Retry,
    Ignore,
    Refuse,
}

impl Answer {
    pub(crate) const ALL: &[Self] = &[Self::Accept, Self::Retry, Self::Ignore, Self::Refuse];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Retry => "retry",
            Self::Ignore => "ignore",
            Self::Refuse => "refuse",
        }
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.door.half_open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
        let mut networks = self.door.networks();
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

impl Door {
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn networks(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.per_network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes connections until the edge drains, and serves each in a task of its own. Returns the
/// tasks: the caller waits for their end.
pub(crate) async fn listen(shared: Arc<Shared>, endpoint: ServerEndpoint) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.draining.cancelled() => return tasks,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("the task of a connection panicked; its client connects again");
                }
            }
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => take(&shared, incoming, &mut tasks),
                None => return tasks,
            },
        }
    }
}

/// Decides about one attempt at once; a handshake is never awaited here.
fn take(shared: &Arc<Shared>, incoming: Incoming, tasks: &mut JoinSet<()>) {
    let network = network(incoming.remote_address());
    let answer = decide(shared, network, incoming.is_validated(), incoming.may_retry());
    shared.metrics.attempts.with_label_values(&[answer.label()]).inc();
    match answer {
        Answer::Accept => {
            let slot = enter(shared, network);
            let half_open = half_open(shared);
            let shared = shared.clone();
            tasks.spawn(async move {
                let _slot = slot;
                let connection = tokio::select! {
                    biased;
                    () = shared.draining.cancelled() => return,
                    connection = incoming.accept() => connection,
                };
                if let Ok(connection) = connection {
                    connection::serve(shared, connection, half_open).await;
                }
            });
        }
        Answer::Retry => incoming.retry(),
        Answer::Ignore => incoming.ignore(),
        Answer::Refuse => incoming.refuse(),
    }
}

fn decide(shared: &Shared, network: IpAddr, is_validated: bool, may_retry: bool) -> Answer {
    let (door, config) = (&shared.door, &shared.config);
    let half_open = door.half_open.load(Ordering::Relaxed);
    if half_open >= config.half_open_ignore {
        return Answer::Ignore;
    }
    let here = door.networks().get(&network).copied().unwrap_or(0);
    if door.open() >= config.connections_max || here >= config.connections_per_ip_max {
        return Answer::Refuse;
    }
    if half_open >= config.half_open_retry && !is_validated && may_retry {
        return Answer::Retry;
    }
    Answer::Accept
}

fn enter(shared: &Shared, network: IpAddr) -> Slot {
    shared.door.open.fetch_add(1, Ordering::Relaxed);
    *shared.door.networks().entry(network).or_insert(0) += 1;
    let gauge = shared.metrics.connections.clone();
    gauge.inc();
    Slot { door: shared.door.clone(), network, gauge }
}

fn half_open(shared: &Shared) -> HalfOpen {
    shared.door.half_open.fetch_add(1, Ordering::Relaxed);
    let gauge = shared.metrics.half_open.clone();
    gauge.inc();
    HalfOpen { door: shared.door.clone(), gauge }
}

/// What counts as one place: an IPv4 address, or the /64 an IPv6 subscriber has.
fn network(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_subscriber() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1:5"), "192.0.2.1");
        assert_eq!(of("[::ffff:192.0.2.1]:5"), "192.0.2.1");
        assert_eq!(of("[2001:db8:1:2:3:4:5:6]:5"), "2001:db8:1:2::");
    }
}
