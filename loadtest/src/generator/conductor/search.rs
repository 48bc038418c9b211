//! A phase that searches: steps at rates that the search chooses, and the proof.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    generator::knee::{Knee, Next},
    report::{
        slo,
        summary::{EventKind, Figure, Kind, Outcome, Unit},
    },
    scenario::{Phase, PhaseRate, Search},
    view::per_second,
};

use super::{Conductor, Led};

/// After a step, what was sent in it must be answered and delivered within this; else it did not
/// hold.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// After a step that did not hold, its backlog is worked off within this.
const RECOVER_WITHIN: Duration = Duration::from_secs(60);

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Every bound was kept.
    Yes,
    /// One was not.
    No,
    /// The generator did not keep its own times, so that nothing is known of the cluster.
    GeneratorBound,
}

impl Conductor {
    /// A phase that searches for the highest rate that holds.
    pub(super) async fn search(
        &self,
        led: &mut Led,
        place: u32,
        phase: &Phase,
        search: &Search,
    ) -> anyhow::Result<()> {
        let stop = self.interrupt.child_token();
        self.generator.slow_down(place).await;
        self.generator.churn(place, stop.clone());
        let mut tasks = std::mem::take(&mut led.acting);
        let began_ns = self.clock.now_ns();
        let acting = self.act(&mut tasks, place, phase, began_ns, &stop);
        let searching = async {
            let found = self.steps(led, place, phase, search, &stop).await;
            stop.cancel();
            found
        };
        let ((), found) = tokio::join!(acting, searching);
        led.acting = tasks;
        found
    }

    async fn steps(
        &self,
        led: &mut Led,
        place: u32,
        phase: &Phase,
        search: &Search,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut knee = Knee::new(search);
        let mut generator_bound = false;
        for part in 0.. {
            let next = knee.next();
            let (rate, lasts) = match next {
                Next::Try(rate) => (rate, search.step),
                Next::Prove(rate) => (rate, search.prove),
                Next::Done(found) => {
                    self.conclude(phase, found, generator_bound);
                    return Ok(());
                }
            };
            if stop.is_cancelled() {
                return Ok(());
            }
            let proves = matches!(next, Next::Prove(_));
            let name = match next {
                Next::Prove(_) => phase.name.clone(),
                Next::Try(_) | Next::Done(_) => format!("{} {}", phase.name, per_second(rate)),
            };
            let rate_of_step = search.at(rate, lasts);
            let held = self.step(led, (place, part), phase, name, &rate_of_step, stop).await?;
            if stop.is_cancelled() {
                return Ok(());
            }
            generator_bound |= held == Held::GeneratorBound;
            self.say(phase, rate, proves, held, led);
            if proves {
                self.settle_proof(led, phase, rate, held);
                knee.proof(rate, held == Held::Yes);
            } else {
                knee.tried(rate, held == Held::Yes);
            }
        }
        Ok(())
    }

    /// Holds a rate, waits for its stragglers, and judges it.
    async fn step(
        &self,
        led: &mut Led,
        (place, part): (u32, u32),
        phase: &Phase,
        name: String,
        rate: &PhaseRate,
        stop: &CancellationToken,
    ) -> anyhow::Result<Held> {
        let began_ns = self.clock.now_ns() + self.generator.lead_ns();
        self.show(&name, &per_second(rate.rate), Some((began_ns, rate.duration)));
        self.begin(led, name, phase, began_ns);
        self.generator.load(rate, (place, part), began_ns, stop).await?;
        self.end(led, false);
        self.sampling.enter(None);
        let settled = self.generator.settle(SETTLE_WITHIN).await;
        let Some(stretch) = led.stretches.last() else { return Ok(Held::No) };
        let account = self.account(stretch, &[]);
        let bound_us = self.scenario.honest.schedule_delay_p99_max.as_micros() as u64;
        let late = account.latency.get(Kind::ScheduleDelay).is_some_and(|it| it.p99_us > bound_us);
        let held = if late {
            Held::GeneratorBound
        } else if settled && slo::judge(&phase.slo, &account).iter().all(|bound| bound.kept) {
            Held::Yes
        } else {
            Held::No
        };
        if !settled {
            self.show(&phase.name, "the backlog of the last step drains", None);
            self.generator.settle(RECOVER_WITHIN).await;
        }
        Ok(held)
    }

    /// Writes down how a step ended.
    fn say(&self, phase: &Phase, rate: f64, proves: bool, held: Held, led: &Led) {
        let p99 = led.stretches.last().and_then(|stretch| {
            let account = self.account(stretch, &[]);
            account.latency.get(Kind::EndToEnd).map(|it| crate::view::span(it.p99_us))
        });
        let p99 = p99.unwrap_or_else(|| "none".to_owned());
        let verb = match held {
            Held::Yes if proves => "is proved",
            Held::Yes => "holds",
            Held::No => "does not hold",
            Held::GeneratorBound => "is more than the generator can keep the times of",
        };
        let rate = per_second(rate);
        let text = format!("{}: {rate} {verb} (end to end p99 {p99})", phase.name);
        self.journal.event(EventKind::Step, text);
    }

    /// A proof that held is the result of the phase; one that did not is a step like others.
    fn settle_proof(&self, led: &mut Led, phase: &Phase, rate: f64, held: Held) {
        let Some(stretch) = led.stretches.last_mut() else { return };
        if held == Held::Yes {
            stretch.measured = phase.measured;
            stretch.figures.push(Figure {
                name: "knee".to_owned(),
                value: rate,
                unit: Unit::PerSecond,
                explanation: "The highest rate found that keeps every bound, held for the proof."
                    .to_owned(),
            });
        } else {
            stretch.name = format!("{} {} proof", phase.name, per_second(rate));
        }
    }

    fn conclude(&self, phase: &Phase, found: Option<f64>, generator_bound: bool) {
        match (found, generator_bound) {
            (Some(rate), true) => self.journal.note(format!(
                "{}: above {} the generator did not keep its own times, so the cluster may hold \
                 more than that",
                phase.name,
                per_second(rate),
            )),
            (Some(_), false) => {}
            (None, true) => self.journal.reason(
                Outcome::GeneratorBound,
                Some(&phase.name),
                "no rate was found: the generator did not keep its own times",
            ),
            (None, false) => self.journal.reason(
                Outcome::Fail,
                Some(&phase.name),
                "no rate was found that keeps the bounds and could be proved",
            ),
        }
    }
}
