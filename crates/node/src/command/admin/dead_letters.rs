//! `posthorn admin deadletters`: records that nobody could read.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use embedded::Engine;
use log_kafka::{KafkaConfig, admin};
use ports::log::DeadLetter;
use serde::Serialize;
use wire::Topic;

use crate::{
    catalogue::Code,
    cli::{Format, NodeArgs, OutputArgs},
    clock,
    command::admin::{
        engines::{close_embedded, kafka, kafka_failed, open_embedded},
        steps::ApplyArgs,
    },
    config::{self, Config, cluster},
    content,
    failure::{Failure, Outcome},
    output,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin deadletters list --config posthorn.toml
  posthorn admin deadletters list --after 99 --limit 10 -o json
  posthorn admin deadletters show 3 --config posthorn.toml
  posthorn admin deadletters put-back 3 --config posthorn.toml --yes

A worker that meets a record which no version of the program can read keeps it apart, raises the
alarm `dead_letter` and goes on. Look at it, mend the cause (often a program that wrote to the
topics and should not), and put the record back if it was good.";

/// Bytes of a record that are printed for people; machines get all.
const SHOWN_BYTES_MAX: usize = 1024;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, oldest first
    List(ListArgs),
    /// Show one with its bytes
    Show(ShowArgs),
    /// Append one to its topic again, as a new record
    ///
    /// It stays in the list. A message that was delivered already is not delivered twice: devices
    /// know what they have.
    PutBack(PutBackArgs),
}

/// Arguments of `deadletters list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those with higher numbers
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    pub limit: u16,
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `deadletters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which one, by its number in the list
    pub number: u64,
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `deadletters put-back`.
#[derive(Debug, Args)]
pub struct PutBackArgs {
    /// Which one.
    #[command(flatten)]
    pub letter: ShowArgs,
    /// Whether something is changed.
    #[command(flatten)]
    pub apply: ApplyArgs,
}

/// A dead letter as JSON.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    topic: &'static str,
    partition: u16,
    seq: u64,
    log_time_ms: u64,
    bytes: usize,
    reason: &'a str,
    /// Only where one is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    /// Only where one is put back: whether it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    put_back: Option<bool>,
}

/// Where dead letters are kept.
enum Letters {
    Embedded(Box<Engine>),
    Kafka(Box<KafkaConfig>),
}

/// Does what is asked.
///
/// # Errors
/// When the engine cannot be used, or there is no such letter.
///
/// # Cancel safety
/// One may have been put back.
pub async fn run(command: DeadLettersCommand) -> Outcome {
    match command {
        DeadLettersCommand::List(args) => list(args).await,
        DeadLettersCommand::Show(args) => show(args).await,
        DeadLettersCommand::PutBack(args) => put_back(args).await,
    }
}

async fn list(args: ListArgs) -> Outcome {
    let letters = Letters::open(&load(&args.node)?).await?;
    let found = letters.list(args.after, usize::from(args.limit)).await;
    letters.close().await?;
    let found = found?;
    match args.output.format {
        Format::Json => {
            found.iter().try_for_each(|(number, letter)| output::json(&line(*number, letter)))
        }
        Format::Text => output::print(&table(&found, usize::from(args.limit))),
    }
}

async fn show(args: ShowArgs) -> Outcome {
    let letters = Letters::open(&load(&args.node)?).await?;
    let found = letters.find(args.number).await;
    letters.close().await?;
    let letter = found?;
    match args.output.format {
        Format::Json => output::json(&Line {
            record: Some(BASE64_STANDARD.encode(&letter.entry.record)),
            ..line(args.number, &letter)
        }),
        Format::Text => output::print(&page(args.number, &letter)),
    }
}

async fn put_back(args: PutBackArgs) -> Outcome {
    let PutBackArgs { letter: ShowArgs { number, node, output }, apply } = args;
    let letters = Letters::open(&load(&node)?).await?;
    let done = async {
        let letter = letters.find(number).await?;
        if apply.yes {
            letters.put_back(number, &letter).await?;
        }
        Ok(letter)
    };
    let done: Outcome<DeadLetter> = done.await;
    letters.close().await?;
    let letter = done?;
    if output.format == Format::Json {
        return output::json(&Line { put_back: Some(apply.yes), ..line(number, &letter) });
    }
    let place = format!("{} log, partition {}", topic(letter.topic), letter.partition);
    let bytes = letter.entry.record.len();
    output::print(&match apply.yes {
        true => format!("Dead letter {number} ({bytes} bytes) is a new record of the {place}.\n"),
        false => format!(
            "{}\nTo be appended: its {bytes} bytes as a new record of the {place}.\nThis was a dry \
             run: nothing was changed. The same with --yes does it.\n",
            page(number, &letter)
        ),
    })
}

fn load(node: &NodeArgs) -> Outcome<Config> {
    Ok(config::load(node.config.as_deref(), &node.set)?.config)
}

impl Letters {
    async fn open(config: &Config) -> Outcome<Self> {
        match config.node.engines {
            cluster::Engines::Embedded => {
                Ok(Self::Embedded(Box::new(open_embedded(config).await?)))
            }
            cluster::Engines::Cluster => Ok(Self::Kafka(Box::new(kafka(config)?))),
        }
    }

    async fn list(&self, after: Option<u64>, max: usize) -> Outcome<Vec<(u64, DeadLetter)>> {
        match self {
            Self::Embedded(engine) => {
                engine.dead_letters(after, max).map_err(|error| failed(&error.to_string()))
            }
            Self::Kafka(config) => {
                admin::dead_letters(config, after, max).await.map_err(|error| kafka_failed(&error))
            }
        }
    }

    async fn find(&self, number: u64) -> Outcome<DeadLetter> {
        // Numbers may have gaps: the next one is perhaps not the one.
        let found = self.list(number.checked_sub(1), 1).await?;
        let found = found.into_iter().find(|(one, _)| *one == number);
        found.map(|(_, letter)| letter).ok_or_else(|| {
            Failure::new(Code::NoDeadLetter, format!("there is no dead letter {number}"))
                .remedy("`posthorn admin deadletters list` prints those there are")
        })
    }

    async fn put_back(&self, number: u64, letter: &DeadLetter) -> Outcome {
        match self {
            Self::Embedded(engine) => {
                let record = vec![(letter.partition, letter.entry.record.clone())];
                let appended = engine.engines().log.try_append_owed(letter.topic, record);
                let appended = appended.map_err(|error| failed(&error.to_string()))?;
                appended.await.map(|_| ()).map_err(|error| failed(&error.to_string()))
            }
            Self::Kafka(config) => admin::put_back(config, number)
                .await
                .map(|_| ())
                .map_err(|error| kafka_failed(&error)),
        }
    }

    async fn close(self) -> Outcome {
        match self {
            Self::Embedded(engine) => close_embedded(*engine).await,
            Self::Kafka(_) => Ok(()),
        }
    }
}

fn failed(problem: &str) -> Failure {
    Failure::new(Code::EngineFailed, problem)
        .at("the dead letters")
        .remedy("give the command again; `posthorn check` tells what is wrong with the engine")
}

fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Mail => "mail",
        Topic::Group => "group",
        Topic::Control => "control",
    }
}

fn line(number: u64, letter: &DeadLetter) -> Line<'_> {
    Line {
        number,
        topic: topic(letter.topic),
        partition: letter.partition.get(),
        seq: letter.entry.seq.get(),
        log_time_ms: letter.entry.log_time_ms,
        bytes: letter.entry.record.len(),
        reason: &letter.reason,
        record: None,
        put_back: None,
    }
}

fn table(found: &[(u64, DeadLetter)], limit: usize) -> String {
    if found.is_empty() {
        return "There are no dead letters.\n".to_owned();
    }
    let mut text = format!(
        "{:>6}  {:7}  {:>9}  {:>18}  {:20}  {:>7}  REASON\n",
        "NUMBER", "LOG", "PARTITION", "POSITION", "TIME", "BYTES"
    );
    for (number, letter) in found {
        let DeadLetter { topic: of, partition, entry, reason } = letter;
        let _ = writeln!(
            text,
            "{number:>6}  {:7}  {:>9}  {:>18}  {:20}  {:>7}  {}",
            topic(*of),
            partition.get(),
            entry.seq.get(),
            clock::date_time(entry.log_time_ms),
            entry.record.len(),
            content::for_terminal(reason)
        );
    }
    if let Some((last, _)) = found.last().filter(|_| found.len() == limit) {
        let _ = writeln!(text, "\nThere may be more: --after {last}");
    }
    text
}

fn page(number: u64, letter: &DeadLetter) -> String {
    let DeadLetter { topic: of, partition, entry, reason } = letter;
    let mut text = format!(
        "Dead letter {number}\n  found in: {} log, partition {partition}, position {}\n  logged:   \
         {}\n  reason:   {}\n  record:   {} bytes\n\n",
        topic(*of),
        entry.seq.get(),
        clock::date_time(entry.log_time_ms),
        content::for_terminal(reason),
        entry.record.len()
    );
    let shown = &entry.record[..entry.record.len().min(SHOWN_BYTES_MAX)];
    for (index, bytes) in shown.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let plain: String = bytes.iter().map(plain).collect();
        let _ = writeln!(text, "  {:06x}  {:47}  {plain}", index * 16, hex.join(" "));
    }
    if shown.len() < entry.record.len() {
        let more = entry.record.len() - shown.len();
        let _ = writeln!(text, "  and {more} bytes more; -o json gives all of them");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use ports::log::Entry;
    use wire::{Partition, Seq};

    use super::*;

    fn letter(record: Bytes) -> DeadLetter {
        let entry = Entry { seq: Seq::from_u64(4711), log_time_ms: 1_735_689_600_000, record };
        let partition = Partition::new(3);
        DeadLetter { topic: Topic::Mail, partition, entry, reason: "cut short".to_owned() }
    }

    #[test]
    fn a_list_has_a_line_each_and_says_where_it_may_go_on() {
        let found = [(7, letter(Bytes::from_static(b"hello")))];
        let expected = "\
NUMBER  LOG      PARTITION            POSITION  TIME                    BYTES  REASON
     7  mail             3                4711  2025-01-01T00:00:00Z        5  cut short
";
        assert_eq!(table(&found, 2), expected);
        assert!(table(&found, 1).ends_with("There may be more: --after 7\n"));
        assert_eq!(table(&[], 1), "There are no dead letters.\n");
    }

    #[test]
    fn a_page_shows_the_bytes_and_what_may_harm_a_terminal_not() {
        let text = page(7, &letter(Bytes::from_static(b"hello\x1b[31m, reader: 16")));
        assert!(text.contains("68 65 6c 6c 6f 1b 5b 33 31 6d 2c 20 72 65 61 64"), "{text}");
        assert!(text.contains("hello.[31m,.read\n") && !text.contains('\x1b'), "{text}");
        let long = page(7, &letter(Bytes::from(vec![0; 2000])));
        assert!(long.ends_with("  and 976 bytes more; -o json gives all of them\n"), "{long}");
    }

    #[tokio::test]
    async fn what_is_put_back_is_a_new_record_of_its_partition() {
        let folder = tempfile::tempdir().unwrap();
        let config = embedded::EngineConfig::new(folder.path());
        let engine = Engine::open(config, clock::wall_clock_ms).unwrap();
        let log = engine.engines().log;
        log.append_dead_letter(letter(Bytes::from_static(b"one"))).await.unwrap();
        log.append_dead_letter(letter(Bytes::from_static(b"two"))).await.unwrap();
        let letters = Letters::Embedded(Box::new(engine));
        let found = letters.find(1).await.unwrap();
        letters.put_back(1, &found).await.unwrap();
        let mut reader = log.open(Topic::Mail, Partition::new(3)).await.unwrap();
        let records = reader.next_batch(10, 1000).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].record, "two");
        assert_eq!(letters.find(2).await.unwrap_err().code(), Code::NoDeadLetter);
        assert_eq!(letters.list(Some(0), 9).await.unwrap().len(), 1);
    }
}
