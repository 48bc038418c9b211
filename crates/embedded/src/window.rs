//! Windows: rows of one stretch of log time share a keyspace, which is dropped whole.

use std::{collections::BTreeMap, sync::RwLock, time::Duration};

use fjall::{Database, Keyspace};

use crate::{config::millis, store};

/// Keyspaces of windows are named with this and the number of the window.
const NAME: &str = "rows-";

/// The windows there are. The positions of a mailbox grow with log time, so all its rows in an
/// earlier window come before those in a later one.
pub(crate) struct Windows {
    db: Database,
    width_ms: u64,
    list: RwLock<BTreeMap<u64, Keyspace>>,
}

impl Windows {
    pub(crate) fn open(db: &Database, width: Duration) -> fjall::Result<Self> {
        let mut list = BTreeMap::new();
        for name in db.list_keyspace_names() {
            if let Some(number) = name.strip_prefix(NAME).and_then(|number| number.parse().ok()) {
                list.insert(number, db.keyspace(&name, store::options)?);
            }
        }
        Ok(Self { db: db.clone(), width_ms: millis(width).max(1), list: RwLock::new(list) })
    }

    /// The window of a log time, made when there is none.
    pub(crate) fn at(&self, log_time_ms: u64) -> fjall::Result<Keyspace> {
        let number = log_time_ms / self.width_ms;
        if let Some(found) = self.list.read().expect("no panic under it").get(&number) {
            return Ok(found.clone());
        }
        let mut list = self.list.write().expect("no panic under it");
        if let Some(found) = list.get(&number) {
            return Ok(found.clone());
        }
        let made = self.db.keyspace(&format!("{NAME}{number:012}"), store::options)?;
        list.insert(number, made.clone());
        Ok(made)
    }

    /// All windows, oldest first.
    pub(crate) fn all(&self) -> Vec<Keyspace> {
        self.list.read().expect("no panic under it").values().cloned().collect()
    }

    /// Drops the windows all of whose rows were logged before `before_ms`.
    pub(crate) fn drop_before(&self, before_ms: u64) -> fjall::Result<()> {
        let gone: Vec<_> = {
            let mut list = self.list.write().expect("no panic under it");
            let kept = list.split_off(&(before_ms / self.width_ms));
            std::mem::replace(&mut *list, kept).into_values().collect()
        };
        gone.into_iter().try_for_each(|window| self.db.delete_keyspace(window))
    }
}
