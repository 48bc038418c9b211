//! How many appends a second one process makes: `produce BROKERS [RECORDS [PARTITIONS]]`.
//!
//! Makes topics of its own, appends records of 256 bytes one at a time to all partitions in turn,
//! as fast as they are taken, then reads them all back. To compare with Kafka's own
//! `kafka-producer-perf-test`.

use std::{collections::VecDeque, fs, time::Duration};

use bytes::Bytes;
use log_kafka::{
    KafkaConfig, KafkaLog,
    admin::{self, Wanted},
};
use ports::{
    Log,
    log::{ReadError, Refused},
};
use tokio::time::Instant;
use wire::{Partition, Topic};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("usage: produce BROKERS [RECORDS [PARTITIONS]]")?;
    let records: u64 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let partitions: u16 = arguments.next().map_or(Ok(16), |text| text.parse())?;
    let prefix = format!("produce-{}", std::process::id());
    let mut config = KafkaConfig::new(brokers.split(',').map(str::to_owned).collect(), prefix, "p");
    config.unsafe_replication = true;
    let wanted = Wanted {
        mail_partitions: partitions,
        group_partitions: 1,
        replication: 1,
        min_insync: 1,
        log_retention: Duration::from_secs(3600),
    };
    admin::apply(&config, &wanted, |step| println!("{}", step.what)).await?;
    let kafka = KafkaLog::open(config).await?;
    let log = kafka.log();
    // The first append waits for the producer to be known to the brokers.
    log.try_append(Topic::Mail, vec![(Partition::new(0), Bytes::from_static(b"first"))])?.await?;

    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    append(log.as_ref(), records, partitions).await?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let count = records as f64;
    println!(
        "appended {records} in {took:.2} s: {:.0}/s, {:.2} us of CPU each",
        count / took,
        cpu * 1e6 / count
    );
    let (begin, cpu) = (Instant::now(), cpu_seconds()?);
    read(log.as_ref(), records + 1, partitions).await?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    println!("read in {took:.2} s: {:.0}/s, {:.2} us of CPU each", count / took, cpu * 1e6 / count);
    println!("{:?}", kafka.stats());
    drop(log);
    kafka.close().await;
    Ok(())
}

async fn append(
    log: &dyn Log,
    records: u64,
    partitions: u16,
) -> Result<(), Box<dyn std::error::Error>> {
    let record = Bytes::from(vec![b'x'; 256]);
    let mut answers = VecDeque::new();
    for number in 0..records {
        let partition = u16::try_from(number % u64::from(partitions))?;
        loop {
            match log.try_append(Topic::Mail, vec![(Partition::new(partition), record.clone())]) {
                Ok(answer) => {
                    answers.push_back(answer);
                    break;
                }
                Err(Refused::Overload) => {
                    answers.pop_front().ok_or("refused with nothing under way")?.await?;
                }
                Err(refused) => return Err(refused.into()),
            }
        }
    }
    for answer in answers {
        answer.await?;
    }
    Ok(())
}

async fn read(log: &dyn Log, records: u64, partitions: u16) -> Result<(), ReadError> {
    let mut left = records;
    for partition in 0..partitions {
        let mut reader = log.open(Topic::Mail, Partition::new(partition)).await?;
        let share = (records - 1) / u64::from(partitions) + u64::from(partition == 0);
        let mut seen = 0;
        while seen < share {
            let batch = reader.next_batch(1024, 1 << 20).await?;
            seen += batch.len() as u64;
            if let Some(last) = batch.last() {
                reader.commit(last.seq).await?;
            }
        }
        left -= seen.min(left);
    }
    Ok(())
}

/// What this process has used, from the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let rest = text.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
