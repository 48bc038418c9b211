//! Sends that wait for their outcome.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::turns::Turn;
use crate::ledger::Message;

const SHARDS: usize = 16;
const SHARD_BITS: u32 = 4;
const SLOT_BITS: u32 = 32;
const GENERATION_MASK: u32 = (1 << (64 - SHARD_BITS - SLOT_BITS)) - 1;

const _: () = assert!(SHARDS == 1 << SHARD_BITS);

/// A send that waits for its outcome.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What was sent.
    pub(super) message: Message,
    /// When it should have been, nanoseconds since the run began.
    pub(super) intended_ns: u64,
    /// How long the whole payload is.
    pub(super) bytes: u32,
    /// How many deliveries it causes when it is accepted.
    pub(super) due: u32,
    /// In a closed loop, the turn that is over with the outcome.
    pub(super) turn: Option<Turn>,
}

/// The sends that wait for their outcome, each under a ticket that is never used again (in 2^28
/// sends of one slot), so that an outcome told twice is noticed.
///
/// Bounded by what the devices' outboxes hold. A ticket is: generation (28 bits), slot (32), shard
/// (4, lowest).
#[derive(Debug)]
pub(super) struct Tickets {
    shards: Box<[Mutex<Slab>]>,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Slab {
    slots: Vec<(u32, Option<Waiting>)>,
    free: Vec<u32>,
}

impl Tickets {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Slab::default())).collect();
        Self { shards, waiting: AtomicUsize::new(0) }
    }

    /// Keeps a send and gives its ticket.
    pub(super) fn open(&self, waiting: Waiting) -> u64 {
        let shard = waiting.message.from.place() % SHARDS;
        let mut slab = lock(&self.shards[shard]);
        let slot = slab.free.pop().unwrap_or_else(|| {
            slab.slots.push((0, None));
            u32::try_from(slab.slots.len() - 1).expect("fewer than 2^32 sends wait")
        });
        let (generation, place) = &mut slab.slots[slot as usize];
        debug_assert!(place.is_none(), "a free slot is empty");
        *place = Some(waiting);
        let generation = u64::from(*generation);
        drop(slab);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        (generation << (SHARD_BITS + SLOT_BITS)) | (u64::from(slot) << SHARD_BITS) | shard as u64
    }

    /// Takes the send of a ticket; none when it was taken before.
    pub(super) fn close(&self, ticket: u64) -> Option<Waiting> {
        let shard = (ticket & ((1 << SHARD_BITS) - 1)) as usize;
        let slot = ((ticket >> SHARD_BITS) & u64::from(u32::MAX)) as usize;
        let told = ticket >> (SHARD_BITS + SLOT_BITS);
        let mut slab = lock(&self.shards[shard]);
        let (generation, place) = slab.slots.get_mut(slot)?;
        if u64::from(*generation) != told {
            return None;
        }
        let waiting = place.take()?;
        *generation = generation.wrapping_add(1) & GENERATION_MASK;
        slab.free.push(u32::try_from(slot).expect("made from 32 bits"));
        drop(slab);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(waiting)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes everything that still waits: nobody will ever tell.
    pub(super) fn close_all(&self) -> Vec<Waiting> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut slab = lock(shard);
            let Slab { slots, free } = &mut *slab;
            for (slot, (generation, place)) in slots.iter_mut().enumerate() {
                if let Some(waiting) = place.take() {
                    *generation = generation.wrapping_add(1) & GENERATION_MASK;
                    free.push(u32::try_from(slot).expect("fewer than 2^32 sends wait"));
                    all.push(waiting);
                }
            }
        }
        self.waiting.fetch_sub(all.len(), Ordering::Relaxed);
        all
    }
}

fn lock(shard: &Mutex<Slab>) -> MutexGuard<'_, Slab> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{ConversationIndex, DeviceIndex};

    fn waiting(from: u32, counter: u64) -> Waiting {
        let (from, conversation) = (DeviceIndex(from), ConversationIndex(0));
        let message = Message { from, conversation, counter };
        Waiting { message, intended_ns: 0, bytes: 48, due: 1, turn: None }
    }

    fn closed(tickets: &Tickets, ticket: u64) -> Option<Message> {
        tickets.close(ticket).map(|waiting| waiting.message)
    }

    #[test]
    fn a_ticket_gives_its_send_once() {
        let tickets = Tickets::new();
        let (one, two) = (waiting(3, 1), waiting(3, 2));
        let [first_message, second_message] = [one.message, two.message];
        let first = tickets.open(one);
        assert_eq!(closed(&tickets, first), Some(first_message));
        let second = tickets.open(two);
        assert_ne!(first, second, "the slot is used again under another ticket");
        assert_eq!(closed(&tickets, first), None);
        assert_eq!(closed(&tickets, second), Some(second_message));
        assert_eq!(tickets.waiting(), 0);
    }

    #[test]
    fn what_nobody_tells_of_is_still_there_at_the_end() {
        let tickets = Tickets::new();
        let late = tickets.open(waiting(1, 1));
        tickets.open(waiting(18, 1));
        assert_eq!(tickets.close_all().len(), 2);
        assert_eq!(tickets.waiting(), 0);
        assert_eq!(closed(&tickets, late), None);
    }
}
