//! One direction of a stream in memory.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::{Buf, BytesMut};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::connection::{Closing, Handle, Offer};
use crate::{config::MEMORY_STREAM_BYTES_MAX, error::LinkError};

/// Bytes on their way from one [`SenderCarrier`] to one [`ReceiverCarrier`].
pub(crate) struct Pipe {
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    /// Held until both ends of every direction of the stream are dropped.
    _slot: Arc<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct State {
    bytes: BytesMut,
    finished: bool,
    stopped: bool,
}

impl Pipe {
    pub(super) fn new(slot: Arc<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            readable: Notify::new(),
            writable: Notify::new(),
            _slot: slot,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock held")
    }

    /// Puts in what there is room for; `None` when there is none.
    fn try_write(&self, buffer: &mut BytesMut) -> Option<Result<(), LinkError>> {
        let mut state = self.state();
        if state.stopped || state.finished {
            return Some(Err(LinkError::StreamStopped));
        }
        let room = MEMORY_STREAM_BYTES_MAX - state.bytes.len();
        if room == 0 {
            return None;
        }
        let written = room.min(buffer.len());
        state.bytes.extend_from_slice(&buffer[..written]);
        buffer.advance(written);
        self.readable.notify_one();
        Some(Ok(()))
    }

    /// Takes all there is; `None` when there is nothing yet.
    fn try_read(&self, buffer: &mut BytesMut) -> Option<bool> {
        let mut state = self.state();
        if state.bytes.is_empty() {
            return state.finished.then_some(false);
        }
        buffer.extend_from_slice(&state.bytes);
        state.bytes.clear();
        self.writable.notify_one();
        Some(true)
    }

    /// Whether the reader has all there is; `None` when it has not yet.
    fn try_drain(&self) -> Option<Result<(), LinkError>> {
        let state = self.state();
        if state.stopped {
            return Some(Err(LinkError::StreamStopped));
        }
        state.bytes.is_empty().then_some(Ok(()))
    }

    fn finish(&self) {
        self.state().finished = true;
        self.readable.notify_one();
    }

    fn stop(&self) {
        let mut state = self.state();
        if state.finished && state.bytes.is_empty() {
            return;
        }
        state.stopped = true;
        state.bytes = BytesMut::new();
        self.writable.notify_one();
    }
}

/// The end that writes.
pub(crate) struct SenderCarrier {
    pipe: Arc<Pipe>,
    closing: watch::Receiver<Option<Closing>>,
    handle: Arc<Handle>,
    /// Shown to the peer with the first byte.
    offer: Option<Offer>,
}

impl SenderCarrier {
    pub(super) fn new(handle: Arc<Handle>, pipe: Arc<Pipe>, offer: Option<Offer>) -> Self {
        Self { pipe, closing: handle.watch_closing(), handle, offer }
    }

    pub(crate) async fn write(&mut self, buffer: &mut BytesMut) -> Result<(), LinkError> {
        loop {
            self.handle.check_open()?;
            self.show();
            if let Some(done) = self.pipe.try_write(buffer) {
                return done;
            }
            tokio::select! {
                biased;
                _ = self.closing.changed() => (),
                () = self.pipe.writable.notified() => (),
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        self.show();
        self.pipe.finish();
    }

    pub(crate) async fn finished(&mut self) -> Result<(), LinkError> {
        loop {
            self.handle.check_open()?;
            if let Some(done) = self.pipe.try_drain() {
                return done;
            }
            tokio::select! {
                biased;
                _ = self.closing.changed() => (),
                () = self.pipe.writable.notified() => (),
            }
        }
    }

    fn show(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.handle.show(offer);
        }
    }
}

impl Drop for SenderCarrier {
    fn drop(&mut self) {
        self.finish();
    }
}

impl fmt::Debug for SenderCarrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("memory::SenderCarrier")
    }
}

/// The end that reads.
pub(crate) struct ReceiverCarrier {
    pipe: Arc<Pipe>,
    closing: watch::Receiver<Option<Closing>>,
    handle: Arc<Handle>,
}

impl ReceiverCarrier {
    pub(super) fn new(handle: Arc<Handle>, pipe: Arc<Pipe>) -> Self {
        Self { pipe, closing: handle.watch_closing(), handle }
    }

    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> Result<bool, LinkError> {
        loop {
            self.handle.check_open()?;
            if let Some(more) = self.pipe.try_read(buffer) {
                return Ok(more);
            }
            tokio::select! {
                biased;
                _ = self.closing.changed() => (),
                () = self.pipe.readable.notified() => (),
            }
        }
    }
}

impl Drop for ReceiverCarrier {
    fn drop(&mut self) {
        self.pipe.stop();
    }
}

impl fmt::Debug for ReceiverCarrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("memory::ReceiverCarrier")
    }
}
