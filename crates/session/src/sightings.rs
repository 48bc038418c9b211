//! The client's half of signals and presence: what is to be sent, and who is there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use wire::{
    ClientFrame, DeviceId, UserId,
    limits::{SIGNAL_BYTES_MAX, SIGNAL_USERS_MAX, WATCHED_MAX},
    signal::{Sighting, Signal},
};

use crate::event::Event;

/// Signals that wait to be written. At it: [`SignalError::NotNow`].
const WAITING_MAX: usize = 16;
/// Devices whose presence is followed; an edge tells no more. Further ones are ignored.
const SEEN_MAX: usize = 1024;

/// Why a signal or a list of users was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Say less, in place of sending it again.
    #[error("a signal over 1 KiB")]
    Size,
    /// Name other users.
    #[error("no user, or more than allowed: 32 for a signal, 256 to watch or show oneself to")]
    Users,
    /// Not connected, or too many wait: whatever it said is old when there is room.
    #[error("not connected, or too many signals wait")]
    NotNow,
}

#[derive(Debug, Default)]
pub(crate) struct Sightings {
    watched: Wanted,
    shown: Wanted,
    waiting: VecDeque<Signal>,
    /// Until when each device counts as connected.
    seen: BTreeMap<(UserId, DeviceId), Duration>,
}

/// A list the edge must know.
#[derive(Debug, Default)]
struct Wanted {
    users: BTreeSet<UserId>,
    /// The edge does not know it as it is.
    is_news: bool,
}

impl Wanted {
    fn set(&mut self, users: &[UserId]) -> Result<(), SignalError> {
        let users: BTreeSet<UserId> = users.iter().copied().collect();
        if users.len() > WATCHED_MAX {
            return Err(SignalError::Users);
        }
        if users != self.users {
            *self = Self { users, is_news: true };
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Vec<UserId>> {
        std::mem::take(&mut self.is_news).then(|| self.users.iter().copied().collect())
    }
}

impl Sightings {
    pub(crate) fn signal(
        &mut self,
        to: &[UserId],
        body: Bytes,
        is_open: bool,
    ) -> Result<(), SignalError> {
        if body.len() > SIGNAL_BYTES_MAX {
            return Err(SignalError::Size);
        }
        if to.is_empty() || to.len() > SIGNAL_USERS_MAX {
            return Err(SignalError::Users);
        }
        if !is_open || self.waiting.len() >= WAITING_MAX {
            return Err(SignalError::NotNow);
        }
        self.waiting.push_back(Signal { to: to.to_vec(), body });
        Ok(())
    }

    pub(crate) fn watch(&mut self, users: &[UserId]) -> Result<(), SignalError> {
        self.watched.set(users)?;
        let watched = &self.watched.users;
        self.seen.retain(|(user, _), _| watched.contains(user));
        Ok(())
    }

    pub(crate) fn show(&mut self, users: &[UserId]) -> Result<(), SignalError> {
        self.shown.set(users)
    }

    /// A new edge knows nothing.
    pub(crate) fn handle_welcome(&mut self) {
        for wanted in [&mut self.watched, &mut self.shown] {
            wanted.is_news = !wanted.users.is_empty();
        }
    }

    /// Signals are too old by the next connection. Who was there stays there until it runs out.
    pub(crate) fn handle_disconnected(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn handle_presence(
        &mut self,
        now: Duration,
        sightings: Vec<Sighting>,
        events: &mut VecDeque<Event>,
    ) {
        for Sighting { user, device, valid_ms } in sightings {
            if !self.watched.users.contains(&user) {
                continue;
            }
            let was_there = self.is_online(user);
            let key = (user, device);
            if valid_ms == 0 {
                self.seen.remove(&key);
            } else if self.seen.len() < SEEN_MAX || self.seen.contains_key(&key) {
                self.seen.insert(key, now + Duration::from_millis(valid_ms.into()));
            }
            self.tell(user, was_there, events);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration, events: &mut VecDeque<Event>) {
        let ended = |(key, until): (&_, &Duration)| (*until <= now).then_some(*key);
        let ended: Vec<(UserId, DeviceId)> = self.seen.iter().filter_map(ended).collect();
        for key in ended {
            self.seen.remove(&key);
            self.tell(key.0, true, events);
        }
    }

    /// When the next device does not count as connected any more. Looks through all of them.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.seen.values().min().copied()
    }

    pub(crate) fn poll(&mut self, out: &mut BytesMut, room: usize) {
        if let Some(users) = self.watched.poll() {
            ClientFrame::Watch(users).encode(out);
        }
        if let Some(users) = self.shown.poll() {
            ClientFrame::Show(users).encode(out);
        }
        while out.len() < room
            && let Some(signal) = self.waiting.pop_front()
        {
            ClientFrame::Signal(signal).encode(out);
        }
    }

    pub(crate) fn is_online(&self, user: UserId) -> bool {
        let first = DeviceId::from_bytes([0; DeviceId::LEN]);
        self.seen.range((user, first)..).next().is_some_and(|((next, _), _)| *next == user)
    }

    fn tell(&self, user: UserId, was_there: bool, events: &mut VecDeque<Event>) {
        match (was_there, self.is_online(user)) {
            (false, true) => events.push_back(Event::Online(user)),
            (true, false) => events.push_back(Event::Offline(user)),
            (true, true) | (false, false) => {}
        }
    }
}
