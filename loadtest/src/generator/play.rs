//! What the conductor leads: a generator in this process, or agents elsewhere.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Drained, Generator, Standing, Stretch};
use crate::{
    cluster::Usage,
    driver::BoxFuture,
    measure::{Portion, Span},
    scenario::{PhaseRate, What},
};

/// A pacer that is to begin is awake within this.
const LEAD_NS: u64 = 20_000_000;

/// Hears how many of how many devices are connected.
pub type TellCount<'a> = &'a (dyn Fn(usize, usize) + Send + Sync);
/// Hears how it stands.
pub type TellStanding<'a> = &'a (dyn Fn(Standing) + Send + Sync);

/// Plays the population. Calls come in the order of the methods; none of those that are not
/// awaited waits for the cluster. A dropped call leaves what it does half done.
pub trait Play: Send + Sync {
    /// From the decision to begin to the first intended time, nanoseconds: everything must be
    /// awake by then.
    fn lead_ns(&self) -> u64;

    /// Connects every device once.
    ///
    /// # Errors
    /// When one cannot be connected.
    fn connect<'a>(&'a self, tell: TellCount<'a>) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Makes what conversations need.
    ///
    /// # Errors
    /// When the cluster refuses.
    fn make_groups(&self) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Sends away who is not connected when the load begins.
    ///
    /// # Errors
    /// When who plays is gone.
    fn assemble(&self) -> BoxFuture<'_, anyhow::Result<()>>;

    /// A new span begins: what is intended from then on is judged as part of it.
    fn begin_span(&self, began_ns: u64) -> Span;

    /// Sends at a rate from `began_ns` on, until its duration is over or `stop` is cancelled.
    /// `at` are the places of the phase, and of the try within it.
    ///
    /// # Errors
    /// When it cannot go on.
    fn load<'a>(
        &'a self,
        rate: &'a PhaseRate,
        at: (u32, u32),
        began_ns: u64,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Devices come and go until `until`, as the phase says.
    fn churn(&self, phase: u32, until: CancellationToken);

    /// Makes the phase's share of devices read slowly, or none when it has none.
    fn slow_down(&self, phase: u32) -> BoxFuture<'_, ()>;

    /// A phase began; for who does by itself, at its times, what the phase does to devices.
    fn announce(&self, phase: u32, began_ns: u64, until: &CancellationToken);

    /// Begins what an action does to devices; false when it is about something else.
    fn begin_action(&self, at: (u32, u32), what: &What) -> bool;

    /// A fault is about to be made: connections that break now break because of it.
    fn fault(&self);

    /// Waits until every send is answered and everything due to who is there has come, or as long
    /// as this. Whether it is so.
    fn settle(&self, at_most: Duration) -> BoxFuture<'_, bool>;

    /// Brings everybody back and waits until all have what is due to them, or until `grace` has
    /// passed since everybody was back.
    fn drain<'a>(&'a self, grace: Duration, tell: TellStanding<'a>) -> BoxFuture<'a, Drained>;

    /// Disconnects everybody. How many sends never got an answer.
    fn close(&self) -> BoxFuture<'_, usize>;

    /// What is known of a span so far; of agents, when they settled or closed last.
    fn span(&self, span: Span) -> Portion;

    /// How long devices took to come back, and to have what had waited for them, of those that
    /// were sent away in the span that began at `began_ns`.
    fn returned(&self, began_ns: u64) -> (Stretch, Stretch);

    /// What happened since it was last asked; there is one who asks.
    fn take_interval(&self) -> Portion;

    /// How it stands.
    fn standing(&self) -> Standing;

    /// What processes elsewhere use that play; none when this one does.
    fn elsewhere(&self) -> Option<Usage>;
}

impl Play for Generator {
    fn lead_ns(&self) -> u64 {
        LEAD_NS
    }

    fn connect<'a>(&'a self, tell: TellCount<'a>) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(Self::connect(self, tell))
    }

    fn make_groups(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        self.crowd.driver.prepare(self.part.devices.clone())
    }

    fn assemble(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async {
            self.crowd.leave_who_is_away(&self.population).await;
            Ok(())
        })
    }

    fn begin_span(&self, began_ns: u64) -> Span {
        Self::begin_span(self, began_ns)
    }

    fn load<'a>(
        &'a self,
        rate: &'a PhaseRate,
        at: (u32, u32),
        began_ns: u64,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(Self::load(self, rate, at, began_ns, stop))
    }

    fn churn(&self, phase: u32, until: CancellationToken) {
        Self::churn(self, phase, until);
    }

    fn slow_down(&self, phase: u32) -> BoxFuture<'_, ()> {
        Box::pin(Self::slow_down(self, phase))
    }

    fn announce(&self, _: u32, _: u64, _: &CancellationToken) {}

    fn begin_action(&self, at: (u32, u32), what: &What) -> bool {
        Self::begin_action(self, at, what)
    }

    fn fault(&self) {
        Self::fault(self);
    }

    fn settle(&self, at_most: Duration) -> BoxFuture<'_, bool> {
        Box::pin(Self::settle(self, at_most))
    }

    fn drain<'a>(&'a self, grace: Duration, tell: TellStanding<'a>) -> BoxFuture<'a, Drained> {
        Box::pin(Self::drain(self, grace, tell))
    }

    fn close(&self) -> BoxFuture<'_, usize> {
        Box::pin(Self::close(self))
    }

    fn span(&self, span: Span) -> Portion {
        Self::span(self, span)
    }

    fn returned(&self, began_ns: u64) -> (Stretch, Stretch) {
        Self::returned(self, began_ns)
    }

    fn take_interval(&self) -> Portion {
        self.crowd.ear.recorder.take_interval()
    }

    fn standing(&self) -> Standing {
        self.crowd.ear.standing()
    }

    fn elsewhere(&self) -> Option<Usage> {
        None
    }
}
