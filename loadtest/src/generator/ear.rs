//! Hears what happens to devices, and writes it down.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::{
    clock::RunClock,
    driver::{Hear, Outcome, Told},
    ledger::{self, Ledger, Note},
    measure::{Arrival, Recorder},
    population::DeviceIndex,
};

use super::{Standing, devices::Devices, returns::Returns, tickets::Tickets};

/// A connection that breaks so soon after a fault was made is counted from the fault: clients
/// notice a silent server only by their own time limits.
const FAULT_SHOWS_WITHIN_NS: u64 = 60_000_000_000;

/// Hears what happens to devices. Called by the driver from many threads.
pub(super) struct Ear {
    pub(super) clock: RunClock,
    pub(super) run: u64,
    pub(super) devices: Arc<Devices>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) ledger: Ledger,
    /// How long devices took to come back.
    pub(super) back: Returns,
    /// How long devices took to have what had waited for them.
    pub(super) caught_up: Returns,
    /// When the latest fault was made; 0 when none was.
    fault_ns: AtomicU64,
    /// A fault was made, or a connection broke by itself.
    is_disturbed: AtomicBool,
    heard: Heard,
}

/// What was heard of the whole run, to know when nothing more is to come.
#[derive(Debug, Default)]
struct Heard {
    /// Deliveries that the accepted messages are due.
    due: AtomicU64,
    deliveries: AtomicU64,
    /// When the latest came.
    latest_ns: AtomicU64,
}

impl Ear {
    pub(super) fn new(
        clock: RunClock,
        run: u64,
        devices: Arc<Devices>,
        recorder: Arc<Recorder>,
        ledger: Ledger,
    ) -> Self {
        Self {
            clock,
            run,
            devices,
            tickets: Arc::new(Tickets::new()),
            recorder,
            ledger,
            back: Returns::default(),
            caught_up: Returns::default(),
            fault_ns: AtomicU64::new(0),
            is_disturbed: AtomicBool::new(false),
            heard: Heard::default(),
        }
    }

    /// A fault is about to be made: connections that break now break because of it.
    pub(super) fn fault(&self) {
        self.fault_ns.store(self.clock.now_ns(), Ordering::Relaxed);
        self.is_disturbed.store(true, Ordering::Relaxed);
    }

    /// Whether devices may be taken for connected whose servers are gone: a fault was made, or a
    /// connection broke by itself. Who only listens hears of neither for up to a minute.
    pub(super) fn is_disturbed(&self) -> bool {
        self.is_disturbed.load(Ordering::Relaxed)
    }

    /// How it all stands.
    pub(super) fn standing(&self) -> Standing {
        let places = self.devices.all().filter_map(|device| self.devices.place(device));
        let mut standing = Standing {
            connections: self.devices.up(),
            waiting: self.tickets.waiting(),
            due: self.heard.due.load(Ordering::Relaxed),
            delivered: self.heard.deliveries.load(Ordering::Relaxed),
            ..Standing::default()
        };
        for place in places.filter(|place| place.is_wanted()) {
            standing.wanted += 1;
            standing.catching_up += usize::from(place.is_catching_up());
        }
        standing
    }

    /// When the latest delivery was heard.
    pub(super) fn latest_ns(&self) -> u64 {
        self.heard.latest_ns.load(Ordering::Relaxed)
    }

    /// Nobody will ever tell what became of the sends that still wait.
    pub(super) fn give_up_waiting(&self) -> usize {
        let waiting = self.tickets.close_all();
        let now_ns = self.clock.now_ns();
        for send in &waiting {
            self.recorder.unknown(send.message.from.0, send.intended_ns);
            self.ledger.outcome(send.message, ledger::Outcome::Unknown, now_ns);
        }
        waiting.len()
    }

    fn up(&self, device: DeviceIndex, now_ns: u64) {
        self.ledger.note(device, Note::Connected, now_ns);
        let Some(place) = self.devices.place(device) else { return };
        if let Some(from_ns) = self.devices.came_up(place, now_ns) {
            self.back.came(from_ns, now_ns);
        }
    }

    fn down(&self, device: DeviceIndex, why: &str, now_ns: u64) {
        self.ledger.note(device, Note::Disconnected, now_ns);
        let Some(place) = self.devices.place(device) else { return };
        if !self.devices.went_down(place) || !place.is_wanted() {
            return;
        }
        self.is_disturbed.store(true, Ordering::Relaxed);
        let fault_ns = self.fault_ns.load(Ordering::Relaxed);
        let by_fault = fault_ns > 0 && now_ns - fault_ns < FAULT_SHOWS_WITHIN_NS;
        let from_ns = if by_fault { fault_ns } else { now_ns };
        if !place.expect_back(from_ns) {
            self.back.expect(from_ns);
        }
        self.recorder.error(device.0, now_ns, "connection lost", why);
    }

    fn outcome(&self, ticket: u64, outcome: &Outcome, now_ns: u64) {
        let Some(send) = self.tickets.close(ticket) else {
            // The ledger must not hear of it: it cannot say of which message.
            tracing::warn!(ticket, "the driver told an outcome that nobody waits for");
            return;
        };
        self.ledger.outcome(send.message, outcome.into(), now_ns);
        let key = send.message.from.0;
        match outcome {
            Outcome::Accepted => {
                self.heard.due.fetch_add(u64::from(send.due), Ordering::Relaxed);
                self.recorder.accepted(key, send.intended_ns, now_ns, u64::from(send.bytes));
            }
            Outcome::Rejected(why) => self.recorder.rejected(key, send.intended_ns, why),
            Outcome::Unknown => self.recorder.unknown(key, send.intended_ns),
        }
        // In a closed loop the sender goes on only now.
        drop(send.turn);
    }

    fn delivery(&self, device: DeviceIndex, payload: &[u8], now_ns: u64) {
        match self.ledger.heard(device, payload, now_ns) {
            Ok(header) if header.run == self.run => {
                self.heard.deliveries.fetch_add(1, Ordering::Relaxed);
                self.heard.latest_ns.fetch_max(now_ns, Ordering::Relaxed);
                let arrival = self.devices.place(device).map_or(
                    Arrival { live: false, gone_until_ns: u64::MAX },
                    |place| Arrival {
                        live: place.was_live(header.intended_ns),
                        gone_until_ns: place.gone_until_ns(),
                    },
                );
                self.recorder.delivered(device.0, header.intended_ns, now_ns, arrival);
            }
            // Left over from another run in a mailbox: the ledger counts it.
            Ok(_) => {}
            Err(problem) => {
                self.recorder.error(device.0, now_ns, "corrupted", &problem.to_string());
            }
        }
    }
}

impl Hear for Ear {
    fn hear(&self, device: DeviceIndex, told: Told) {
        let now_ns = self.clock.now_ns();
        match told {
            Told::Up => self.up(device, now_ns),
            Told::Down(why) => self.down(device, &why, now_ns),
            Told::CaughtUp => {
                self.ledger.note(device, Note::CaughtUp, now_ns);
                let Some(place) = self.devices.place(device) else { return };
                if let Some(from_ns) = place.caught_up(now_ns) {
                    self.caught_up.came(from_ns, now_ns);
                }
            }
            Told::Outcome { ticket, outcome } => self.outcome(ticket, &outcome, now_ns),
            // To the ledger it stays accepted, and so lost when it never comes.
            Told::TakenBack(why) => self.recorder.error(device.0, now_ns, "taken back", &why),
            Told::Delivery(payload) => self.delivery(device, &payload, now_ns),
            Told::Truncated => {
                self.ledger.note(device, Note::Truncated, now_ns);
                self.recorder.error(device.0, now_ns, "truncated", "messages may be missing");
            }
            Told::Conflict => {
                self.ledger.note(device, Note::Conflict, now_ns);
                self.recorder.error(device.0, now_ns, "conflict", "two bodies under one id");
            }
        }
    }
}
