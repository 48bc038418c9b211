//! How fast rows are appended, beside a bare loop over the same driver and statements with as many
//! requests at a time, in turn.
//!
//! Every batch has a row for each of 256 users, as a worker's batches have. CPU time is that of
//! this process. `cargo xtask bench engines append_speed` starts what it needs.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement"
)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use mailbox_scylla::{CqlConfig, CqlStore, schema};
use ports::{
    Mailbox,
    mailbox::{Batch, Row},
};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::prepared::PreparedStatement,
};
use tokio::{task::JoinSet, time::Instant};
use wire::{Seq, UserId};

const USERS: u64 = 256;
const ITEM_BYTES: usize = 300;
const SECONDS: u64 = 4;
const LANES: u64 = 2;
const ROUNDS: u64 = 5;
/// Of the rate of the bare loop, at least.
const AIM: f64 = 0.8;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The rows of one position: a row for every user of a lane.
fn rows(lane: u64, position: u64, item: &Bytes) -> Vec<Row> {
    let log_time_ms = now_ms();
    let row = |user: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&lane.to_be_bytes());
        id[8..].copy_from_slice(&user.to_be_bytes());
        Row {
            user: UserId::from_bytes(id),
            seq: Seq::from_u64(1 << 44 | position),
            log_time_ms,
            expires_ms: log_time_ms + 3_600_000,
            item: item.clone(),
        }
    };
    (0..USERS).map(row).collect()
}

struct Bare {
    session: Session,
    insert: PreparedStatement,
    head: PreparedStatement,
}

impl Bare {
    async fn open(nodes: &[String], keyspace: &str) -> Self {
        let session = SessionBuilder::new().known_nodes(nodes).build().await.unwrap();
        let prepare = async |text: &str| {
            let text = text.replace("{keyspace}", keyspace);
            let mut statement = session.prepare(text).await.unwrap();
            statement.set_is_idempotent(true);
            statement
        };
        let insert = prepare(
            "INSERT INTO {keyspace}.mailbox_rows \
             (user_id, bucket, seq, log_ms, expires_ms, item) \
             VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
        )
        .await;
        let head = prepare(
            "INSERT INTO {keyspace}.mailbox_buckets (user_id, bucket, newest, log_ms) \
             VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        )
        .await;
        Self { session, insert, head }
    }

    async fn append(&self, rows: &[Row]) {
        let append = async |row: &Row| {
            let seq = i64::try_from(row.seq.get()).unwrap();
            let bucket = i32::try_from(seq >> 30).unwrap();
            let log_ms = i64::try_from(row.log_time_ms).unwrap();
            let expires_ms = i64::try_from(row.expires_ms).unwrap();
            let user = row.user.as_bytes();
            let values =
                (user, bucket, seq, log_ms, expires_ms, &row.item, log_ms * 1000, 3600_i32);
            self.session.execute_unpaged(&self.insert, values).await.unwrap();
            let values = (user, bucket, seq, log_ms, seq);
            self.session.execute_unpaged(&self.head, values).await.unwrap();
        };
        let mut running: FuturesUnordered<_> = rows.iter().map(append).collect();
        while running.next().await.is_some() {}
    }
}

/// Lets lanes append until the time is over; rows a second.
async fn measure<F>(name: &str, lane: impl Fn(u64, Instant) -> F) -> f64
where
    F: Future<Output = u64> + Send + 'static,
{
    let (began, cpu) = (Instant::now(), cpu_time());
    let until = began + Duration::from_secs(SECONDS);
    let mut tasks = JoinSet::new();
    (0..LANES).for_each(|number| {
        tasks.spawn(lane(number, until));
    });
    let rows: u64 = tasks.join_all().await.into_iter().sum();
    let (took, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let per_second = rows as f64 / took;
    let cpu_us = cpu * 1e6 / rows as f64;
    println!("{name:<44} {per_second:>12.0} row/s {cpu_us:>9.2} CPU us/row");
    per_second
}

/// One lane of the bare loop.
async fn append_bare(bare: Arc<Bare>, lane: u64, first: u64, until: Instant) -> u64 {
    let item = Bytes::from(vec![7; ITEM_BYTES]);
    let mut appended = 0;
    while Instant::now() < until {
        bare.append(&rows(lane, first + appended, &item)).await;
        appended += USERS;
    }
    appended
}

/// One lane of the store.
async fn append(mailbox: Arc<dyn Mailbox>, lane: u64, first: u64, until: Instant) -> u64 {
    let item = Bytes::from(vec![7; ITEM_BYTES]);
    let mut appended = 0;
    while Instant::now() < until {
        let rows = rows(lane + 1000, first + appended, &item);
        mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
        appended += USERS;
    }
    appended
}

#[tokio::main]
async fn main() {
    let nodes = std::env::var("POSTHORN_TEST_CQL")
        .expect("POSTHORN_TEST_CQL is not set: cargo xtask bench engines");
    let nodes: Vec<String> = nodes.split(',').map(str::to_owned).collect();
    let keyspace = format!("append_speed_{}", std::process::id());
    let mut config = CqlConfig::new(nodes.clone(), keyspace.clone());
    config.unsafe_replication = true;
    let wanted = schema::wanted(&config, 1).await.unwrap();
    schema::apply(&config, &wanted, |_| {}).await.unwrap();

    let bare = Arc::new(Bare::open(&nodes, &keyspace).await);
    let store = CqlStore::open(config, now_ms).await.unwrap();
    let mut ratios = Vec::new();
    // The first round warms up: a node of Cassandra gets faster for a while.
    for round in 0..=ROUNDS {
        // Positions and users of every measurement are new.
        let first = round << 24;
        let lane = |lane, until| append_bare(Arc::clone(&bare), lane, first, until);
        let limit = measure("mailbox, bare loop", lane).await;
        let lane = |lane, until| append(store.mailbox(), lane, first, until);
        let rate = measure("mailbox, mailbox-scylla", lane).await;
        if round > 0 {
            ratios.push(rate / limit);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let verdict = if ratio >= AIM { "reached" } else { "missed" };
    println!("mailbox: {ratio:.2} of the rate of a bare loop, aim {AIM:.2}: {verdict}");
    store.close().await;
}
