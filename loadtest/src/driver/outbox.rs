//! Sends on their way to the task of a device.

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Outcome, SendError, Sink, Told};
use crate::population::{ConversationIndex, DeviceIndex};

/// As many sends wait for the device's task before no more are taken.
const WAITING_MAX: usize = 1024;

/// Why something is rejected that waited too long.
pub(super) const NEVER_SENT: &str = "the device was ended before it was sent";

/// A send that the task has yet to take.
pub(super) struct Sending {
    pub(super) ticket: u64,
    pub(super) to: ConversationIndex,
    pub(super) payload: Bytes,
}

/// Takes sends for the task of a device; when it is full, no more are taken.
#[derive(Clone, Debug)]
pub(super) struct Outbox(mpsc::Sender<Sending>);

/// The sends that wait, as the task of the device has them. What is left when it is dropped is told
/// as rejected.
pub(super) struct Waiting {
    sends: mpsc::Receiver<Sending>,
    device: DeviceIndex,
    sink: Sink,
}

/// An empty outbox of a device, and its other end.
pub(super) fn outbox(device: DeviceIndex, sink: Sink) -> (Outbox, Waiting) {
    let (sender, sends) = mpsc::channel(WAITING_MAX);
    (Outbox(sender), Waiting { sends, device, sink })
}

impl Outbox {
    /// As [`super::Device::send`].
    pub(super) fn send(
        &self,
        ticket: u64,
        to: ConversationIndex,
        payload: Bytes,
    ) -> Result<(), SendError> {
        self.0.try_send(Sending { ticket, to, payload }).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Closed(_) => SendError::Gone,
        })
    }
}

impl Waiting {
    /// The next one; none when nobody can send any more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Sending> {
        self.sends.recv().await
    }

    /// The next one, if there is one.
    pub(super) fn try_next(&mut self) -> Option<Sending> {
        self.sends.try_recv().ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.sends.close();
        while let Some(Sending { ticket, .. }) = self.try_next() {
            let outcome = Outcome::Rejected(NEVER_SENT.to_owned());
            self.sink.hear(self.device, Told::Outcome { ticket, outcome });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::driver::Hear;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Hear for Heard {
        fn hear(&self, device: DeviceIndex, told: Told) {
            self.0.lock().expect("no panic").push(format!("{device} {told:?}"));
        }
    }

    #[test]
    fn what_the_task_never_took_is_rejected_and_what_is_too_much_is_not_taken() {
        let heard = Arc::new(Heard::default());
        let (outbox, mut waiting) = outbox(DeviceIndex(3), Arc::clone(&heard) as Sink);
        let send = |ticket| outbox.send(ticket, ConversationIndex(0), Bytes::new());
        for ticket in 0..WAITING_MAX as u64 {
            assert_eq!(send(ticket), Ok(()));
        }
        assert_eq!(send(7), Err(SendError::Full));
        assert_eq!(waiting.try_next().map(|sending| sending.ticket), Some(0));
        drop(waiting);
        assert_eq!(send(8), Err(SendError::Gone));
        let heard = heard.0.lock().expect("no panic");
        assert_eq!(heard.len(), WAITING_MAX - 1);
        let first = "3 Outcome { ticket: 1, outcome: Rejected(\"the device was ended";
        assert!(heard[0].starts_with(first), "{}", heard[0]);
    }
}
