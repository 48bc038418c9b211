//! Attackers: nobody of the population, nothing of theirs is in the ledger.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use client::{Address, Client, Config, Endpoint, Servers, Via, store::MemoryStore};
use link::{quic::ClientEndpoint, tls::Roots};
use rand::{RngExt as _, rand_core::Rng as _};
use tokio::{
    net::{UdpSocket, lookup_host},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::wall_clock_ms,
    cluster::{Minter, Target, TokenKey},
    scenario::{Flood, FloodKind, seed::Purpose},
};

/// An attacker works in steps of this, with as much as is due at once.
const STEP: Duration = Duration::from_millis(5);
/// Garbage is at most as long as a datagram that is never split.
const GARBAGE_BYTES_MAX: usize = 1200;
/// What is sent to those who read nothing.
const SPAM: &[u8] = &[0x5A; 1024];
/// An unauthenticated connection is held so long by its attacker.
const HELD: Duration = Duration::from_secs(10);
/// Messages a second to each of them, unless the scenario says how many there are in all.
const SPAM_RATE: f64 = 2.0;
/// Slow readers that connect at once.
const CONNECTING_MAX: usize = 16;

/// Attacks for as long as it is asked for, or until `stop`; what there is to say of it.
///
/// # Errors
/// When it cannot begin.
pub(super) async fn attack(
    flood: &Flood,
    target: &Target,
    stop: &CancellationToken,
) -> anyhow::Result<String> {
    let until = Instant::now() + flood.duration;
    let attacking = async {
        match flood.kind {
            FloodKind::Garbage => garbage(flood, target, until).await,
            FloodKind::Handshakes => handshakes(flood, target, until).await,
            FloodKind::SlowReaders => slow_readers(flood, target, until).await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok("the attack was broken off".to_owned()),
        said = attacking => said,
    }
}

/// Random bytes to the port, some of which begin like packets of the protocol.
async fn garbage(flood: &Flood, target: &Target, until: Instant) -> anyhow::Result<String> {
    let server = address(target).await?;
    let mut sockets = Vec::new();
    for _ in 0..flood.connections.max(1) {
        let socket = UdpSocket::bind((any(server), 0)).await.context("no socket to be had")?;
        socket.connect(server).await?;
        sockets.push(socket);
    }
    let mut random = Purpose::Action { phase: 0, action: 0 }.random(wall_clock_ms());
    let mut bytes = vec![0; GARBAGE_BYTES_MAX];
    let mut sent = 0_u64;
    let mut budget = Budget::new(flood.rate);
    while budget.wait(until).await {
        for _ in 0..budget.take() {
            let len = random.random_range(1..=GARBAGE_BYTES_MAX);
            random.fill_bytes(&mut bytes[..len]);
            let socket = &sockets[sent as usize % sockets.len()];
            // A full buffer of the system drops what is only garbage.
            let _ = socket.try_send(&bytes[..len]);
            sent += 1;
        }
    }
    Ok(format!("{sent} datagrams of garbage were sent"))
}

/// Connections that are begun and never authenticate: at most so many are held.
async fn handshakes(flood: &Flood, target: &Target, until: Instant) -> anyhow::Result<String> {
    let server = address(target).await?;
    let roots = roots(target)?;
    let endpoints: Vec<ClientEndpoint> = (0..flood.connections.clamp(1, 16))
        .map(|_| ClientEndpoint::bind(roots.clone()))
        .collect::<Result<_, _>>()?;
    let (mut begun, mut shaken) = (0_u64, 0_u64);
    let mut tasks: JoinSet<bool> = JoinSet::new();
    let mut budget = Budget::new(flood.rate);
    while budget.wait(until).await {
        for _ in 0..budget.take() {
            while let Some(ended) = tasks.try_join_next() {
                shaken += u64::from(ended.unwrap_or(false));
            }
            if tasks.len() >= flood.connections as usize {
                break;
            }
            let endpoint = endpoints[begun as usize % endpoints.len()].clone();
            let name = target.server_name.clone();
            begun += 1;
            tasks.spawn(async move {
                let Ok(connection) = endpoint.connect(server, &name).await else { return false };
                // Says nothing until it is thrown out, or makes room for the next.
                let held = timeout_at(until.min(Instant::now() + HELD), connection.closed()).await;
                drop(held);
                true
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        shaken += u64::from(ended.unwrap_or(false));
    }
    Ok(format!("{begun} handshakes were begun, {shaken} were completed and left there"))
}

/// Devices with valid tokens that take nothing of what one more device sends them.
async fn slow_readers(flood: &Flood, target: &Target, until: Instant) -> anyhow::Result<String> {
    let minter =
        Arc::new(Minter::new(TokenKey::read(&target.token_key_file)?, target.identity.clone()));
    let endpoint = Endpoint::bind(roots(target)?)?;
    let attack = wall_clock_ms();
    let connect = |number: u32| {
        let name = format!("lt-attacker-{attack:x}-{number}");
        let config = config(target, &endpoint, &minter, name);
        async move { Client::connect(config).await }
    };
    let spammer = connect(0).await.context("the attackers cannot connect")?;
    let mut readers = Vec::new();
    let mut connecting = JoinSet::new();
    for number in 1..=flood.connections.max(1) {
        connecting.spawn(connect(number));
        if connecting.len() >= CONNECTING_MAX
            && let Some(connected) = connecting.join_next().await
        {
            readers.extend(connected?.ok());
        }
    }
    while let Some(connected) = connecting.join_next().await {
        readers.extend(connected?.ok());
    }
    let (mut sent, mut refused) = (0_u64, 0_u64);
    let rate = if flood.rate > 0.0 { flood.rate } else { SPAM_RATE * readers.len() as f64 };
    let mut budget = Budget::new(rate);
    while budget.wait(until).await {
        for _ in 0..budget.take() {
            let number = 1 + sent % u64::from(flood.connections.max(1));
            let user = minter.user(&format!("lt-attacker-{attack:x}-{number}"));
            match spammer.enqueue(Address::User(user), SPAM) {
                Ok(_) => sent += 1,
                Err(_) => refused += 1,
            }
        }
    }
    sleep_until(until).await;
    let count = readers.len();
    drop(readers);
    Ok(format!("{count} slow readers took nothing of {sent} messages ({refused} not queued)"))
}

fn config(target: &Target, endpoint: &Endpoint, minter: &Arc<Minter>, name: String) -> Config {
    let servers = Servers::Quic {
        addresses: target.servers.clone(),
        server_name: target.server_name.clone(),
        via: Via::Shared(endpoint.clone()),
    };
    let minter = Arc::clone(minter);
    let token = move || std::future::ready(Ok(minter.mint(&name, wall_clock_ms())));
    Config::new(servers, token, MemoryStore::default())
}

fn roots(target: &Target) -> anyhow::Result<Roots> {
    let path = &target.ca_file;
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Roots::from_pem(&pem)?)
}

async fn address(target: &Target) -> anyhow::Result<SocketAddr> {
    let server = target.servers.first().context("there is no server to attack")?;
    let mut found = lookup_host(server).await.with_context(|| format!("look up {server}"))?;
    found.next().with_context(|| format!("{server} has no address"))
}

fn any(server: SocketAddr) -> std::net::IpAddr {
    match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// How much is due of something that happens at a rate.
struct Budget {
    per_step: f64,
    due: f64,
    steps: tokio::time::Interval,
}

impl Budget {
    fn new(rate: f64) -> Self {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { per_step: rate * STEP.as_secs_f64(), due: 0.0, steps }
    }

    /// Waits for the next step; false when it is over.
    async fn wait(&mut self, until: Instant) -> bool {
        self.steps.tick().await;
        self.due += self.per_step;
        Instant::now() < until
    }

    /// How much is due now.
    fn take(&mut self) -> u64 {
        let whole = self.due.floor();
        self.due -= whole;
        whole as u64
    }
}
