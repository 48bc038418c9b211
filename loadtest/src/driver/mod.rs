//! How the generator speaks to what it tests.

mod answers;
mod backoff;
pub mod mqtt;
pub mod nats;
pub mod null;
mod outbox;
mod pause;
pub mod posthorn;
mod topics;

use std::{future::Future, ops::Range, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::population::{ConversationIndex, DeviceIndex};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Speaks one protocol to one cluster, for every device of a population.
pub trait Driver: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// Makes what conversations need, such as groups, once every device was connected once: what
    /// these devices are to make, where others may play the rest of the population.
    ///
    /// # Errors
    /// When the cluster refuses: no load can begin.
    ///
    /// # Cancel safety
    /// A dropped call leaves some of it made.
    fn prepare(&self, devices: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Connects a device; the first time registers it, later ones resume where it was.
    ///
    /// # Errors
    /// When it is not connected within the driver's own bound.
    ///
    /// # Cancel safety
    /// A dropped call leaves no connection.
    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>>;

    /// Ends what the driver itself holds, once every device is disconnected. What became of sends
    /// that were never answered is told now: [`Outcome::Unknown`].
    ///
    /// # Cancel safety
    /// A dropped call ends it at once.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a driver can do; a scenario that needs more is refused with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Conversations of more than two.
    pub groups: Ability,
    /// Several devices of one user, each with its own place in the mailbox.
    pub devices: Ability,
    /// A device that was away gets what it missed, and nothing twice.
    pub resume: Ability,
    /// A connection survives a change of the client's port.
    pub migration: Ability,
}

/// Whether something can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// It can.
    Yes,
    /// It could, and is not set up for it in this run: what is missing, a sentence.
    Unset(&'static str),
    /// It cannot: why, a sentence.
    No(&'static str),
}

/// A connected device; it reconnects by itself when the connection breaks. Dropping it ends the
/// connection at once, as the crash of a program does: what was heard in the last moments may be
/// delivered again.
pub trait Device: Send + Sync {
    /// Sends without waiting; what becomes of it comes to the sink under `ticket`, perhaps before
    /// this returns, perhaps only after the device was disconnected and connected again.
    ///
    /// # Errors
    /// When it cannot be taken now; then nothing was sent.
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError>;

    /// Changes the port it sends from.
    ///
    /// # Errors
    /// When there is no other port, or the driver cannot.
    fn rebind(&self) -> anyhow::Result<()>;

    /// From now on waits so long after each delivery before it takes the next one, as a slow phone
    /// does; zero ends that.
    fn read_slowly(&self, pause: Duration);

    /// Ends the connection in order: what was heard is acknowledged, and once this returns nothing
    /// more is. What is needed to resume stays with the driver. [`Told::Down`] is not told.
    ///
    /// # Cancel safety
    /// A dropped call ends it at once.
    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Hears what happens to devices; called from the driver's tasks, so it must be quick.
pub trait Hear: Send + Sync {
    /// Something happened to a device. A delivery is acknowledged to the cluster after this.
    fn hear(&self, device: DeviceIndex, told: Told);
}

/// Where a driver tells what happens.
pub type Sink = Arc<dyn Hear>;

/// What happens to a device.
#[derive(Clone, Debug)]
pub enum Told {
    /// It is connected, or connected again.
    Up,
    /// The connection is gone; why.
    Down(String),
    /// Everything that had waited for it has been delivered.
    CaughtUp,
    /// What became of a send. Told once.
    Outcome {
        /// Which one.
        ticket: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The cluster takes back a send that it had accepted; why.
    TakenBack(String),
    /// A message arrived, or something that is none: an empty one.
    Delivery(Bytes),
    /// The cluster says that messages may be missing.
    Truncated,
    /// The cluster delivered two bodies under one id.
    Conflict,
}

/// What became of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable and will be delivered.
    Accepted,
    /// It will never be delivered; why.
    Rejected(String),
    /// Nobody can say: it may be delivered once, or never.
    Unknown,
}

/// Why a send was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// As many as may wait are waiting for their answer.
    #[error("the device's outbox is full")]
    Full,
    /// The device has ended for good.
    #[error("the device has ended")]
    Gone,
}

/// Why a device could not be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not now; trying again may help.
    #[error("not connected in time: {0}")]
    Unreachable(String),
    /// Trying again does not help.
    #[error("refused: {0}")]
    Refused(String),
}

/// A device that was connected and is not any more has left its place within this.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// The place of a device, which whoever is connected as it holds.
///
/// # Errors
/// When somebody is.
///
/// # Cancel safety
/// Cancel safe.
async fn take_place<P>(
    device: DeviceIndex,
    place: Arc<tokio::sync::Mutex<P>>,
) -> Result<tokio::sync::OwnedMutexGuard<P>, ConnectError> {
    // The task of a connection that was dropped ends by itself, a little later.
    let taken = tokio::time::timeout(LEAVES_WITHIN, place.lock_owned()).await;
    taken.map_err(|_| ConnectError::Refused(format!("device {device} is connected already")))
}
