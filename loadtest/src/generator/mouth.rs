//! Says what the population has to say: draws the next message, numbers it and hands it over.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use crate::{
    driver::{Device, SendError},
    ledger::{self, Message, OwnCopies, content},
    population::{ConversationIndex, DeviceIndex, Payloads, Population, Send, Sends},
};

use super::{ear::Ear, tickets::Waiting, turns::Turn};

/// Payloads are cut from pieces of memory of this size.
const PIECE_BYTES: usize = 64 << 10;
/// A device that was drawn just as it left is no fault of anybody: another is drawn. So many in a
/// row are a fault of this program.
const REDRAWS_MAX: u32 = 1000;

/// Says what the population has to say. One thread has it at a time.
pub(super) struct Mouth {
    sends: Sends,
    payloads: Payloads,
    ear: Arc<Ear>,
    changes: Arc<Changes>,
    /// The next counter of each sender in each conversation.
    counters: HashMap<(DeviceIndex, ConversationIndex), u64>,
    due: Due,
    piece: BytesMut,
}

/// Who sends from now on and who does not, for the mouth to hear before it draws.
#[derive(Debug, Default)]
pub(super) struct Changes {
    any: AtomicBool,
    /// At most a few for each device that comes or goes between two messages.
    list: Mutex<Vec<(DeviceIndex, bool)>>,
}

impl Changes {
    /// From now on a device sends, or does not.
    pub(super) fn tell(&self, device: DeviceIndex, sends: bool) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((device, sends));
        self.any.store(true, Ordering::Release);
    }

    fn take(&self) -> Vec<(DeviceIndex, bool)> {
        if !self.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many deliveries a message causes.
#[derive(Debug)]
struct Due {
    population: Arc<Population>,
    /// Devices of all members, for each conversation.
    devices: Vec<u32>,
    own_copies: OwnCopies,
}

impl Due {
    fn new(population: Arc<Population>, own_copies: OwnCopies) -> Self {
        let devices = |conversation| -> usize {
            let members = population.members(conversation).iter();
            members.map(|user| population.devices_of(*user).len()).sum()
        };
        let devices = population
            .conversations()
            .map(|conversation| {
                u32::try_from(devices(conversation)).expect("devices are counted in 32 bits")
            })
            .collect();
        Self { population, devices, own_copies }
    }

    fn of(&self, from: DeviceIndex, to: ConversationIndex) -> u32 {
        let without = match self.own_copies {
            OwnCopies::Due | OwnCopies::Allowed => 1,
            OwnCopies::Forbidden => self.population.devices_of(self.population.user_of(from)).len(),
        };
        let without = u32::try_from(without).expect("a user has few devices");
        self.devices[to.place()].saturating_sub(without)
    }
}

impl Mouth {
    pub(super) fn new(
        population: &Arc<Population>,
        sends: Sends,
        payloads: Payloads,
        own_copies: OwnCopies,
        ear: Arc<Ear>,
        changes: Arc<Changes>,
    ) -> Self {
        let mut mouth = Self {
            sends,
            payloads,
            ear,
            changes,
            counters: HashMap::new(),
            due: Due::new(Arc::clone(population), own_copies),
            piece: BytesMut::with_capacity(PIECE_BYTES),
        };
        // Those connected will tell so; those of others never do.
        for device in population.devices() {
            mouth.sends.set_online(device, false);
        }
        mouth
    }

    /// Says the next message, which was due at `intended_ns`. Never waits. A turn is over when the
    /// message is answered, or was not sent.
    pub(super) fn say_next(&mut self, intended_ns: u64, turn: Option<Turn>) {
        let ear = Arc::clone(&self.ear);
        for _ in 0..REDRAWS_MAX {
            for (device, sends) in self.changes.take() {
                self.sends.set_online(device, sends);
            }
            let Some(send) = self.sends.draw() else {
                ear.recorder.intended(0, intended_ns, ear.clock.now_ns());
                ear.recorder.error(0, intended_ns, "nobody to send", "no device that is connected");
                return;
            };
            let Some(place) = ear.devices.place(send.from) else { continue };
            let Ok(held) = place.device.try_lock() else { continue };
            if let Some(device) = &*held {
                self.say(&ear, device.as_ref(), send, intended_ns, turn);
                return;
            }
        }
        ear.recorder.intended(0, intended_ns, ear.clock.now_ns());
        ear.recorder.error(0, intended_ns, "nobody to send", "every device drawn was leaving");
    }

    fn say(
        &mut self,
        ear: &Ear,
        device: &dyn Device,
        send: Send,
        intended_ns: u64,
        turn: Option<Turn>,
    ) {
        let Send { from, to, .. } = send;
        let counter = self.counters.entry((from, to)).or_default();
        let message = Message { from, conversation: to, counter: *counter };
        *counter += 1;
        let payload = self.payload(ear.run, message, send, intended_ns);
        let bytes = u32::try_from(payload.len()).expect("a payload is at most 64 KiB");
        let due = self.due.of(from, to);
        let ticket = ear.tickets.open(Waiting { message, intended_ns, bytes, due, turn });
        let now_ns = ear.clock.now_ns();
        let header = header(ear.run, message, intended_ns);
        // Before the call, so that neither the outcome nor a delivery comes before it.
        ear.ledger.sent(&header, now_ns);
        ear.recorder.intended(from.0, intended_ns, now_ns);
        match device.send(ticket, to, payload) {
            Ok(()) => ear.recorder.sent(from.0, intended_ns, u64::from(due)),
            Err(refused) => {
                ear.tickets.close(ticket);
                ear.ledger.outcome(message, ledger::Outcome::NotSent, now_ns);
                let kind = match refused {
                    SendError::Full => "outbox full",
                    SendError::Gone => "device gone",
                };
                ear.recorder.error(from.0, intended_ns, kind, &refused.to_string());
            }
        }
    }

    fn payload(&mut self, run: u64, message: Message, send: Send, intended_ns: u64) -> Bytes {
        let bytes = send.body.payload_bytes();
        if self.piece.capacity() - self.piece.len() < bytes {
            self.piece = BytesMut::with_capacity(PIECE_BYTES.max(bytes));
        }
        let body = self.payloads.bytes(send.body);
        content::write(&header(run, message, intended_ns), body, &mut self.piece);
        self.piece.split().freeze()
    }
}

fn header(run: u64, message: Message, intended_ns: u64) -> content::Header {
    content::Header {
        run,
        from: message.from,
        conversation: message.conversation,
        counter: message.counter,
        intended_ns,
    }
}
