//! Takes note of what happens, from many threads at once.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hdrhistogram::Histogram;

use super::{
    latency::{self, Latencies},
    tally::Tally,
};
use crate::report::summary::Kind;

/// Threads that record at the same time rarely meet in one of so many parts.
const SHARDS: usize = 8;

/// A stretch of intended times that is judged by itself: a phase, or one step of a search. The
/// first, from the start of the run, is the setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub usize);

/// Latencies and counts of an interval or a span.
#[derive(Clone, Debug)]
pub struct Portion {
    /// How long things took.
    pub latencies: Latencies,
    /// Of the end-to-end latencies of a span, those on devices that were not gone in it.
    pub steadfast: Histogram<u64>,
    /// How much of everything happened.
    pub tally: Tally,
    /// Deliveries after an absence that came in this span, whenever they were intended.
    pub late: Late,
}

impl Default for Portion {
    fn default() -> Self {
        Self {
            latencies: Latencies::new(),
            steadfast: latency::empty(),
            tally: Tally::default(),
            late: Late::default(),
        }
    }
}

impl Portion {
    /// Takes those of another in addition.
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        latency::merge(&mut self.steadfast, &other.steadfast);
        self.tally.add(&other.tally);
        self.late.add(other.late);
    }
}

/// Deliveries to devices that had been away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub count: u64,
    /// When the first and the last came, nanoseconds since the run began; none came before any.
    pub came_ns: Option<(u64, u64)>,
}

impl Late {
    fn count(&mut self, at_ns: u64) {
        self.add(Self { count: 1, came_ns: Some((at_ns, at_ns)) });
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        if let Some((first, last)) = other.came_ns {
            let (ours, our_last) = self.came_ns.unwrap_or((first, last));
            self.came_ns = Some((ours.min(first), our_last.max(last)));
        }
    }
}

/// To whom a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The device was connected, with nothing waiting, when the message was intended.
    pub live: bool,
    /// When the device last came back, nanoseconds since the run began; 0 when it was never gone.
    pub gone_until_ns: u64,
}

/// Takes note of what happens. Nothing waits for more than one other record.
///
/// Every call names a `key` that spreads the work, such as the number of the device, and the
/// intended time of the message it is about, in nanoseconds since the run began.
#[derive(Debug)]
pub struct Recorder {
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    interval: Portion,
    /// What is kept by the intended time: when each span began, and its portion.
    spans: Vec<(u64, Portion)>,
}

impl Shard {
    fn span(&mut self, intended_ns: u64) -> &mut (u64, Portion) {
        let after = self.spans.partition_point(|(began, _)| *began <= intended_ns);
        let span = after.checked_sub(1).expect("the first span begins with the run");
        &mut self.spans[span]
    }
}

impl Recorder {
    /// A recorder in its first span, the setup.
    #[must_use]
    pub fn new() -> Self {
        let shard = || {
            Mutex::new(Shard { interval: Portion::default(), spans: vec![(0, Portion::default())] })
        };
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// A new span begins: what is intended from `began_ns` on belongs to it.
    pub fn begin_span(&self, began_ns: u64) -> Span {
        let mut span = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            let last = shard.spans.last().map_or(0, |(began, _)| *began);
            assert!(last <= began_ns, "spans follow each other");
            span = shard.spans.len();
            shard.spans.push((began_ns, Portion::default()));
        }
        Span(span)
    }

    /// A message was due, and the driver was called at `called_ns`.
    pub fn intended(&self, key: u32, intended_ns: u64, called_ns: u64) {
        let delay_ns = called_ns.saturating_sub(intended_ns);
        self.both(key, intended_ns, |portion, _| {
            portion.tally.counts.intended += 1;
            portion.latencies.record(Kind::ScheduleDelay, delay_ns);
        });
    }

    /// The driver took a message that so many deliveries are due of.
    pub fn sent(&self, key: u32, intended_ns: u64, due: u64) {
        self.both(key, intended_ns, |portion, _| {
            portion.tally.counts.sent += 1;
            portion.tally.counts.due += due;
        });
    }

    /// A message of so many bytes is durable, told at `at_ns`.
    pub fn accepted(&self, key: u32, intended_ns: u64, at_ns: u64, bytes: u64) {
        let took_ns = at_ns.saturating_sub(intended_ns);
        self.both(key, intended_ns, |portion, _| {
            portion.tally.counts.accepted += 1;
            portion.tally.counts.accepted_bytes += bytes;
            portion.latencies.record(Kind::Accept, took_ns);
        });
    }

    /// A message will never be delivered; `words` say why.
    pub fn rejected(&self, key: u32, intended_ns: u64, words: &str) {
        self.both(key, intended_ns, |portion, _| {
            portion.tally.rejected += 1;
            portion.tally.error("rejected", words);
        });
    }

    /// Nobody can say what became of a message.
    pub fn unknown(&self, key: u32, intended_ns: u64) {
        self.both(key, intended_ns, |portion, _| {
            portion.tally.unknown += 1;
            portion.tally.error("never answered", "");
        });
    }

    /// A device had the message at `at_ns`.
    pub fn delivered(&self, key: u32, intended_ns: u64, at_ns: u64, arrival: Arrival) {
        let took_ns = at_ns.saturating_sub(intended_ns);
        self.both(key, intended_ns, |portion, began_ns| {
            portion.tally.counts.delivered += 1;
            if !arrival.live {
                portion.tally.caught_up += 1;
                portion.latencies.record(Kind::CatchUp, took_ns);
                return;
            }
            portion.latencies.record(Kind::EndToEnd, took_ns);
            if began_ns.is_some_and(|began| arrival.gone_until_ns < began) {
                latency::record(&mut portion.steadfast, took_ns);
            }
        });
        if !arrival.live {
            lock(self.shard(key)).span(at_ns).1.late.count(at_ns);
        }
    }

    /// Something went wrong that has to do with this time; `words` are the first one's example.
    pub fn error(&self, key: u32, at_ns: u64, kind: &str, words: &str) {
        self.both(key, at_ns, |portion, _| portion.tally.error(kind, words));
    }

    /// Everything since it was last taken.
    #[must_use]
    pub fn take_interval(&self) -> Portion {
        let mut whole = Portion::default();
        for shard in &self.shards {
            // Made outside the lock, so that nobody waits for an allocation.
            let mut taken = Portion::default();
            mem::swap(&mut lock(shard).interval, &mut taken);
            whole.add(&taken);
        }
        whole
    }

    /// What is known of a span so far.
    #[must_use]
    pub fn span(&self, span: Span) -> Portion {
        let mut whole = Portion::default();
        for shard in &self.shards {
            if let Some((_, portion)) = lock(shard).spans.get(span.0) {
                whole.add(portion);
            }
        }
        whole
    }

    fn shard(&self, key: u32) -> &Mutex<Shard> {
        &self.shards[key as usize % SHARDS]
    }

    /// Records for the interval, then for the span, which knows when it began.
    fn both(&self, key: u32, intended_ns: u64, record: impl Fn(&mut Portion, Option<u64>)) {
        let mut shard = lock(self.shard(key));
        record(&mut shard.interval, None);
        let (began_ns, portion) = shard.span(intended_ns);
        record(portion, Some(*began_ns));
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Arrival = Arrival { live: true, gone_until_ns: 0 };

    #[test]
    fn a_straggler_counts_for_the_phase_that_sent_it_and_the_interval_it_came_in() {
        let recorder = Recorder::new();
        let first = recorder.begin_span(1_000);
        recorder.intended(3, 1_500, 1_600);
        let _ = recorder.take_interval();
        let second = recorder.begin_span(2_000);
        recorder.delivered(4, 1_500, 9_001_500, LIVE);

        assert_eq!(recorder.span(first).tally.counts.delivered, 1);
        assert_eq!(recorder.span(second).tally, Tally::default());
        let interval = recorder.take_interval();
        assert_eq!(interval.tally.counts.delivered, 1);
        assert_eq!(interval.tally.counts.intended, 0);
        assert_eq!(interval.latencies.of(Kind::EndToEnd).min(), 9_000);
    }

    #[test]
    fn only_devices_that_stayed_through_the_span_are_steadfast() {
        let recorder = Recorder::new();
        let span = recorder.begin_span(1_000);
        recorder.delivered(0, 1_100, 1_200, LIVE);
        recorder.delivered(0, 1_100, 1_300, Arrival { live: true, gone_until_ns: 1_050 });
        recorder.delivered(0, 1_100, 5_000, Arrival { live: false, gone_until_ns: 4_000 });

        let whole = recorder.span(span);
        assert_eq!(whole.steadfast.len(), 1);
        assert_eq!(whole.latencies.of(Kind::EndToEnd).len(), 2);
        assert_eq!(whole.latencies.of(Kind::CatchUp).len(), 1);
        assert_eq!(whole.late, Late { count: 1, came_ns: Some((5_000, 5_000)) });
    }
}
