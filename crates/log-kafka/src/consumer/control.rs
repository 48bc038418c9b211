//! Readers of the control log: each reads all of it, for itself.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use ports::log::{ReadError, Reader};
use rdkafka::{
    Message, Offset as Place, TopicPartitionList, consumer::Consumer, error::KafkaResult,
};
use tokio::time::Instant;

use super::{
    lane::{Holes, Lane, Limits, Phase, Todo},
    reader::{Commits, LaneReader},
};
use crate::{
    config::KafkaConfig,
    layout::Layout,
    settings::{Asking, Events, Reach, base},
};

/// How long records are waited for at a time.
const POLL: Duration = Duration::from_millis(50);

/// The threads of all readers of the control log. A thread ends with its reader.
pub(crate) struct ControlReaders {
    config: KafkaConfig,
    layout: Arc<Layout>,
    reach: Reach,
    fetched: Arc<AtomicU64>,
    threads: Mutex<Vec<(Arc<AtomicBool>, JoinHandle<()>)>>,
}

/// A lane of its own, whose thread ends when it is dropped.
struct Own {
    lane: Arc<Lane>,
    stop: Arc<AtomicBool>,
}

impl AsRef<Lane> for Own {
    fn as_ref(&self) -> &Lane {
        &self.lane
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

impl ControlReaders {
    pub(crate) fn new(
        config: &KafkaConfig,
        layout: &Arc<Layout>,
        reach: &Reach,
        fetched: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            config: config.clone(),
            layout: Arc::clone(layout),
            reach: reach.clone(),
            fetched: Arc::clone(fetched),
            threads: Mutex::default(),
        }
    }

    /// A reader from this offset on.
    pub(crate) fn open(&self, from: u64) -> Result<Box<dyn Reader>, ReadError> {
        let limits =
            Limits { records: self.config.lane_records_max, bytes: self.config.lane_bytes_max };
        let lane = Arc::new(Lane::new(limits));
        lane.give();
        let grant = lane.lock().grant;
        let (number, _) = lane.take_over(grant, from, None).expect("nobody else has this lane");
        let stop = Arc::new(AtomicBool::new(false));
        let tail = Tail {
            client: self.connect(from).map_err(|error| ReadError::Retry(error.to_string()))?,
            lane: Arc::clone(&lane),
            layout: Arc::clone(&self.layout),
            stop: Arc::clone(&stop),
            fetched: Arc::clone(&self.fetched),
        };
        {
            let mut state = lane.lock();
            state.phase = Phase::Fetching(from);
            state.is_paused = false;
        }
        let thread = std::thread::Builder::new().name("kafka-control".into());
        let thread = thread
            .spawn(move || tail.run())
            .map_err(|error| ReadError::Retry(error.to_string()))?;
        let mut threads = self.threads.lock().expect("no holder of this lock panics");
        threads.retain(|(_, thread)| !thread.is_finished());
        threads.push((Arc::clone(&stop), thread));
        Ok(Box::new(LaneReader::new(Own { lane, stop }, number, from, Commits::Dropped)))
    }

    fn connect(&self, from: u64) -> KafkaResult<Asking> {
        let name = self.layout.name(wire::Topic::Control);
        let mut settings = base(&self.config);
        settings
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.queue.backoff.ms", "50");
        let client: Asking = settings.create_with_context(Events(self.reach.clone()))?;
        let mut list = TopicPartitionList::new();
        let place = i64::try_from(from).ok().filter(|from| *from > 0);
        list.add_partition_offset(name, 0, place.map_or(Place::Beginning, Place::Offset))?;
        client.assign(&list)?;
        Ok(client)
    }

    /// Ends all readers. Blocks for as long as that takes.
    pub(crate) fn stop(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().expect("no holder of this lock panics"));
        threads.iter().for_each(|(stop, _)| stop.store(true, SeqCst));
        for (_, thread) in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that reads the control log panicked");
            }
        }
    }
}

/// What one thread has.
struct Tail {
    client: Asking,
    lane: Arc<Lane>,
    layout: Arc<Layout>,
    stop: Arc<AtomicBool>,
    fetched: Arc<AtomicU64>,
}

impl Tail {
    fn run(self) {
        while !self.stop.load(SeqCst) {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    let offset = message.offset().max(0).unsigned_abs();
                    let time_ms = message.timestamp().to_millis().unwrap_or(0).max(0);
                    let record = message.payload().unwrap_or_default();
                    let epoch = self.layout.epoch();
                    self.fetched.fetch_add(1, SeqCst);
                    self.lane.push(offset, time_ms.unsigned_abs(), record, epoch, Holes::Normal);
                    self.lane.show();
                }
                // The client tries again by itself.
                Some(Err(error)) => tracing::debug!(%error, "reading the control log"),
                None => {}
            }
            if let Some(todo) = self.lane.todo(Instant::now()) {
                self.obey(todo);
            }
        }
        self.lane.lock().reader += 1;
        // Who waits learns that nothing comes any more.
        self.lane.wake();
    }

    fn obey(&self, todo: Todo) {
        let mut list = TopicPartitionList::new();
        list.add_partition(self.layout.name(wire::Topic::Control), 0);
        let (done, is_paused) = match todo {
            Todo::Pause => (self.client.pause(&list), true),
            Todo::Resume => (self.client.resume(&list), false),
            // Its holes are normal, so nothing is asked for again.
            Todo::Seek(_) => return,
        };
        match done {
            Ok(()) => self.lane.lock().is_paused = is_paused,
            Err(error) => tracing::warn!(%error, "pausing the control log"),
        }
    }
}
