//! One device: a task that keeps its connection and steps its session.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use mqtt5_protocol::packet::pingreq::PingReqPacket;
use quinn::Endpoint;
use tokio::{
    sync::OwnedMutexGuard,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Place,
    dial::{self, Dialer},
    frame,
    session::{Ended, KEEP_ALIVE, Part},
    wire::{Moved, Wire},
};
use crate::{
    driver::{
        BoxFuture, ConnectError, Device, SendError, Sink, Told,
        backoff::Backoff,
        outbox::{Outbox, Sending, Waiting, outbox},
        pause::{Pace, Pause},
        topics,
    },
    population::{ConversationIndex, DeviceIndex, Population},
};

/// One attempt to connect takes at most this.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(10);
/// A device that leaves waits this long for the answers to what it sent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A device that has left waits this long for the server to hear it.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What a device shares with the others of its run.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dialer: Dialer,
    pub(super) population: Arc<Population>,
    /// What all topics of the run begin with.
    pub(super) prefix: String,
}

/// A connected device.
pub(super) struct Connected {
    shared: Arc<Shared>,
    outbox: Outbox,
    leave: CancellationToken,
    endpoint: SharedEndpoint,
    pace: Pace,
    /// Aborted when dropped; the session then stays as it is.
    task: JoinSet<()>,
}

/// The UDP socket of the current connection.
type SharedEndpoint = Arc<Mutex<Option<Endpoint>>>;

impl Connected {
    /// Connects a device, with the session it has had so far, as the only one that holds it.
    ///
    /// # Errors
    /// When it is not connected `within`, or the server refuses it.
    ///
    /// # Cancel safety
    /// A dropped call leaves no connection.
    pub(super) async fn connect(
        shared: Arc<Shared>,
        device: DeviceIndex,
        mut place: OwnedMutexGuard<Place>,
        sink: Sink,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let endpoint = SharedEndpoint::default();
        let (outbox, waiting) = outbox(device, Arc::clone(&sink));
        let leave = CancellationToken::new();
        let pace = Pace::default();
        place.sink = Some(Arc::clone(&sink));
        let mut run = Run {
            shared: Arc::clone(&shared),
            device,
            waiting,
            place,
            sink,
            leave: leave.clone(),
            endpoint: Arc::clone(&endpoint),
            pause: Pause::new(pace.clone()),
            told: Vec::new(),
        };
        let mut last = "nothing was tried".to_owned();
        let connecting = run.connect(&mut last);
        let wire = match timeout(within, connecting).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(why)) => return Err(ConnectError::Refused(why)),
            Err(_elapsed) => return Err(ConnectError::Unreachable(last)),
        };
        let mut task = JoinSet::new();
        task.spawn(run.run(wire));
        Ok(Self { shared, outbox, leave, endpoint, pace, task })
    }
}

impl Device for Connected {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        self.outbox.send(ticket, to, payload)
    }

    fn rebind(&self) -> anyhow::Result<()> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let endpoint = endpoint.context("only connections to mqtt+quic:// change their port")?;
        let sharing = self.shared.dialer.devices_per_socket();
        ensure!(
            sharing == 1,
            "each UDP socket is shared by {sharing} devices, which all would move"
        );
        dial::rebind(&endpoint).context("changing the UDP port")
    }

    fn read_slowly(&self, pause: Duration) {
        self.pace.set(pause);
    }

    fn disconnect(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        self.leave.cancel();
        Box::pin(async move {
            let left = timeout(ANSWERS_WITHIN + 2 * CLOSE_WITHIN, self.task.join_next());
            // Not in time: dropping the task ends the connection.
            let _ = left.await;
        })
    }
}

/// What the task of a device holds.
struct Run {
    shared: Arc<Shared>,
    device: DeviceIndex,
    /// Ends before the place is free.
    waiting: Waiting,
    place: OwnedMutexGuard<Place>,
    sink: Sink,
    leave: CancellationToken,
    endpoint: SharedEndpoint,
    pause: Pause,
    /// What the session tells before it is passed on; empty in between.
    told: Vec<Told>,
}

impl Run {
    async fn run(mut self, mut wire: Wire) {
        loop {
            let why = match self.serve(&mut wire).await {
                ControlFlow::Break(()) => return self.part(wire).await,
                ControlFlow::Continue(why) => why,
            };
            drop(wire);
            self.sink.hear(self.device, Told::Down(why));
            let leave = self.leave.clone();
            let mut last = String::new();
            tokio::select! {
                biased;
                () = leave.cancelled() => return,
                connected = self.connect(&mut last) => match connected {
                    Ok(connected) => wire = connected,
                    // Nobody asks any more; what is sent is answered with `Gone`.
                    Err(why) => return self.sink.hear(self.device, Told::Down(why)),
                },
            }
        }
    }

    /// Connects, however often it takes. `last` says why it did not work so far.
    ///
    /// # Errors
    /// When the server refuses: why.
    async fn connect(&mut self, last: &mut String) -> Result<Wire, String> {
        let mut backoff = Backoff::new(self.device);
        for attempt in 0.. {
            let open = timeout(ATTEMPT_WITHIN, self.open(attempt)).await;
            *last = match open.unwrap_or_else(|elapsed| Err(Ended::Broken(elapsed.to_string()))) {
                Ok(wire) => return Ok(wire),
                Err(Ended::Refused(why)) => return Err(why),
                Err(Ended::Broken(why)) => why,
            };
            sleep(backoff.failed()).await;
        }
        unreachable!("attempts are not counted out")
    }

    /// Connects once, until messages can be sent and come.
    async fn open(&mut self, attempt: usize) -> Result<Wire, Ended> {
        self.place.session.lost();
        let dialled = self.shared.dialer.dial(self.device, attempt).await;
        let mut wire = dialled.map_err(|error| Ended::Broken(format!("{error:#}")))?;
        self.place.session.connect(&mut wire.output);
        while !self.place.session.is_live() {
            let moved = wire.moved().await;
            moved.map_err(|error| Ended::Broken(error.to_string()))?;
            self.take_packets(&mut wire)?;
        }
        let mut endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        endpoint.clone_from(&wire.endpoint);
        drop(endpoint);
        Ok(wire)
    }

    /// Serves a connection until it breaks, which says why, or the device is to leave and has its
    /// answers.
    async fn serve(&mut self, wire: &mut Wire) -> ControlFlow<(), String> {
        let mut pulse = Pulse::new();
        // What came with the last packet of the handshake.
        let mut has_input = true;
        let leave = self.leave.clone();
        let given_up = async {
            leave.cancelled().await;
            sleep(ANSWERS_WITHIN).await;
        };
        tokio::pin!(given_up);
        loop {
            if has_input && !self.pause.is_on() {
                match self.take_packets(wire) {
                    Ok(()) => has_input = self.pause.is_on(),
                    Err(Ended::Broken(why) | Ended::Refused(why)) => {
                        return ControlFlow::Continue(why);
                    }
                }
            }
            wire.is_paused = self.pause.is_on();
            self.take_sends(wire);
            let is_done = self.waiting.is_empty() && self.place.session.is_settled();
            let is_leaving = leave.is_cancelled();
            if is_leaving && is_done && wire.is_flushed() {
                return ControlFlow::Break(());
            }
            tokio::select! {
                biased;
                () = &mut given_up => return ControlFlow::Break(()),
                () = leave.cancelled(), if !is_leaving => {}
                moved = wire.moved() => match moved {
                    Ok(Moved::Out) => {}
                    Ok(Moved::In) => {
                        pulse.heard();
                        has_input = true;
                    }
                    Err(error) => return ControlFlow::Continue(error.to_string()),
                },
                send = self.waiting.next(), if self.place.session.has_room() => match send {
                    Some(send) => self.publish(send, wire),
                    None => return ControlFlow::Break(()),
                },
                () = self.pause.over(), if self.pause.is_on() => {}
                () = pulse.tick() => match pulse.beat() {
                    Ok(()) => frame::put(&PingReqPacket::default(), &mut wire.output),
                    Err(why) => return ControlFlow::Continue(why),
                }
            }
        }
    }

    fn take_sends(&mut self, wire: &mut Wire) {
        while self.place.session.has_room() {
            let Some(send) = self.waiting.try_next() else { return };
            self.publish(send, wire);
        }
    }

    fn publish(&mut self, send: Sending, wire: &mut Wire) {
        let Sending { ticket, to, payload } = send;
        let (first, second) = topics::parts(&self.shared.population, self.device, to);
        let parts = 1 + u8::from(second.is_some());
        for topic in std::iter::once(first).chain(second) {
            let topic = super::topic(&self.shared.prefix, topic);
            let part = Part { ticket, parts, topic, payload: payload.clone() };
            self.place.session.publish(part, &mut wire.output);
        }
    }

    /// Steps the session with what has arrived, up to a pause, and passes on what it tells.
    /// Acknowledgements are written afterwards.
    fn take_packets(&mut self, wire: &mut Wire) -> Result<(), Ended> {
        while !self.pause.is_on() {
            let packet = match frame::take(&mut wire.input) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(why) => return Err(Ended::Broken(why)),
            };
            let ended = self.place.session.handle(packet, &mut wire.output, &mut self.told);
            for told in self.told.drain(..) {
                if matches!(told, Told::Delivery(_)) {
                    self.pause.begin();
                }
                self.sink.hear(self.device, told);
            }
            ended?;
        }
        Ok(())
    }

    /// Ends the connection in order.
    async fn part(mut self, mut wire: Wire) {
        self.place.session.disconnect(&mut wire.output);
        let last_words = async {
            while !wire.is_flushed() && wire.moved().await.is_ok() {}
            wire.close().await;
        };
        // Not in time: dropping the connection ends it.
        let _ = timeout(CLOSE_WITHIN, last_words).await;
        self.place.session.lost();
    }
}

/// Speaks up on a silent connection, and knows when the server is gone.
struct Pulse {
    ticks: Interval,
    silent: u32,
}

impl Pulse {
    fn new() -> Self {
        let mut ticks = interval(KEEP_ALIVE / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        Self { ticks, silent: 0 }
    }

    async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    fn heard(&mut self) {
        self.silent = 0;
    }

    fn beat(&mut self) -> Result<(), String> {
        self.silent += 1;
        // The first of them only says that nothing came since the one before.
        if self.silent > 2 {
            return Err(format!("nothing was heard for {} s", KEEP_ALIVE.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
