//! Leads a generator through the phases of a scenario.

mod account;
mod act;
mod search;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::RunClock,
    cluster::{LocalCluster, State, Target},
    measure::Span,
    report::summary::{EventKind, Figure, Outcome},
    scenario::{Load, Phase, PhaseRate, Scenario, Slo},
    view::{Board, Stage},
};

use super::{Drained, Play, journal::Journal, sampling::Sampling};

/// What is done to processes and by commands ends by itself within this after the load, or never.
const ACTIONS_WITHIN: Duration = Duration::from_secs(90);

/// Leads a generator through the phases of a scenario.
pub struct Conductor {
    /// What is to be done.
    pub scenario: Arc<Scenario>,
    /// Who does it.
    pub generator: Arc<dyn Play>,
    /// The processes of this machine that things are done to, if there are any.
    pub cluster: Option<Arc<LocalCluster>>,
    /// Where floods go; none when the driver is not Posthorn's.
    pub target: Option<Target>,
    /// Everything that is sampled.
    pub sampling: Sampling,
    /// What happens is written here.
    pub journal: Journal,
    /// What is shown.
    pub board: Arc<Board>,
    /// The clock of the run.
    pub clock: RunClock,
    /// The folder of the run, where commands leave what they say.
    pub folder: PathBuf,
    /// The load is to end, and everything after it to be done.
    pub interrupt: CancellationToken,
}

/// A stretch of the run that is reported by itself: a phase, or a step of a search.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// What it is called.
    pub name: String,
    /// Whether its figures are results.
    pub measured: bool,
    /// What was wanted, when the load waited for answers and may have sent less.
    pub closed: Option<PhaseRate>,
    /// What is demanded of it.
    pub slo: Slo,
    /// Which messages are its.
    pub span: Span,
    /// When it began, nanoseconds since the run did.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Figures that only it has.
    pub figures: Vec<Figure>,
}

/// What was led through.
#[derive(Debug, Default)]
pub struct Led {
    /// The stretches, in their order.
    pub stretches: Vec<Stretch>,
    /// What is done to processes beside the load.
    acting: JoinSet<()>,
}

impl Conductor {
    /// Goes through every phase, or until it is interrupted.
    ///
    /// # Errors
    /// When the generator cannot go on.
    ///
    /// # Cancel safety
    /// Not cancel safe: interrupt it instead.
    pub async fn lead(&self) -> anyhow::Result<Led> {
        let mut led = Led::default();
        for (place, phase) in (0..).zip(&self.scenario.phases) {
            if self.interrupt.is_cancelled() {
                break;
            }
            match &phase.load {
                Load::Rate(rate) => self.phase(&mut led, place, phase, rate).await?,
                Load::Search(search) => self.search(&mut led, place, phase, search).await?,
            }
            self.look_after_processes(phase);
        }
        self.sampling.enter(None);
        if timeout(ACTIONS_WITHIN, async { while led.acting.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            self.journal.reason(Outcome::Incomplete, None, "an action did not end with the load");
            led.acting.shutdown().await;
        }
        Ok(led)
    }

    /// Lets everybody come back and get what is theirs, then disconnects them.
    ///
    /// # Cancel safety
    /// A dropped call cuts off who is left.
    pub async fn drain(&self) -> Drained {
        self.show("draining", "everybody comes back and gets what waits", None);
        // What comes now is nobody's but the drain's.
        self.generator.begin_span(self.clock.now_ns());
        let drained = self
            .generator
            .drain(self.scenario.honest.grace, &|standing| {
                let (done, of) = (standing.delivered.min(standing.due), standing.due);
                self.board.done(done as usize, of as usize);
            })
            .await;
        self.show("disconnecting", "", None);
        let unanswered = self.generator.close().await;
        Drained { unanswered, ..drained }
    }

    /// A phase at a rate that is given.
    async fn phase(
        &self,
        led: &mut Led,
        place: u32,
        phase: &Phase,
        rate: &PhaseRate,
    ) -> anyhow::Result<()> {
        let stop = self.interrupt.child_token();
        let began_ns = self.clock.now_ns() + self.generator.lead_ns();
        let detail = crate::view::per_second(rate.rate);
        self.show(&phase.name, &detail, Some((began_ns, rate.duration)));
        self.begin(led, phase.name.clone(), phase, began_ns);
        self.generator.slow_down(place).await;
        self.generator.churn(place, stop.clone());
        let load = self.generator.load(rate, (place, 0), began_ns, &stop);
        let acting = self.act(&mut led.acting, place, phase, began_ns, &stop);
        let (load, ()) = tokio::join!(load, acting);
        stop.cancel();
        self.end(led, phase.measured);
        self.caution(led);
        load
    }

    /// A stretch begins.
    fn begin(&self, led: &mut Led, name: String, phase: &Phase, began_ns: u64) {
        let span = self.generator.begin_span(began_ns);
        self.sampling.enter(Some(led.stretches.len()));

        led.stretches.push(Stretch {
            name,
            measured: false,
            closed: closed(&phase.load).cloned(),
            slo: phase.slo.clone(),
            span,
            began_ns,
            ended_ns: began_ns,
            figures: Vec::new(),
        });
    }

    /// The stretch that was begun last ends.
    fn end(&self, led: &mut Led, measured: bool) {
        if let Some(stretch) = led.stretches.last_mut() {
            stretch.ended_ns = self.clock.now_ns();
            stretch.measured = measured;
        }
    }

    /// A closed loop says what its figures leave out.
    fn caution(&self, led: &Led) {
        let Some(stretch) = led.stretches.last() else { return };
        if let Some(caution) = self.account(stretch, &[]).caution() {
            self.journal.note(format!("{caution}."));
        }
    }

    fn show(&self, name: &str, detail: &str, lasts: Option<(u64, Duration)>) {
        self.board.begin(Stage {
            name: name.to_owned(),
            detail: detail.to_owned(),
            done: None,
            lasts,
        });
    }

    /// A process that ended without being asked to is the cluster's failure.
    fn look_after_processes(&self, phase: &Phase) {
        let processes = self.cluster.iter().flat_map(|cluster| cluster.processes());
        for process in processes {
            match process.state() {
                State::Running | State::Stopped | State::Ended => {}
                State::Fell(status) => {
                    let text = format!("{} ended by itself: {status}", process.name());
                    self.journal.event(EventKind::Trouble, text.clone());
                    self.journal.reason(Outcome::Fail, Some(&phase.name), text);
                }
            }
        }
    }
}

fn closed(load: &Load) -> Option<&PhaseRate> {
    match load {
        Load::Rate(rate) => Some(rate).filter(|rate| rate.closed_senders().is_some()),
        // A search that is one is refused.
        Load::Search(_) => None,
    }
}
