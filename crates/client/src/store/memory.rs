//! A store that lasts as long as the program.

use std::sync::{Arc, Mutex, PoisonError};

use session::client::{Restored, StoreChange};

use super::{Loaded, Store, StoreError};
use crate::key::DeviceKey;

/// A store that lasts as long as the program. Clones are the same store.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    key: DeviceKey,
    restored: Arc<Mutex<Restored>>,
}

impl MemoryStore {
    /// An empty store with a new device.
    #[must_use]
    pub fn new() -> Self {
        Self::with_key(DeviceKey::generate())
    }

    /// An empty store with this device.
    #[must_use]
    pub fn with_key(key: DeviceKey) -> Self {
        Self { key, restored: Arc::default() }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Loaded, StoreError> {
        let restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Loaded { key: self.key.clone(), restored })
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<(), StoreError> {
        let mut restored = self.restored.lock().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| restored.apply(change));
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }
}
