//! Where reading begins, and whether that is safe.

use std::{sync::Arc, time::Duration};

use ports::log::ReadError;
use rdkafka::{
    Offset as Place, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, KafkaResult},
};

use crate::{
    config::KafkaConfig,
    settings::{Asking, Reach, base},
};

/// The brokers have this long for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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

    /// Where reading begins. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Retry`]: the brokers did not say. [`ReadError::Stop`]: reading from there would
    /// skip records, or the log is not the one that was read.
    pub(crate) fn find(&self, partition: i32, from: Option<u64>) -> Result<Begin, ReadError> {
        let retry = |error: KafkaError| ReadError::Retry(error.to_string());
        let committed = self.committed(partition).map_err(retry)?;
        let (low, high) = self.ends(partition).map_err(retry)?;
        let name = format!("partition {partition} of {}", self.topic);
        judge(&name, committed, low, high, from).map_err(ReadError::Stop)
    }
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
    use super::judge;

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
