//! Room for bytes that wait, shared by those who fill it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A bound on bytes. Cloning shares it. Two who take at the same time may go over it by what one
/// of them takes.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { taken: Arc::default(), bytes_max }
    }

    /// Takes room for so many bytes; whether there was any.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let has_room = self.taken() + bytes <= self.bytes_max;
        if has_room {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        has_room
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
