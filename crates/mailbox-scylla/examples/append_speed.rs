//! How fast rows are appended, beside a bare loop over the same driver and statements.
//!
//! `append_speed HOST:PORT [SECONDS] [LANES]`, on a database without much in it: it makes a
//! keyspace
//! `append_speed` with a single copy and leaves it there. Every batch has a row for each of 256
//! users, as a worker's batches have. CPU time is that of this process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
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
    async fn open(node: &str) -> Self {
        let session = SessionBuilder::new().known_node(node).build().await.unwrap();
        let prepare = async |text: &str| {
            let mut statement = session.prepare(text).await.unwrap();
            statement.set_is_idempotent(true);
            statement
        };
        let insert = prepare(
            "INSERT INTO append_speed.mailbox_rows \
             (user_id, bucket, seq, log_ms, expires_ms, item) \
             VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
        )
        .await;
        let head = prepare(
            "INSERT INTO append_speed.mailbox_buckets (user_id, bucket, newest, log_ms) \
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

/// Counts what lanes append, and says it.
async fn measure<F>(name: &str, seconds: u64, lanes: u64, lane: impl Fn(u64, Instant) -> F)
where
    F: Future<Output = u64> + Send + 'static,
{
    let (began, cpu) = (Instant::now(), cpu_time());
    let until = began + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    (0..lanes).for_each(|number| {
        tasks.spawn(lane(number, until));
    });
    let rows: u64 = tasks.join_all().await.into_iter().sum();
    let (took, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let per_second = rows as f64 / took;
    let cpu_us = cpu * 1e6 / rows as f64;
    println!("{name:<8} {per_second:>8.0} rows/s {cpu_us:>6.1} us of CPU a row");
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().unwrap_or_else(|| "127.0.0.1:9042".to_owned());
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (seconds, lanes) = (number(5), number(2));
    let mut config = CqlConfig::new(vec![node.clone()], "append_speed");
    config.unsafe_replication = true;
    let wanted = schema::wanted(&config, 1).await.unwrap();
    schema::apply(&config, &wanted, |step| println!("{}", step.what)).await.unwrap();

    let item = Bytes::from(vec![7; ITEM_BYTES]);
    let bare = Arc::new(Bare::open(&node).await);
    let store = CqlStore::open(config, now_ms).await.unwrap();
    for round in 0..3_u64 {
        // Positions and users of every measurement are new.
        let first = round << 32;
        measure("bare", seconds, lanes, |lane, until| {
            let (bare, item) = (Arc::clone(&bare), item.clone());
            async move {
                let mut appended = 0;
                while Instant::now() < until {
                    bare.append(&rows(lane, first + appended, &item)).await;
                    appended += USERS;
                }
                appended
            }
        })
        .await;
        measure("store", seconds, lanes, |lane, until| {
            let (mailbox, item): (Arc<dyn Mailbox>, _) = (store.mailbox(), item.clone());
            async move {
                let mut appended = 0;
                while Instant::now() < until {
                    let rows = rows(lane + 1000, first + appended, &item);
                    mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
                    appended += USERS;
                }
                appended
            }
        })
        .await;
    }
    println!("{:?}", store.stats());
    store.close().await;
}
