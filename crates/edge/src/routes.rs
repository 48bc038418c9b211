//! Which device is connected here, and what waits for its connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use ports::presence::Route;
use session::{close::CloseCode, signals::Users};
use tokio::sync::Notify;
use wire::{
    DeviceId, EdgeId, Generation, Seq, UserId,
    delivery_frame::Deliver,
    limits::{ITEM_BYTES_MAX, WATCHED_MAX},
    mesh::Origin,
    signal::SignalFrom,
};

/// Shards of the table, so that pushes for different devices rarely meet at one lock.
const SHARDS: usize = 32;
/// Bits of a generation below the milliseconds: connections of one edge in the same millisecond.
const GENERATION_BITS: u32 = 12;
/// Bytes of pushes that wait for one connection, besides their number. At the limit: the device
/// reads its mailbox instead.
const PUSH_QUEUE_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(PUSH_QUEUE_BYTES_MAX > ITEM_BYTES_MAX);
/// Signals that wait for one connection. At it: further ones are dropped.
const SIGNALS_MAX: usize = 32;
/// Sightings that wait for one connection: four devices of everybody it may watch. At it: further
/// ones are dropped.
const SIGHTINGS_MAX: usize = 4 * WATCHED_MAX;

type Shard = HashMap<(UserId, DeviceId), Arc<Handle>>;

/// The devices connected to this edge.
pub(crate) struct Routes {
    shards: Vec<Mutex<Shard>>,
    len: AtomicUsize,
    last_generation: AtomicU64,
    push_queue_len: usize,
}

/// One connection, for those who have something for it.
pub(crate) struct Handle {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) generation: Generation,
    waiting: Mutex<Waiting>,
    interest: Mutex<Interest>,
    wake: Notify,
    push_queue_len: usize,
    /// What the device acknowledged, so that a head check needs not wake a connection for nothing.
    acknowledged: AtomicU64,
    /// When it last had everything, milliseconds since 1970; 0 before it is admitted.
    caught_up_ms: AtomicU64,
}

/// Whose presence a connection follows, and who may follow its own.
#[derive(Default)]
struct Interest {
    watched: Users,
    shown: Users,
}

/// Something that is only worth having now.
pub(crate) enum Hint {
    Signal(SignalFrom),
    /// A device that shows itself is there, or is not any more.
    Sighting(Origin, bool),
}

/// What became of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hinted {
    /// It waits for the connection.
    Taken,
    /// Too much waits for the connection.
    Full,
    /// The connection does not follow whom it is about.
    Unwanted,
}

/// What waits for a connection; it takes all of it at once.
#[derive(Default)]
pub(crate) struct Waiting {
    /// In the order in which they came. Bounded; sheds, and then says `behind`.
    pub(crate) pushes: VecDeque<Deliver>,
    /// Bytes of the items in `pushes`.
    push_bytes: usize,
    /// Pushes were dropped: the mailbox must be read.
    pub(crate) behind: bool,
    /// The head of the mailbox, from a head check.
    pub(crate) head: Option<Seq>,
    /// Bounded; sheds.
    pub(crate) signals: Vec<SignalFrom>,
    /// Bounded; sheds.
    pub(crate) sightings: Vec<(Origin, bool)>,
    /// The connection must end.
    pub(crate) close: Option<CloseCode>,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the connection.
    Taken,
    /// The queue was full; the device reads its mailbox.
    Overflow,
    /// This connection is not here any more.
    Stray,
}

impl Routes {
    pub(crate) fn new(push_queue_len: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            len: AtomicUsize::new(0),
            last_generation: AtomicU64::new(0),
            push_queue_len,
        }
    }

    /// Enters a connection of a device, and displaces an older one of the same device.
    pub(crate) fn attach(&self, user: UserId, device: DeviceId, now_ms: u64) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            user,
            device,
            generation: self.next_generation(now_ms),
            waiting: Mutex::default(),
            interest: Mutex::default(),
            wake: Notify::new(),
            push_queue_len: self.push_queue_len,
            acknowledged: AtomicU64::new(0),
            caught_up_ms: AtomicU64::new(0),
        });
        let mut shard = self.shard(device);
        let older = match shard.get(&(user, device)) {
            // Two connections raced to this lock: the later one stays.
            Some(present) if present.generation > handle.generation => Some(handle.clone()),
            Some(_) | None => shard.insert((user, device), handle.clone()),
        };
        if older.is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        drop(shard);
        if let Some(older) = older {
            older.close(CloseCode::Displaced);
        }
        handle
    }

    /// Takes a connection out, unless a later one of the device has its place.
    pub(crate) fn detach(&self, handle: &Handle) {
        let mut shard = self.shard(handle.device);
        let key = (handle.user, handle.device);
        if shard.get(&key).is_some_and(|present| present.generation == handle.generation) {
            shard.remove(&key);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives a push to the connection it was sent to, and to no other one of the device.
    pub(crate) fn push(
        &self,
        user: UserId,
        (device, generation): (DeviceId, Generation),
        deliver: Deliver,
    ) -> Pushed {
        self.get(user, (device, generation)).map_or(Pushed::Stray, |handle| handle.push(deliver))
    }

    /// The connection of a device, if it is this one.
    pub(crate) fn get(
        &self,
        user: UserId,
        (device, generation): (DeviceId, Generation),
    ) -> Option<Arc<Handle>> {
        let handle = self.shard(device).get(&(user, device)).cloned();
        handle.filter(|handle| handle.generation == generation)
    }

    /// Ends the connection of a device, if it has one.
    pub(crate) fn close(&self, user: UserId, device: DeviceId, code: CloseCode) {
        let handle = self.shard(device).get(&(user, device)).cloned();
        if let Some(handle) = handle {
            handle.close(code);
        }
    }

    /// Every connection now.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(lock(shard).values().cloned());
        }
        all
    }

    /// Whether this connection has its device's place.
    pub(crate) fn holds(&self, handle: &Handle) -> bool {
        let shard = self.shard(handle.device);
        let present = shard.get(&(handle.user, handle.device));
        present.is_some_and(|present| present.generation == handle.generation)
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Later connections get higher ones, also on another edge as far as clocks agree. Where they
    /// do not, the device's pushes come late, at the head check, until it connects again.
    fn next_generation(&self, now_ms: u64) -> Generation {
        let from_clock = now_ms << GENERATION_BITS;
        let next = |last: u64| Some(from_clock.max(last + 1));
        let last = self.last_generation.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let last = last.expect("there is always a next one");
        Generation::new(from_clock.max(last + 1))
    }

    fn shard(&self, device: DeviceId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(device.as_bytes()[7]) % SHARDS])
    }
}

impl Handle {
    /// Waits until there is something to take.
    ///
    /// # Cancel safety
    /// Loses nothing: what waits stays until it is taken.
    pub(crate) async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Takes everything that waits. The queues of `into` must be empty and lend their memory.
    pub(crate) fn take(&self, into: &mut Waiting) {
        debug_assert!(into.pushes.is_empty(), "the last ones were handled");
        into.push_bytes = 0;
        debug_assert!(into.signals.is_empty() && into.sightings.is_empty(), "likewise");
        std::mem::swap(&mut *lock(&self.waiting), into);
    }

    /// Ends the connection.
    pub(crate) fn close(&self, code: CloseCode) {
        lock(&self.waiting).close.get_or_insert(code);
        self.wake.notify_one();
    }

    /// The head of the mailbox as a head check saw it. Wakes the connection only when it is behind.
    pub(crate) fn handle_head(&self, head: Seq) -> bool {
        if head <= self.acknowledged() {
            return false;
        }
        lock(&self.waiting).head = Some(head);
        self.wake.notify_one();
        true
    }

    /// How the rest of the cluster sees this connection.
    pub(crate) fn route(&self, edge: EdgeId) -> Route {
        let Self { user, device, generation, .. } = *self;
        Route { user, device, edge, generation }
    }

    /// How others see this connection in what it says.
    pub(crate) fn origin(&self) -> Origin {
        let Self { user, device, generation, .. } = *self;
        Origin { user, device, generation }
    }

    pub(crate) fn set_watched(&self, users: Users) {
        lock(&self.interest).watched = users;
    }

    /// The list before.
    pub(crate) fn set_shown(&self, users: Users) -> Users {
        std::mem::replace(&mut lock(&self.interest).shown, users)
    }

    /// Whether this user may know of this connection.
    pub(crate) fn shows_itself_to(&self, user: UserId) -> bool {
        lock(&self.interest).shown.binary_search(&user).is_ok()
    }

    /// Leaves a hint for the connection. One about somebody it does not watch does not wake it.
    pub(crate) fn hint(&self, hint: Hint) -> Hinted {
        if let Hint::Sighting(from, _) = &hint
            && lock(&self.interest).watched.binary_search(&from.user).is_err()
        {
            return Hinted::Unwanted;
        }
        let mut waiting = lock(&self.waiting);
        let was_empty = waiting.signals.is_empty() && waiting.sightings.is_empty();
        match hint {
            Hint::Signal(signal) if waiting.signals.len() < SIGNALS_MAX => {
                waiting.signals.push(signal);
            }
            Hint::Sighting(from, is_online) if waiting.sightings.len() < SIGHTINGS_MAX => {
                waiting.sightings.push((from, is_online));
            }
            Hint::Signal(_) | Hint::Sighting(..) => return Hinted::Full,
        }
        drop(waiting);
        if was_empty {
            self.wake.notify_one();
        }
        Hinted::Taken
    }

    pub(crate) fn acknowledged(&self) -> Seq {
        Seq::from_u64(self.acknowledged.load(Ordering::Relaxed))
    }

    pub(crate) fn caught_up_ms(&self) -> u64 {
        self.caught_up_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_cursor(&self, acknowledged: Seq, caught_up_ms: u64) {
        self.acknowledged.store(acknowledged.get(), Ordering::Relaxed);
        self.caught_up_ms.store(caught_up_ms, Ordering::Relaxed);
    }

    fn push(&self, deliver: Deliver) -> Pushed {
        let mut waiting = lock(&self.waiting);
        let bytes = waiting.push_bytes + deliver.item.len();
        let is_full = waiting.pushes.len() >= self.push_queue_len || bytes > PUSH_QUEUE_BYTES_MAX;
        // What follows a dropped push would not be contiguous: the read brings it.
        if waiting.behind || is_full {
            waiting.behind = true;
            return Pushed::Overflow;
        }
        waiting.push_bytes = bytes;
        let was_empty = waiting.pushes.is_empty();
        waiting.pushes.push_back(deliver);
        drop(waiting);
        if was_empty {
            self.wake.notify_one();
        }
        Pushed::Taken
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const DEVICE: DeviceId = DeviceId::from_bytes([2; 8]);

    fn deliver(seq: u64) -> Deliver {
        let item = Bytes::from_static(b"item");
        Deliver { seq: Seq::from_u64(seq), prev: None, log_time_ms: 0, item }
    }

    fn taken(handle: &Handle) -> Waiting {
        let mut waiting = Waiting::default();
        handle.take(&mut waiting);
        waiting
    }

    #[test]
    fn a_later_connection_displaces_the_earlier_one() {
        let routes = Routes::new(4);
        let first = routes.attach(USER, DEVICE, 1_000);
        let second = routes.attach(USER, DEVICE, 1_000);
        assert!(second.generation > first.generation);
        assert_eq!(taken(&first).close, Some(CloseCode::Displaced));
        assert_eq!(taken(&second).close, None);
        assert_eq!(routes.len(), 1);
    }

    #[test]
    fn the_end_of_an_earlier_connection_leaves_the_later_one() {
        let routes = Routes::new(4);
        let first = routes.attach(USER, DEVICE, 1_000);
        let second = routes.attach(USER, DEVICE, 900);
        routes.detach(&first);
        let route = (DEVICE, second.generation);
        assert_eq!(routes.push(USER, route, deliver(1)), Pushed::Taken);
        routes.detach(&second);
        assert_eq!(routes.len(), 0);
        assert_eq!(routes.push(USER, route, deliver(1)), Pushed::Stray);
    }

    #[test]
    fn a_push_for_an_earlier_connection_is_stray() {
        let routes = Routes::new(4);
        let first = routes.attach(USER, DEVICE, 1_000);
        let _second = routes.attach(USER, DEVICE, 2_000);
        assert_eq!(routes.push(USER, (DEVICE, first.generation), deliver(1)), Pushed::Stray);
    }

    #[test]
    fn a_full_queue_keeps_what_it_has_and_says_behind() {
        let routes = Routes::new(2);
        let handle = routes.attach(USER, DEVICE, 1_000);
        let route = (DEVICE, handle.generation);
        let pushed: Vec<_> = (1..=4).map(|seq| routes.push(USER, route, deliver(seq))).collect();
        assert_eq!(pushed, [Pushed::Taken, Pushed::Taken, Pushed::Overflow, Pushed::Overflow]);
        let waiting = taken(&handle);
        assert_eq!(waiting.pushes.len(), 2);
        assert!(waiting.behind);
        assert_eq!(routes.push(USER, route, deliver(5)), Pushed::Taken);
    }

    #[test]
    fn large_pushes_fill_a_queue_by_their_bytes() {
        let routes = Routes::new(512);
        let handle = routes.attach(USER, DEVICE, 1_000);
        let route = (DEVICE, handle.generation);
        let large = |seq| Deliver { item: Bytes::from(vec![0; ITEM_BYTES_MAX]), ..deliver(seq) };
        let push = |seq| routes.push(USER, route, large(seq));
        let taken_at_once = (1..=100).take_while(|seq| push(*seq) == Pushed::Taken).count();
        assert_eq!(taken_at_once, PUSH_QUEUE_BYTES_MAX / ITEM_BYTES_MAX);
        let waiting = taken(&handle);
        assert!(waiting.behind && waiting.pushes.len() == taken_at_once);
        assert_eq!(push(200), Pushed::Taken);
    }

    #[tokio::test]
    async fn a_head_wakes_only_a_connection_that_is_behind() {
        let routes = Routes::new(2);
        let handle = routes.attach(USER, DEVICE, 1_000);
        handle.set_cursor(Seq::from_u64(7), 0);
        assert!(!handle.handle_head(Seq::from_u64(7)));
        assert!(handle.handle_head(Seq::from_u64(8)));
        handle.ready().await;
        assert_eq!(taken(&handle).head, Some(Seq::from_u64(8)));
    }
}
