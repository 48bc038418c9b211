//! How many appends a second one process makes, beside Kafka's own `ProducerPerformance`.
//!
//! Both append records of 256 bytes one at a time to the same topic, as fast as they are taken,
//! with the same settings, in turn; the first part of each turn warms up and does not count. Then
//! everything of one round is read back. `cargo xtask bench engines produce` starts what it needs.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a measurement")]

use std::{collections::VecDeque, env, fs, process::Command, time::Duration};

use bytes::Bytes;
use log_kafka::{
    KafkaConfig, KafkaLog,
    admin::{self, Wanted},
};
use ports::{
    BoxFuture, Log,
    log::{AppendError, Refused},
};
use tokio::time::Instant;
use wire::{Partition, Seq, Topic};

const ROUNDS: usize = 3;
const PARTITIONS: u16 = 16;
const RECORD_BYTES: usize = 256;
const WARM_UP: u64 = 200_000;
const RECORDS: u64 = 600_000;
/// Of the rate of Kafka's own, at least.
const AIM: f64 = 0.7;

/// What appending so many records took.
#[derive(Clone, Copy)]
struct Run {
    per_second: f64,
    /// CPU microseconds of the appending process for each record.
    cpu_us: f64,
}

#[tokio::main]
async fn main() {
    let brokers = variable("POSTHORN_TEST_KAFKA");
    let prefix = format!("produce-{}", std::process::id());
    let mut config =
        KafkaConfig::new(brokers.split(',').map(str::to_owned).collect(), prefix.clone(), "p");
    config.unsafe_replication = true;
    let wanted = Wanted {
        mail_partitions: PARTITIONS,
        group_partitions: 1,
        replication: 1,
        min_insync: 1,
        log_retention: Duration::from_secs(3600),
    };
    admin::apply(&config, &wanted, |_| {}).await.unwrap();
    let kafka = KafkaLog::open(config).await.unwrap();
    let log = kafka.log();
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        append(log.as_ref(), WARM_UP).await;
        let ours = append(log.as_ref(), RECORDS).await;
        let theirs = producer_performance(&brokers, &format!("{prefix}.mail.e1"));
        print("produce, log-kafka", ours);
        print("produce, Kafka's ProducerPerformance", theirs);
        ratios.push(ours.per_second / theirs.per_second);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    let verdict = if ratio >= AIM { "reached" } else { "missed" };
    print("read back, log-kafka", read(log.as_ref()).await);
    println!("produce: {ratio:.2} of the rate of Kafka's own tool, aim {AIM:.2}: {verdict}");
    drop(log);
    kafka.close().await;
}

fn print(name: &str, run: Run) {
    println!("{name:<44} {:>12.0} rec/s {:>9.2} CPU us/rec", run.per_second, run.cpu_us);
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask bench engines"))
}

/// Appends as an edge does, each record alone; waits for answers only when refused.
async fn append(log: &dyn Log, records: u64) -> Run {
    type Answer = BoxFuture<'static, Result<Vec<Seq>, AppendError>>;
    let (began, cpu) = (Instant::now(), cpu_time(Whose::Own));
    let record = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut answers: VecDeque<Answer> = VecDeque::new();
    for number in 0..records {
        let partition = Partition::new(u16::try_from(number % u64::from(PARTITIONS)).unwrap());
        loop {
            match log.try_append(Topic::Mail, vec![(partition, record.clone())]) {
                Ok(answer) => {
                    answers.push_back(answer);
                    break;
                }
                Err(Refused::Overload) => {
                    answers.pop_front().unwrap().await.unwrap();
                }
                Err(refused @ (Refused::Storage | Refused::Closing)) => panic!("{refused}"),
            }
        }
    }
    for answer in answers {
        answer.await.unwrap();
    }
    run(records, began, cpu_time(Whose::Own) - cpu)
}

/// Kafka's own tool with the settings of our producer.
fn producer_performance(brokers: &str, topic: &str) -> Run {
    let cpu = cpu_time(Whose::Children);
    let output = Command::new(variable("POSTHORN_BENCH_JAVA"))
        .args(["-Xmx512m", "-cp", &variable("POSTHORN_BENCH_KAFKA_TOOLS")])
        .args(["org.apache.kafka.tools.ProducerPerformance", "--bootstrap-server", brokers])
        .args(["--topic", topic, "--throughput", "-1"])
        .args(["--num-records", &(WARM_UP + RECORDS).to_string()])
        .args(["--warmup-records", &WARM_UP.to_string()])
        .args(["--record-size", &RECORD_BYTES.to_string(), "--command-property"])
        .args(["acks=all", "enable.idempotence=true", "linger.ms=2", "batch.size=524288"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let steady = said.lines().rfind(|line| line.contains("steady state records sent"));
    let rate = steady.and_then(|line| line.split(", ").nth(1)?.split(' ').next()?.parse().ok());
    let per_second = rate.unwrap_or_else(|| panic!("no rate in: {said}{errors}"));
    let cpu = cpu_time(Whose::Children) - cpu;
    Run { per_second, cpu_us: cpu.as_secs_f64() * 1e6 / (WARM_UP + RECORDS) as f64 }
}

/// Reads as many records as one round appends.
async fn read(log: &dyn Log) -> Run {
    let (began, cpu) = (Instant::now(), cpu_time(Whose::Own));
    let share = RECORDS / u64::from(PARTITIONS);
    let mut read = 0;
    for partition in 0..PARTITIONS {
        let mut reader = log.open(Topic::Mail, Partition::new(partition)).await.unwrap();
        let mut seen = 0;
        while seen < share {
            let batch = reader.next_batch(1024, 1 << 20).await.unwrap();
            seen += batch.len() as u64;
            reader.commit(batch.last().unwrap().seq).await.unwrap();
        }
        read += seen;
    }
    run(read, began, cpu_time(Whose::Own) - cpu)
}

fn run(records: u64, began: Instant, cpu: Duration) -> Run {
    let count = records as f64;
    Run {
        per_second: count / began.elapsed().as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
    }
}

/// Of which processes.
enum Whose {
    Own,
    /// Those that were started here and have ended.
    Children,
}

/// User and system time, in the kernel's ticks of 10 ms.
fn cpu_time(whose: Whose) -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let first = match whose {
        Whose::Own => 11,
        Whose::Children => 13,
    };
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    Duration::from_millis((ticks(first) + ticks(first + 1)) * 10)
}
