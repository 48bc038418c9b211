//! A device's connection with its consumer.

use async_nats::{
    Client, ConnectErrorKind, Event, Subscriber,
    jetstream::{
        Context,
        consumer::{Consumer, Info, push},
        context::ContextBuilder,
        stream::ConsumerErrorKind,
    },
};
use tokio::sync::mpsc;

use super::{ANSWER_WITHIN, Ground, unanswered::UNANSWERED_MAX};
use crate::{driver::ConnectError, population::DeviceIndex};

/// What the connection tells of itself; when full, it tells no more until there is room.
const EVENTS_MAX: usize = 16;

/// A connection with its consumer.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) consumer: Consumer<push::Config>,
    pub(super) deliveries: Subscriber,
}

impl Link {
    /// Connects, and makes the consumer unless the device has it.
    ///
    /// # Errors
    /// When it is not connected, or the server refuses.
    ///
    /// # Cancel safety
    /// A dropped call leaves no connection; the consumer may have been made.
    pub(super) async fn open(
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

/// Whether nothing waits for a consumer.
pub(super) fn is_empty(info: &Info) -> bool {
    info.num_pending == 0 && info.num_ack_pending == 0
}
