//! What must outlive the process: device key, outbox, cursor, what was seen.

mod file;
mod journal;
mod memory;

use std::fmt::Debug;

use session::client::{Restored, StoreChange};

pub use self::{file::FileStore, memory::MemoryStore};
use crate::key::DeviceKey;

/// Keeps what must outlive the process. It belongs to one client at a time.
pub trait Store: Debug + Send + Sync {
    /// What is kept, or a new device.
    ///
    /// # Errors
    /// When it cannot be read; no client starts then.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Keeps these changes: all or none, after all earlier ones, durable when it returns.
    ///
    /// # Errors
    /// When that is not certain: the client ends, and the next one begins with [`Self::load`].
    fn commit(&self, changes: Vec<StoreChange>) -> Result<(), StoreError>;

    /// Whether [`Self::load`] and [`Self::commit`] may take long and must not hold up other tasks.
    fn blocks(&self) -> bool {
        true
    }
}

/// What a store holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The device.
    pub key: DeviceKey,
    /// Everything else.
    pub restored: Restored,
}

/// The store does not work; somebody must look at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process uses it.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// A file says what no version of this program writes.
    #[error("{path}: {problem}")]
    Corrupt {
        /// Which file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The system refused.
    #[error("{path}: {problem}")]
    System {
        /// Which file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// A commit failed before, so what the file holds is not known: start again.
    #[error("an earlier commit failed")]
    Failed,
}
