//! Where reading begins, and whether that is safe.

use std::{sync::Arc, time::Duration};

use ports::log::ReadError;
use rdkafka::{
    Offset as Place, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, KafkaResult},
};

use tokio::time::Instant;

use crate::{
    config::KafkaConfig,
    settings::{Asking, Reach, base},
};

/// The brokers have this long for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What would stop a lane is asked for again so often: a broker that stood still, or was cut off,
/// goes on answering for a moment with what it knew as a leader.
pub(super) const ASKED_AGAIN: u32 = 3;
/// The pause before that.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Asks what a consumer group has committed and what a log holds, without being a member.
pub(crate) struct Start {
    client: Asking,
    topic: String,
}

/// Where reading may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Everything below is finished.
    pub(crate) committed: u64,
    /// The first record that is kept.
    pub(crate) low: u64,
    /// After the last record.
    pub(crate) high: u64,
}

impl Start {
    pub(crate) fn new(config: &KafkaConfig, topic: &str, reach: &Reach) -> KafkaResult<Arc<Self>> {
        let mut settings = base(config);
        settings.set("group.id", topic).set("enable.auto.commit", "false");
        let client = settings.create_with_context(crate::settings::Events(reach.clone()))?;
        Ok(Arc::new(Self { client, topic: topic.to_owned() }))
    }

    /// The first and the last offset that are kept. Blocks.
    pub(crate) fn ends(&self, partition: i32) -> KafkaResult<(u64, u64)> {
        // Takes what the client has to say, which else stays in it.
        while self.client.poll(Duration::ZERO).is_some() {}
        let (low, high) = self.client.fetch_watermarks(&self.topic, partition, ANSWER_WITHIN)?;
        Ok((low.max(0).unsigned_abs(), high.max(0).unsigned_abs()))
    }

    /// What the group has committed. Blocks.
    pub(crate) fn committed(&self, partition: i32) -> KafkaResult<Option<u64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let list = self.client.committed_offsets(list, ANSWER_WITHIN)?;
        let found = list.find_partition(&self.topic, partition);
        let found = found.ok_or(KafkaError::NoMessageReceived)?;
        found.error()?;
        Ok(match found.offset() {
            Place::Offset(offset) => u64::try_from(offset).ok(),
            Place::Beginning
            | Place::End
            | Place::Stored
            | Place::Invalid
            | Place::OffsetTail(_) => None,
        })
    }

    /// Waits a moment and looks who leads the partitions now. Blocks.
    pub(crate) fn look_again(&self) {
        let until = Instant::now() + AGAIN_AFTER;
        while Instant::now() < until {
            // Nothing is fetched: it takes what the client has to say meanwhile.
            drop(self.client.poll(AGAIN_AFTER));
        }
        if let Err(error) = self.client.fetch_metadata(Some(&self.topic), ANSWER_WITHIN) {
            tracing::debug!(%error, "who leads the partitions is not known");
        }
    }

    /// Where reading begins. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Retry`]: the brokers did not say. [`ReadError::Stop`]: reading from there would
    /// skip records, or the log is not the one that was read.
    pub(crate) fn find(&self, partition: i32, from: Option<u64>) -> Result<Begin, ReadError> {
        let retry = |error: KafkaError| ReadError::Retry(error.to_string());
        let name = format!("partition {partition} of {}", self.topic);
        let ask = || {
            let committed = self.committed(partition).map_err(retry)?;
            let (low, high) = self.ends(partition).map_err(retry)?;
            Ok(judge(&name, committed, low, high, from))
        };
        settled(ask, || self.look_again())
    }
}

/// Where it is safe to begin, as soon as one answer says so; that it is not safe takes several.
fn settled<T>(
    ask: impl Fn() -> Result<Result<T, String>, ReadError>,
    wait: impl Fn(),
) -> Result<T, ReadError> {
    let mut answer = ask()?;
    for _ in 0..ASKED_AGAIN {
        if answer.is_ok() {
            break;
        }
        wait();
        answer = ask()?;
    }
    answer.map_err(ReadError::Stop)
}

/// Whether it is safe to begin.
fn judge(
    name: &str,
    committed: Option<u64>,
    low: u64,
    high: u64,
    from: Option<u64>,
) -> Result<Begin, String> {
    let begin = Begin { committed: committed.unwrap_or(0), low, high };
    match committed {
        None if low > 0 => Err(format!(
            "nothing of {name} is committed and its records below {low} are deleted: they may \
             never have been read. If they were, or are given up: with all workers stopped, \
             commit {low} for the group of that name"
        )),
        Some(committed) if committed < low => Err(format!(
            "{name} is committed to {committed} and its records below {low} are deleted: {} were \
             never read. Raise retention.ms; to give them up: with all workers stopped, commit \
             {low} for the group of that name",
            low - committed
        )),
        Some(committed) if committed > high => Err(format!(
            "{name} is committed to {committed} and ends at {high}: it is not the log that was \
             read, or its end was lost. Begin a new epoch; do not reset the group"
        )),
        None | Some(_) if from.is_some_and(|from| from > high) => Err(format!(
            "{name} ends at {high}, before where it was to be read: its end was lost. Begin a new \
             epoch; do not reset the group"
        )),
        None | Some(_) => Ok(begin),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ports::log::ReadError;

    use super::{ASKED_AGAIN, judge, settled};

    #[test]
    fn what_a_broker_knew_when_it_was_cut_off_stops_nothing() {
        let asked = Cell::new(0);
        let high_after = |answers: u32| {
            asked.set(0);
            let ask = || {
                asked.set(asked.get() + 1);
                let high = if asked.get() > answers { 9 } else { 4 };
                Ok(judge("it", Some(5), 0, high, None))
            };
            settled(ask, || {}).map(|begin| begin.high)
        };
        assert_eq!((high_after(0), asked.get()), (Ok(9), 1));
        assert_eq!(high_after(ASKED_AGAIN), Ok(9));
        assert!(matches!(high_after(ASKED_AGAIN + 1), Err(ReadError::Stop(_))));
    }

    #[test]
    fn reading_begins_only_where_nothing_is_skipped() {
        let check = |committed, low, high, from| judge("it", committed, low, high, from).is_ok();
        assert!(check(None, 0, 0, None), "a new log");
        assert!(check(None, 0, 9, None), "a new group on a whole log");
        assert!(!check(None, 1, 9, None), "deleted before it was ever read");
        assert!(check(Some(5), 5, 9, None));
        assert!(check(Some(9), 9, 9, None), "all finished and deleted");
        assert!(!check(Some(4), 5, 9, None), "deleted before it was read");
        assert!(!check(Some(10), 0, 9, None), "another log, or truncated");
        assert!(check(Some(5), 3, 9, Some(0)), "what is deleted was finished");
        assert!(!check(Some(5), 3, 9, Some(10)));
    }
}
