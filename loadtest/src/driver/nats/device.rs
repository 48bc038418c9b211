//! One device: a connection, its consumer, and the answers it waits for.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use async_nats::{Event, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    sync::OwnedMutexGuard,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Ground,
    link::{self, Link},
    unanswered::{Answer, Unanswered},
};
use crate::{
    driver::{
        BoxFuture, ConnectError, Device, Outcome, SendError, Sink, Told,
        backoff::Backoff,
        outbox::{Outbox, Sending, Waiting, outbox},
        pause::{Pace, Pause},
        topics,
    },
    ledger::content,
    population::{ConversationIndex, DeviceIndex},
};

/// A device that leaves waits this long for the answers to what it sent, and then for what is on
/// its way to it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A device that has left waits this long for its last words to be written.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// While messages may be waiting for a device, the server is asked this often.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A connected device.
pub(super) struct Connected {
    outbox: Outbox,
    leave: CancellationToken,
    pace: Pace,
    /// Aborted when dropped.
    task: JoinSet<()>,
}

impl Connected {
    /// Connects a device, and makes its consumer the first time.
    ///
    /// # Errors
    /// When it is not connected in time, or the server refuses it.
    ///
    /// # Cancel safety
    /// A dropped call leaves no connection.
    pub(super) async fn connect(
        ground: Arc<Ground>,
        device: DeviceIndex,
        sink: Sink,
    ) -> Result<Self, ConnectError> {
        let place = Arc::clone(&ground.consumers[device.place()]);
        let mut consumer = crate::driver::take_place(device, place).await?;
        let mut backoff = Backoff::new(device);
        let mut last = ConnectError::Unreachable("nothing was tried".to_owned());
        let open = async {
            loop {
                match Link::open(&ground, device, &mut consumer).await {
                    Ok(link) => return Ok(link),
                    Err(error @ ConnectError::Refused(_)) => return Err(error),
                    Err(error) => last = error,
                }
                sleep(backoff.failed()).await;
            }
        };
        let link = match timeout(ground.connect_within, open).await {
            Ok(opened) => opened?,
            Err(_elapsed) => return Err(last),
        };
        let (outbox, waiting) = outbox(device, Arc::clone(&sink));
        let (leave, pace) = (CancellationToken::new(), Pace::default());
        let run = Run {
            ground,
            device,
            sink,
            link,
            waiting,
            leave: leave.clone(),
            pause: Pause::new(pace.clone()),
            unanswered: Unanswered::default(),
            _consumer: consumer,
        };
        let mut task = JoinSet::new();
        task.spawn(run.run());
        Ok(Self { outbox, leave, pace, task })
    }
}

impl Device for Connected {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        self.outbox.send(ticket, to, payload)
    }

    fn rebind(&self) -> anyhow::Result<()> {
        anyhow::bail!("NATS speaks TCP, and a TCP connection ends with its port")
    }

    fn read_slowly(&self, pause: Duration) {
        self.pace.set(pause);
    }

    fn disconnect(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        self.leave.cancel();
        Box::pin(async move {
            let left = timeout(2 * ANSWERS_WITHIN + 2 * CLOSE_WITHIN, self.task.join_next());
            // Not in time: dropping the task ends the connection.
            let _ = left.await;
        })
    }
}

/// What the task of a device holds.
struct Run {
    ground: Arc<Ground>,
    device: DeviceIndex,
    sink: Sink,
    link: Link,
    waiting: Waiting,
    leave: CancellationToken,
    pause: Pause,
    unanswered: Unanswered,
    /// Held for as long as the device is connected.
    _consumer: OwnedMutexGuard<bool>,
}

/// Whether messages may be waiting for the device.
struct Backlog {
    /// Asks the server; absent when nothing waits.
    ask: Option<Interval>,
}

impl Run {
    async fn run(mut self) {
        self.sink.hear(self.device, Told::Up);
        let info = self.link.consumer.cached_info();
        let mut backlog = Backlog { ask: None };
        if link::is_empty(info) {
            self.sink.hear(self.device, Told::CaughtUp);
        } else {
            backlog.begin();
        }
        let mut is_up = true;
        let leave = self.leave.clone();
        let given_up = async {
            leave.cancelled().await;
            sleep(ANSWERS_WITHIN).await;
        };
        tokio::pin!(given_up);
        loop {
            let is_leaving = leave.is_cancelled();
            if is_leaving && self.waiting.is_empty() && self.unanswered.is_empty() {
                break;
            }
            let has_room = is_up && self.unanswered.has_room();
            let is_paused = self.pause.is_on();
            let step = tokio::select! {
                biased;
                () = &mut given_up => ControlFlow::Break(()),
                () = leave.cancelled(), if !is_leaving => ControlFlow::Continue(()),
                event = self.link.events.recv() => {
                    self.event(event, &mut is_up, &mut backlog)
                }
                answer = self.unanswered.next(), if !self.unanswered.is_empty() => {
                    self.answered(answer);
                    ControlFlow::Continue(())
                }
                message = self.link.deliveries.next(), if !is_paused => match message {
                    Some(message) => {
                        self.delivered(message).await;
                        ControlFlow::Continue(())
                    }
                    None => ControlFlow::Break(()),
                },
                send = self.waiting.next(), if has_room => match send {
                    Some(send) => {
                        self.publish(send).await;
                        ControlFlow::Continue(())
                    }
                    None => ControlFlow::Break(()),
                },
                () = self.pause.over(), if is_paused => ControlFlow::Continue(()),
                () = backlog.tick(), if is_up && !is_leaving => {
                    self.ask(&mut backlog).await;
                    ControlFlow::Continue(())
                }
            };
            if step.is_break() {
                break;
            }
        }
        self.part().await;
    }

    fn event(
        &mut self,
        event: Option<Event>,
        is_up: &mut bool,
        backlog: &mut Backlog,
    ) -> ControlFlow<()> {
        match event {
            // The first of them belongs to a connection that is told already.
            Some(Event::Connected) if !*is_up => {
                *is_up = true;
                backlog.begin();
                self.sink.hear(self.device, Told::Up);
            }
            Some(Event::Disconnected) if *is_up => {
                *is_up = false;
                let why = "the connection to the server is lost".to_owned();
                self.sink.hear(self.device, Told::Down(why));
            }
            Some(Event::Closed) | None => {
                let why = "the connection was closed for good".to_owned();
                self.sink.hear(self.device, Told::Down(why));
                return ControlFlow::Break(());
            }
            Some(event) => tracing::debug!(device = %self.device, "{event}"),
        }
        ControlFlow::Continue(())
    }

    async fn publish(&mut self, send: Sending) {
        let Sending { ticket, to, payload } = send;
        let (first, second) = topics::parts(&self.ground.population, self.device, to);
        let parts = 1 + u8::from(second.is_some());
        for topic in std::iter::once(first).chain(second) {
            let subject = self.ground.subject_of(topic);
            let asked = self.link.context.publish(subject, payload.clone()).await;
            self.unanswered.add(ticket, parts, asked);
        }
    }

    fn answered(&mut self, answer: Answer) {
        if let Some((ticket, outcome)) = self.unanswered.take(answer) {
            self.sink.hear(self.device, Told::Outcome { ticket, outcome });
        }
    }

    async fn delivered(&mut self, message: Message) {
        // The consumer gets the device's own messages, too, as its user's other devices do.
        let is_own = content::read(&message.payload).is_ok_and(|header| header.from == self.device);
        let Message { payload, reply, .. } = message;
        if !is_own {
            self.pause.begin();
            self.sink.hear(self.device, Told::Delivery(payload));
        }
        if let Some(reply) = reply {
            // Without an acknowledgement it comes again.
            let _ = self.link.client.publish(reply, Bytes::from_static(b"+ACK")).await;
        }
    }

    /// Asks whether messages are waiting.
    async fn ask(&mut self, backlog: &mut Backlog) {
        match self.link.consumer.get_info().await {
            Ok(info) if link::is_empty(&info) => {
                backlog.ask = None;
                self.sink.hear(self.device, Told::CaughtUp);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(device = %self.device, "asking for its consumer: {error}")
            }
        }
    }

    /// Ends the connection in order. Only what the server sends between its last answer and its
    /// hearing that the device leaves comes again later.
    async fn part(&mut self) {
        // Not in time: what was not acknowledged comes again.
        let _ = timeout(ANSWERS_WITHIN, self.take_the_rest()).await;
        let _ = self.link.deliveries.drain().await;
        let last = async {
            while let Some(message) = self.link.deliveries.next().await {
                self.delivered(message).await;
            }
            // What cannot be written any more is an acknowledgement.
            let _ = self.link.client.flush().await;
        };
        let _ = timeout(CLOSE_WITHIN, last).await;
    }

    /// Takes and acknowledges what is on its way, until the server knows of nothing more.
    async fn take_the_rest(&mut self) {
        let consumer = self.link.consumer.clone();
        loop {
            let ask = consumer.get_info();
            tokio::pin!(ask);
            let info = loop {
                tokio::select! {
                    biased;
                    message = self.link.deliveries.next() => match message {
                        Some(message) => self.delivered(message).await,
                        None => return,
                    },
                    info = &mut ask => break info,
                }
            };
            if !info.is_ok_and(|info| info.num_ack_pending > 0) {
                return;
            }
        }
    }
}

/// What became of sends nobody will answer any more.
impl Drop for Run {
    fn drop(&mut self) {
        for ticket in self.unanswered.give_up() {
            let outcome = Outcome::Unknown;
            self.sink.hear(self.device, Told::Outcome { ticket, outcome });
        }
    }
}

impl Backlog {
    fn begin(&mut self) {
        let mut ask = interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.ask = Some(ask);
    }

    async fn tick(&mut self) {
        match &mut self.ask {
            Some(ask) => {
                ask.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}
