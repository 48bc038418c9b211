//! One device: a connection, its consumer, and the answers it waits for.

use std::{collections::BTreeSet, ops::ControlFlow, pin::Pin, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectErrorKind, Event, Message, Subscriber,
    jetstream::{
        self, Context,
        consumer::{Consumer, push},
        context::{ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind},
        stream::ConsumerErrorKind,
    },
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{ANSWER_WITHIN, Ground, UNANSWERED_MAX};
use crate::{
    driver::{
        BoxFuture, ConnectError, Device, Outcome, SendError, Sink, Told,
        answers::Answers,
        backoff::Backoff,
        pause::{Pace, Pause},
        topics,
    },
    ledger::content,
    population::{ConversationIndex, DeviceIndex},
};

/// As many sends wait for the device's task before no more are taken.
const SENDS_WAITING_MAX: usize = 1024;
/// What the connection tells of itself; when full, it tells no more until there is room.
const EVENTS_MAX: usize = 16;
/// A device that leaves waits this long for the answers to what it sent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A device that has left waits this long for the last deliveries and for its last words to be
/// written.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// While messages may be waiting for a device, the server is asked this often.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// A connected device.
pub(super) struct Connected {
    sends: mpsc::Sender<Sending>,
    leave: CancellationToken,
    pace: Pace,
    /// Aborted when dropped.
    task: JoinSet<()>,
}

struct Sending {
    ticket: u64,
    to: ConversationIndex,
    payload: Bytes,
}

/// One part of a message was answered.
struct Answer {
    ticket: u64,
    parts: u8,
    outcome: Outcome,
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
        let (sends, receiver) = mpsc::channel(SENDS_WAITING_MAX);
        let (leave, pace) = (CancellationToken::new(), Pace::default());
        let run = Run {
            ground,
            device,
            sink,
            link,
            sends: receiver,
            leave: leave.clone(),
            pause: Pause::new(pace.clone()),
            waiting: Waiting::default(),
            _consumer: consumer,
        };
        let mut task = JoinSet::new();
        task.spawn(run.run());
        Ok(Self { sends, leave, pace, task })
    }
}

impl Device for Connected {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        self.sends.try_send(Sending { ticket, to, payload }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Gone,
        })
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
            let left = timeout(ANSWERS_WITHIN + 3 * CLOSE_WITHIN, self.task.join_next());
            // Not in time: dropping the task ends the connection.
            let _ = left.await;
        })
    }
}

/// A connection with its consumer.
struct Link {
    client: Client,
    context: Context,
    events: mpsc::Receiver<Event>,
    consumer: Consumer<push::Config>,
    deliveries: Subscriber,
}

impl Link {
    async fn open(
        ground: &Ground,
        device: DeviceIndex,
        has_consumer: &mut bool,
    ) -> Result<Self, ConnectError> {
        let (teller, events) = mpsc::channel(EVENTS_MAX);
        let options = ground.options(&format!("lt-{:016x}-{device}", ground.run));
        let options = options.event_callback(move |event| {
            let teller = teller.clone();
            async move {
                // Without a receiver the device is gone, and so is who would want to know.
                let _ = teller.send(event).await;
            }
        });
        let client = options.connect(&ground.server).await.map_err(|error| {
            let why = error.to_string();
            match error.kind() {
                ConnectErrorKind::Authentication
                | ConnectErrorKind::AuthorizationViolation
                | ConnectErrorKind::ServerParse
                | ConnectErrorKind::Tls => ConnectError::Refused(why),
                ConnectErrorKind::Dns
                | ConnectErrorKind::TimedOut
                | ConnectErrorKind::Io
                | ConnectErrorKind::MaxReconnects => ConnectError::Unreachable(why),
            }
        })?;
        let context = ContextBuilder::new()
            .timeout(ANSWER_WITHIN)
            .max_ack_inflight(2 * UNANSWERED_MAX)
            .build(client.clone());
        ground.make_stream(&context).await?;
        let config = ground.consumer(device);
        let subject = config.deliver_subject.clone();
        let consumer = if *has_consumer {
            let name = config.durable_name.unwrap_or_default();
            let found = context.get_consumer_from_stream(name, &ground.stream).await;
            found.map_err(|error| ConnectError::Unreachable(format!("no consumer: {error}")))?
        } else {
            let made = context.create_consumer_on_stream(config, &ground.stream).await;
            made.map_err(|error| {
                let why = format!("no consumer: {error}");
                match error.kind() {
                    ConsumerErrorKind::JetStream(_) => ConnectError::Refused(why),
                    ConsumerErrorKind::TimedOut
                    | ConsumerErrorKind::Request
                    | ConsumerErrorKind::InvalidConsumerType
                    | ConsumerErrorKind::InvalidName
                    | ConsumerErrorKind::Other => ConnectError::Unreachable(why),
                }
            })?
        };
        *has_consumer = true;
        let deliveries = client.subscribe(subject).await;
        let deliveries =
            deliveries.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        Ok(Self { client, context, events, consumer, deliveries })
    }
}

/// What the task of a device holds.
struct Run {
    ground: Arc<Ground>,
    device: DeviceIndex,
    sink: Sink,
    link: Link,
    sends: mpsc::Receiver<Sending>,
    leave: CancellationToken,
    pause: Pause,
    waiting: Waiting,
    /// Held for as long as the device is connected.
    _consumer: OwnedMutexGuard<bool>,
}

/// Answers that are still to come.
#[derive(Default)]
struct Waiting {
    tickets: BTreeSet<u64>,
    parts: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    answers: Answers,
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
        if is_empty(info) {
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
            if is_leaving && self.sends.is_empty() && self.waiting.tickets.is_empty() {
                break;
            }
            let has_room = is_up && self.waiting.parts.len() < UNANSWERED_MAX;
            let is_paused = self.pause.is_on();
            let step = tokio::select! {
                biased;
                () = &mut given_up => ControlFlow::Break(()),
                () = leave.cancelled(), if !is_leaving => ControlFlow::Continue(()),
                event = self.link.events.recv() => {
                    self.event(event, &mut is_up, &mut backlog)
                }
                Some(answer) = self.waiting.parts.next() => {
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
                send = self.sends.recv(), if has_room => match send {
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
        // Not in time: dropping the connection ends it.
        let _ = timeout(2 * CLOSE_WITHIN, self.part()).await;
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
        self.waiting.tickets.insert(ticket);
        for topic in std::iter::once(first).chain(second) {
            let subject = self.ground.subject_of(topic);
            match self.link.context.publish(subject, payload.clone()).await {
                Ok(answer) => self.waiting.parts.push(wait(ticket, parts, answer)),
                Err(error) => self.answered(Answer { ticket, parts, outcome: outcome(&error) }),
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Answer { ticket, parts, outcome } = answer;
        if let Some(outcome) = self.waiting.answers.part(ticket, parts, outcome) {
            self.waiting.tickets.remove(&ticket);
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
            Ok(info) if is_empty(&info) => {
                backlog.ask = None;
                self.sink.hear(self.device, Told::CaughtUp);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(device = %self.device, "asking for its consumer: {error}")
            }
        }
    }

    /// Takes what is on its way, and ends the connection in order.
    async fn part(&mut self) {
        if self.link.deliveries.drain().await.is_ok() {
            let last = async {
                while let Some(message) = self.link.deliveries.next().await {
                    self.delivered(message).await;
                }
            };
            let _ = timeout(CLOSE_WITHIN, last).await;
        }
        // What cannot be written any more is an acknowledgement, and comes again.
        let _ = self.link.client.flush().await;
    }
}

/// What became of sends nobody will answer any more.
impl Drop for Run {
    fn drop(&mut self) {
        for ticket in std::mem::take(&mut self.waiting.tickets) {
            let outcome = Outcome::Unknown;
            self.sink.hear(self.device, Told::Outcome { ticket, outcome });
        }
        self.sends.close();
        while let Ok(Sending { ticket, .. }) = self.sends.try_recv() {
            let outcome = Outcome::Rejected("the device was ended before it was sent".to_owned());
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

fn is_empty(info: &jetstream::consumer::Info) -> bool {
    info.num_pending == 0 && info.num_ack_pending == 0
}

fn wait(
    ticket: u64,
    parts: u8,
    answer: PublishAckFuture,
) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    answer
        .into_future()
        .map(move |answered| {
            let outcome = match answered {
                Ok(_) => Outcome::Accepted,
                Err(error) => outcome(&error),
            };
            Answer { ticket, parts, outcome }
        })
        .boxed()
}

/// What a failed publish means.
fn outcome(error: &PublishError) -> Outcome {
    match error.kind() {
        // The answer is missing, not the message.
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Outcome::Unknown,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => Outcome::Rejected(error.to_string()),
    }
}
