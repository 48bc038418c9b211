//! The end of a run: everybody comes back and gets what is theirs.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Crowd, Generator, LOOK_EVERY, Standing};
use crate::clock::RunClock;

/// When everything due has arrived, what comes twice would come within this.
pub(crate) const QUIET_NS: u64 = 1_000_000_000;
/// When nothing has come for so long, what is still due is due to devices that are away.
pub(crate) const SETTLED_NS: u64 = 500_000_000;
/// Devices that come back at the end of the load, at most so many at once.
const RETURNING_MAX: usize = 128;
/// Devices that do not come back within this, and their turns, are missing.
const RETURN_WITHIN: Duration = Duration::from_secs(60);
/// The turn of one device among all: ending a connection to a server that is gone takes a second
/// or two, of so many at once.
const TURN: Duration = Duration::from_millis(20);
/// Devices that leave at the end of the run, at most so many at once.
const LEAVING_MAX: usize = 256;

/// How the end of a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How it all stood at the end.
    pub standing: Standing,
    /// Sends that never got an answer.
    pub unanswered: usize,
    /// Devices that could not come back, so that nothing can be said of what was due to them.
    pub missing: usize,
}

impl Generator {
    /// Ends what goes on beside the load, brings everybody back, and waits until all have what is
    /// due to them, or until `grace` has passed since everybody was back. `tell` hears how it
    /// stands.
    ///
    /// # Cancel safety
    /// A dropped call leaves some away.
    pub async fn drain(&self, grace: Duration, tell: impl Fn(Standing)) -> Drained {
        let ear = Arc::clone(&self.crowd.ear);
        let mut back = std::pin::pin!(self.bring_back(grace));
        while timeout(LOOK_EVERY, &mut back).await.is_err() {
            tell(ear.standing());
        }
        let until_ns = after(ear.clock, grace);
        loop {
            let standing = ear.standing();
            tell(standing);
            let now_ns = ear.clock.now_ns();
            let quiet = now_ns.saturating_sub(ear.latest_ns()) > QUIET_NS;
            if standing.is_settled() && quiet || now_ns > until_ns {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        let standing = ear.standing();
        let missing = self.crowd.devices.len().saturating_sub(standing.connections);
        Drained { standing, unanswered: standing.waiting, missing }
    }

    /// Ends what goes on beside the load, within `grace`, and brings everybody back who can come.
    /// When anything broke during the load everybody connects anew: who only listens notices a
    /// dead connection much later, and would be taken for connected.
    ///
    /// # Cancel safety
    /// A dropped call leaves some away.
    pub async fn bring_back(&self, grace: Duration) {
        self.slow_nobody().await;
        // What is under way ends by itself; what does not is no better after the grace.
        let mut aside = mem::take(&mut *self.aside());
        let _ = timeout(grace, async { while aside.join_next().await.is_some() {} }).await;
        aside.shutdown().await;
        let back = async {
            if self.crowd.ear.is_disturbed() {
                let renew = |crowd: Arc<Crowd>, device| async move { crowd.renew(device).await };
                let all = self.crowd.devices.all().collect();
                self.crowd.for_each(all, Duration::ZERO, Some(RETURNING_MAX), renew).await;
            } else {
                let away = self.crowd.wanted(false);
                self.crowd.reconnect(away, Duration::ZERO, Some(RETURNING_MAX)).await;
            }
        };
        let turns =
            TURN.saturating_mul(u32::try_from(self.crowd.devices.len()).unwrap_or(u32::MAX));
        let _ = timeout(grace.max(RETURN_WITHIN) + turns, back).await;
    }

    /// When the latest delivery was heard, nanoseconds since the run began.
    #[must_use]
    pub fn latest_ns(&self) -> u64 {
        self.crowd.ear.latest_ns()
    }

    /// Waits until every send is answered and everything due to who is there has come, or as long
    /// as this: between the steps of a search, so that one does not weigh on the next. Whether it
    /// is so.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn settle(&self, at_most: Duration) -> bool {
        let until_ns = after(self.crowd.ear.clock, at_most);
        while self.crowd.ear.clock.now_ns() < until_ns {
            let standing = self.crowd.ear.standing();
            let quiet = after(self.crowd.ear.clock, Duration::ZERO)
                .saturating_sub(self.crowd.ear.latest_ns())
                > SETTLED_NS;
            if standing.waiting == 0 && (standing.delivered >= standing.due || quiet) {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Disconnects everybody and ends the driver. How many sends never got an answer.
    ///
    /// # Cancel safety
    /// A dropped call cuts off who is left.
    pub async fn close(&self) -> usize {
        let all = self.crowd.wanted(true);
        self.crowd.stop.cancel();
        let crowd = &self.crowd;
        let leave = |crowd: Arc<Crowd>, device| async move { crowd.send_away(device).await };
        crowd.for_each(all, Duration::ZERO, Some(LEAVING_MAX), leave).await;
        crowd.driver.close().await;
        crowd.ear.give_up_waiting()
    }

    async fn slow_nobody(&self) {
        self.crowd.slow_down(None).await;
    }
}

impl Standing {
    /// Whether everybody is connected and has everything.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.waiting == 0
            && self.delivered >= self.due
            && self.catching_up == 0
            && self.connections >= self.wanted
    }
}

fn after(clock: RunClock, duration: Duration) -> u64 {
    clock.now_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
