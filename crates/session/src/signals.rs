//! The edge's half of signals and presence: what a client may send, ask and be told.
//!
//! Nothing here is promised. Whatever is over a bound is dropped and counted, but for the lists of
//! users: of several that come too soon the last one counts, a little later.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use wire::{
    DeviceId, Generation, ServerFrame, UserId,
    limits::{SIGHTING_VALID, SIGHTINGS_MAX, SIGNAL_USERS_MAX},
    mesh::Origin,
    signal::{Datagram, Sighting, Signal, SignalFrom},
};

use crate::edge::Effect;

/// Users in order, each once. Shared by all who look into it.
pub type Users = Arc<[UserId]>;

/// What a client sends: a signal for one user each 50 ms, 20 a second, and so many at once.
const SENT_EVERY: Duration = Duration::from_millis(50);
const SENT_BURST: u32 = 64;
/// What a client is sent: a signal each 20 ms, 50 a second, and so many at once.
const GIVEN_EVERY: Duration = Duration::from_millis(20);
const GIVEN_BURST: u32 = 100;
/// A list of users takes effect at once, and the next one not before this.
const LIST_EVERY: Duration = Duration::from_secs(2);
/// The presence of the watched is asked for again after this and a part, by the device, of
/// [`ASK_SPREAD`].
const ASK_EVERY: Duration = Duration::from_secs(36);
const ASK_SPREAD: Duration = Duration::from_secs(8);
/// Devices whose presence one connection follows; further ones are not told.
const SEEN_MAX: usize = 1024;
/// Presence waits while so many bytes of answers are waiting.
const ANSWERS_FIRST: usize = 16 * 1024;

const _: () = assert!(SENT_BURST as usize >= SIGNAL_USERS_MAX);
/// One answer that gets lost makes nobody look offline.
const _: () =
    assert!(2 * (ASK_EVERY.as_millis() + ASK_SPREAD.as_millis()) < SIGHTING_VALID.as_millis());

#[derive(Debug)]
pub(crate) struct Signals {
    sent: Pace,
    given: Pace,
    watch: List,
    show: List,
    ask_every: Duration,
    ask_at: Option<Duration>,
    /// The connection of each device that was last told to be there.
    seen: BTreeMap<(UserId, DeviceId), Generation>,
    /// Whether each is there, not yet told. Sheds beyond [`SEEN_MAX`].
    news: BTreeMap<(UserId, DeviceId), bool>,
    /// No longer than what paces and lists let through before they are taken.
    effects: VecDeque<Effect>,
    shed: u64,
}

/// How much may happen: one thing each `every`, and `burst` at once after a pause.
#[derive(Debug, Default)]
struct Pace {
    spent_until: Duration,
}

/// A list of users that is replaced now and then.
#[derive(Debug, Default)]
struct List {
    users: Users,
    not_before: Duration,
    waiting: Option<Users>,
}

impl Pace {
    fn take(&mut self, now: Duration, count: u32, every: Duration, burst: u32) -> bool {
        let until = self.spent_until.max(now) + every * count;
        let is_within = until <= now + every * burst;
        if is_within {
            self.spent_until = until;
        }
        is_within
    }
}

impl List {
    /// The list that counts from now on, if it is another one now.
    fn replace(&mut self, now: Duration, mut users: Vec<UserId>) -> Option<Users> {
        users.sort_unstable();
        users.dedup();
        self.waiting = Some(users.into());
        self.take_waiting(now)
    }

    fn take_waiting(&mut self, now: Duration) -> Option<Users> {
        if now < self.not_before {
            return None;
        }
        self.users = self.waiting.take()?;
        self.not_before = now + LIST_EVERY;
        Some(self.users.clone())
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.waiting.as_ref().map(|_| self.not_before)
    }

    fn contains(&self, user: UserId) -> bool {
        self.users.binary_search(&user).is_ok()
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            sent: Pace::default(),
            given: Pace::default(),
            watch: List::default(),
            show: List::default(),
            ask_every: ASK_EVERY,
            ask_at: None,
            seen: BTreeMap::new(),
            news: BTreeMap::new(),
            effects: VecDeque::new(),
            shed: 0,
        }
    }

    /// Connections of different devices ask at different times.
    pub(crate) fn open(&mut self, device: DeviceId) {
        let part = u32::from(device.as_bytes()[0]);
        self.ask_every = ASK_EVERY + ASK_SPREAD * part / 256;
    }

    /// A signal of the client.
    pub(crate) fn handle_sent(&mut self, now: Duration, mut signal: Signal) {
        signal.to.sort_unstable();
        signal.to.dedup();
        let recipients = u32::try_from(signal.to.len()).unwrap_or(u32::MAX);
        if self.sent.take(now, recipients, SENT_EVERY, SENT_BURST) {
            self.effects.push_back(Effect::Signal(signal));
        } else {
            self.shed += 1;
        }
    }

    pub(crate) fn handle_watch(&mut self, now: Duration, users: Vec<UserId>) {
        if let Some(users) = self.watch.replace(now, users) {
            self.watch(now, users);
        }
    }

    pub(crate) fn handle_show(&mut self, now: Duration, users: Vec<UserId>) {
        let shown = self.show.replace(now, users);
        self.effects.extend(shown.map(Effect::Show));
    }

    /// A signal for the client.
    pub(crate) fn handle_signal(&mut self, now: Duration, signal: SignalFrom) {
        if self.given.take(now, 1, GIVEN_EVERY, GIVEN_BURST) {
            self.effects.push_back(Effect::Datagram(Datagram::Signal(signal).encode()));
        } else {
            self.shed += 1;
        }
    }

    /// A device that shows itself to this user is there, or is not any more.
    pub(crate) fn handle_sighting(&mut self, from: Origin, is_online: bool) {
        let key = (from.user, from.device);
        let is_old = self.seen.get(&key).is_some_and(|known| *known > from.generation);
        if is_old || !self.watch.contains(from.user) {
            return;
        }
        let has_room = |len, is_known| is_known || len < SEEN_MAX;
        let has_room = has_room(self.news.len(), self.news.contains_key(&key))
            && (!is_online || has_room(self.seen.len(), self.seen.contains_key(&key)));
        if !has_room {
            self.shed += 1;
            return;
        }
        if is_online {
            self.seen.insert(key, from.generation);
        } else {
            self.seen.remove(&key);
        }
        self.news.insert(key, is_online);
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if let Some(users) = self.watch.take_waiting(now) {
            self.watch(now, users);
        }
        let shown = self.show.take_waiting(now);
        self.effects.extend(shown.map(Effect::Show));
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = Some(now + self.ask_every);
            self.effects.push_back(Effect::Watch(self.watch.users.clone()));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let lists = [self.watch.poll_timeout(), self.show.poll_timeout()];
        lists.into_iter().flatten().chain(self.ask_at).min()
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Appends what is new about the watched, unless answers are waiting.
    pub(crate) fn poll_control(&mut self, out: &mut BytesMut) {
        while out.len() < ANSWERS_FIRST && !self.news.is_empty() {
            let valid_ms = u32::try_from(SIGHTING_VALID.as_millis()).expect("a minute and a half");
            let take = || self.news.pop_first();
            let sightings = std::iter::from_fn(take).take(SIGHTINGS_MAX);
            let sightings = sightings.map(|((user, device), is_online)| Sighting {
                user,
                device,
                valid_ms: if is_online { valid_ms } else { 0 },
            });
            ServerFrame::Presence(sightings.collect()).encode(out);
        }
    }

    /// How much was dropped since this was asked last.
    pub(crate) fn take_shed(&mut self) -> u64 {
        std::mem::take(&mut self.shed)
    }

    fn watch(&mut self, now: Duration, users: Users) {
        self.ask_at = (!users.is_empty()).then_some(now + self.ask_every);
        let is_watched = |user: &UserId| users.binary_search(user).is_ok();
        self.seen.retain(|(user, _), _| is_watched(user));
        self.news.retain(|(user, _), _| is_watched(user));
        self.effects.push_back(Effect::Watch(users));
    }
}
