//! Changes of groups and devices, and waiting for what the cluster decides about them.

use std::time::Duration;

use tokio::{sync::oneshot, time::sleep};
use wire::{
    Address, DeviceId, GroupId, Item, SendId, Seq,
    item::{Body, DeviceChange, GroupChange},
    limits::PAGE_ROWS_MAX,
};

use crate::{
    client::Client,
    error::{ChangeError, RequestError, SendError},
};

/// The end of the mailbox is looked at this often for a decision that does not come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pages of one look. A decision behind more rows than that comes by the inbox.
const LOOK_PAGES_MAX: usize = 8;

/// What the cluster decided.
pub(crate) type Decision = Result<(), ChangeError>;

impl Client {
    /// Changes a group and waits for the cluster's decision. It comes by the mailbox; when more
    /// waits there, not acknowledged, than a device is given at once, it is looked for at the end.
    ///
    /// # Errors
    /// When the cluster refuses, or the client ended first.
    ///
    /// # Cancel safety
    /// A dropped call may have queued the change; its Result then comes to the inbox.
    pub async fn change_group(&self, group: GroupId, change: GroupChange) -> Decision {
        self.change(Address::Group(group), Body::GroupChange(change)).await
    }

    /// Revokes a device of this user, for ever, and waits for the cluster's decision.
    ///
    /// # Errors
    /// When the cluster refuses, or the client ended first: revoking the own device may end it
    /// before the Result has come.
    ///
    /// # Cancel safety
    /// As [`Self::change_group`].
    pub async fn revoke(&self, device: DeviceId) -> Decision {
        let user = self.connected().await.map_err(SendError::Closed)?;
        let change = Body::DeviceChange(DeviceChange::Revoke(device));
        self.change(Address::User(user), change).await
    }

    async fn change(&self, to: Address, body: Body) -> Decision {
        let (tell, decided) = oneshot::channel();
        let (id, cursor) = {
            let mut state = self.shared.lock();
            if let Some(reason) = &state.closed {
                return Err(SendError::Closed(reason.clone()).into());
            }
            let id = state.session.enqueue(to, 0, body).map_err(SendError::from)?;
            state.changes.insert(id, Some(tell));
            (id, state.session.cursor().unwrap_or(Seq::ZERO))
        };
        self.shared.work.notify_one();
        tokio::select! {
            biased;
            decided = decided => {
                let closed = |_| Err(SendError::Closed(self.shared.closed()).into());
                decided.unwrap_or_else(closed)
            }
            found = self.look_for(id, cursor) => {
                // Told here: when it comes by the mailbox it is only acknowledged.
                if let Some(waiter) = self.shared.lock().changes.get_mut(&id) {
                    *waiter = None;
                }
                found
            }
        }
    }

    /// Looks until the decision is among the newest rows.
    async fn look_for(&self, id: SendId, mut after: Seq) -> Decision {
        loop {
            sleep(LOOK_EVERY).await;
            match self.look(id, after).await {
                Ok((Some(decision), _)) => return decision,
                Ok((None, newest)) => after = after.max(newest),
                Err(error) => tracing::debug!(%error, "the mailbox is looked at again"),
            }
        }
    }

    /// The decision, if it is above `after`, and the newest position there is.
    async fn look(&self, id: SendId, after: Seq) -> Result<(Option<Decision>, Seq), RequestError> {
        let (mut newest, mut before) = (Seq::ZERO, None);
        for _ in 0..LOOK_PAGES_MAX {
            let page = self.history(before, PAGE_ROWS_MAX).await?;
            newest = page.rows.iter().map(|row| row.0).max().unwrap_or(newest).max(newest);
            let items = page.rows.iter().filter_map(|(_, _, item)| item.as_ref().ok());
            if let Some(decision) = items.filter_map(|item| self.decision(id, item)).next() {
                return Ok((Some(decision), newest));
            }
            before = page.rows.iter().map(|row| row.0).min();
            if !page.more || before.is_none_or(|before| before <= after) {
                break;
            }
        }
        Ok((None, newest))
    }

    /// What an item says about a change of this device.
    fn decision(&self, id: SendId, item: &Item) -> Option<Decision> {
        if item.id.device != self.device() || item.id.send != id {
            return None;
        }
        match &item.body {
            Body::GroupChange(_) | Body::DeviceChange(_) => Some(Ok(())),
            Body::Verdict(verdict) => Some(Err(ChangeError::Refused(*verdict))),
            Body::Message(_) => None,
        }
    }
}
