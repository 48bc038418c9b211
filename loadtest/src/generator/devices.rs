//! The devices this generator plays: who is connected, and who was gone.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Mutex;

use crate::{driver::Device, population::DeviceIndex};

/// A time that has not come.
const NEVER: u64 = u64::MAX;

/// The devices this generator plays, by their index. Devices of others have no place here.
pub(super) struct Devices {
    first: u32,
    places: Box<[Place]>,
    /// Devices that are connected as far as the driver says.
    up: AtomicUsize,
}

/// What is known of a device. Times are nanoseconds since the run began.
pub(super) struct Place {
    /// The connection while the generator wants one. Held across connecting and disconnecting, so
    /// that the two never meet; whoever sends only tries.
    pub(super) device: Mutex<Option<Box<dyn Device>>>,
    /// Whether the generator wants it connected.
    wanted: AtomicBool,
    /// Since when it is connected; `NEVER` while it is not.
    up_ns: AtomicU64,
    /// Since when nothing had been waiting for it; `NEVER` while something may.
    live_ns: AtomicU64,
    /// When it last came back; `NEVER` while it is gone.
    gone_until_ns: AtomicU64,
    /// From when its next return counts; 0 when nobody waits for it.
    returning_ns: AtomicU64,
    /// From when its next catching up counts; 0 when nobody waits for it.
    catching_up_ns: AtomicU64,
    /// How long it waits after every message it reads.
    pause_us: AtomicU64,
}

impl Devices {
    /// Places for a range of devices, none connected.
    pub(super) fn new(range: Range<DeviceIndex>) -> Self {
        let places = (range.start.0..range.end.0).map(|_| Place::new()).collect();
        Self { first: range.start.0, places, up: AtomicUsize::new(0) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many are connected.
    pub(super) fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    /// Every device.
    pub(super) fn all(&self) -> impl Iterator<Item = DeviceIndex> + use<> {
        let count = u32::try_from(self.places.len()).expect("indices have 32 bits");
        (self.first..self.first + count).map(DeviceIndex)
    }

    /// Its place; none when somebody else plays it.
    pub(super) fn place(&self, device: DeviceIndex) -> Option<&Place> {
        let at = device.0.checked_sub(self.first)?;
        self.places.get(at as usize)
    }

    /// It is connected. Says from when its return counts, if somebody waits for it.
    pub(super) fn came_up(&self, place: &Place, now_ns: u64) -> Option<u64> {
        if place.up_ns.swap(now_ns, Ordering::Relaxed) == NEVER {
            self.up.fetch_add(1, Ordering::Relaxed);
        }
        if place.gone_until_ns.load(Ordering::Relaxed) == NEVER {
            place.gone_until_ns.store(now_ns, Ordering::Relaxed);
        }
        let from_ns = place.returning_ns.swap(0, Ordering::Relaxed);
        (from_ns > 0).then_some(from_ns)
    }

    /// It is not connected. Whether it was.
    pub(super) fn went_down(&self, place: &Place) -> bool {
        let was_up = place.up_ns.swap(NEVER, Ordering::Relaxed) != NEVER;
        if was_up {
            self.up.fetch_sub(1, Ordering::Relaxed);
            place.gone_until_ns.store(NEVER, Ordering::Relaxed);
        }
        was_up
    }
}

impl Place {
    fn new() -> Self {
        Self {
            device: Mutex::new(None),
            wanted: AtomicBool::new(false),
            up_ns: AtomicU64::new(NEVER),
            live_ns: AtomicU64::new(NEVER),
            gone_until_ns: AtomicU64::new(0),
            returning_ns: AtomicU64::new(0),
            catching_up_ns: AtomicU64::new(0),
            pause_us: AtomicU64::new(0),
        }
    }

    /// The generator wants it connected from now on.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The generator does not want it connected.
    pub(super) fn unwant(&self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.live_ns.store(NEVER, Ordering::Relaxed);
    }

    /// Whether the generator wants it connected.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether it is connected.
    pub(super) fn is_up(&self) -> bool {
        self.up_ns.load(Ordering::Relaxed) != NEVER
    }

    /// Whether nothing waits for it, as of the last that it was told.
    fn is_live(&self) -> bool {
        self.live_ns.load(Ordering::Relaxed) != NEVER
    }

    /// Its next return counts from `from_ns`. Whether one counted already, from earlier.
    pub(super) fn expect_back(&self, from_ns: u64) -> bool {
        let taken = self.returning_ns.compare_exchange(
            0,
            from_ns.max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        taken.is_err()
    }

    /// Its next catching up counts from `from_ns`.
    pub(super) fn expect_caught_up(&self, from_ns: u64) {
        self.catching_up_ns.store(from_ns.max(1), Ordering::Relaxed);
    }

    /// Whether something may wait for it that nobody was told of yet.
    pub(super) fn is_catching_up(&self) -> bool {
        !self.is_live() || self.catching_up_ns.load(Ordering::Relaxed) > 0
    }

    /// Nothing waits for it any more. Says from when that counts, if somebody waits for it.
    pub(super) fn caught_up(&self, now_ns: u64) -> Option<u64> {
        if self.is_wanted() && !self.is_live() {
            self.live_ns.store(now_ns, Ordering::Relaxed);
        }
        let from_ns = self.catching_up_ns.swap(0, Ordering::Relaxed);
        (from_ns > 0).then_some(from_ns)
    }

    /// How long it waits after every message it reads.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_micros(self.pause_us.load(Ordering::Relaxed))
    }

    /// From now on it waits so long. Whether that is news.
    pub(super) fn set_pause(&self, pause: Duration) -> bool {
        let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.pause_us.swap(pause_us, Ordering::Relaxed) != pause_us
    }

    /// Whether a message intended at this time found it connected with nothing waiting. A
    /// connection that broke by itself does not count as an absence: the device was meant to be
    /// there, and what an outage costs is shown, not excused.
    pub(super) fn was_live(&self, intended_ns: u64) -> bool {
        self.live_ns.load(Ordering::Relaxed) <= intended_ns
    }

    /// When it last came back; the greatest time while it is gone.
    pub(super) fn gone_until_ns(&self) -> u64 {
        self.gone_until_ns.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_outage_is_shown_in_the_live_latencies_and_an_absence_is_not() {
        let devices = Devices::new(DeviceIndex(10)..DeviceIndex(12));
        let place = devices.place(DeviceIndex(11)).unwrap();
        place.want();
        assert_eq!(devices.came_up(place, 150), None);
        assert!(!place.was_live(160), "something may wait for it");
        place.caught_up(170);
        assert!(!place.was_live(160));
        assert!(place.was_live(170));

        assert!(devices.went_down(place), "the connection broke");
        assert!(!place.expect_back(200));
        assert_eq!(devices.came_up(place, 300), Some(200));
        place.caught_up(310);
        assert!(place.was_live(250), "it was meant to be there");
        assert_eq!(place.gone_until_ns(), 300);

        place.unwant();
        devices.went_down(place);
        place.want();
        devices.came_up(place, 510);
        place.caught_up(520);
        assert!(!place.was_live(400));
        assert!(devices.place(DeviceIndex(9)).is_none(), "somebody else's");
    }
}
