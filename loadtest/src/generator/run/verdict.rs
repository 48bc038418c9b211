//! What is to be thought of a run, and its summary.

use crate::{
    driver::Ability,
    generator::conductor::{Conductor, Stretch},
    measure::describe_machine,
    report::{
        slo,
        summary::{
            Counts, Curve, Interval, Kind, Outcome, Phase, Reason, Summary, VERSION, Verdict,
        },
    },
};

use super::{Ended, Run};

impl Run {
    /// The summary of a run that ended.
    pub(super) fn summary(&self, conductor: &Conductor, ended: Ended, began_ms: u64) -> Summary {
        let stretches = &ended.led.stretches;
        let phases = accounts(conductor, stretches, &ended.sampled.intervals);
        let verdict = self.verdict(conductor, &ended, &phases);
        let mut totals = Counts::default();
        ended.sampled.intervals.iter().for_each(|interval| totals += interval.counts);
        let generator = ended.sampled.own.clone();
        Summary {
            version: VERSION,
            run: self.about_run(began_ms, ended.duration_s),
            verdict,
            totals,
            curves: curves(conductor, stretches),
            phases,
            ledger: Some(ended.verdict),
            intervals: ended.sampled.intervals,
            events: conductor.journal.written().events,
            processes: ended.sampled.processes,
            metrics: ended.sampled.metrics,
            generator,
            agents: ended.agents,
        }
    }

    fn about_run(&self, began_ms: u64, duration_s: f64) -> crate::report::summary::Run {
        let scenario = &self.scenario;
        let abilities = self.driver.abilities();
        let all = [abilities.groups, abilities.devices, abilities.resume, abilities.migration];
        let lacks = all.into_iter().filter_map(|ability| match ability {
            // What a scenario needs is set up; of the others nothing is to be said.
            Ability::Yes | Ability::Unset(_) => None,
            Ability::No(why) => Some(why.to_owned()),
        });
        crate::report::summary::Run {
            id: format!("{:016x}", self.id),
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            scenario_text: scenario.text.clone(),
            seed: scenario.seed,
            began_ms,
            duration_s,
            driver: self.driver.name().to_owned(),
            driver_lacks: lacks.collect(),
            target: self.about.target.clone(),
            server_version: self.about.server_version.clone(),
            loadtest_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: self.about.command.clone(),
            machine: describe_machine(),
            population: self.population_figures(),
            schedule_delay_p99_max_us: self.bound_us(),
            grace_s: scenario.honest.grace.as_secs_f64(),
        }
    }

    fn bound_us(&self) -> u64 {
        let bound = self.scenario.honest.schedule_delay_p99_max;
        u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)
    }

    /// Everything that was found, the gravest first.
    fn verdict(&self, conductor: &Conductor, ended: &Ended, phases: &[Phase]) -> Verdict {
        let written = conductor.journal.written();
        let mut reasons = written.reasons;
        let mut found = |outcome, phase: Option<&str>, text: String| {
            reasons.push(Reason { outcome, phase: phase.map(str::to_owned), text });
        };
        if !ended.verdict.is_clean() {
            let found_kinds = ended.verdict.found();
            let kinds: Vec<_> = found_kinds
                .iter()
                .map(|(kind, count)| format!("{count} {}", kind.name()))
                .collect();
            found(Outcome::Violation, None, format!("the ledger finds: {}", kinds.join(", ")));
        }
        for flaw in &ended.verdict.flaws {
            found(Outcome::Incomplete, None, format!("the ledger itself: {flaw}"));
        }
        for loss in &ended.losses {
            found(Outcome::Incomplete, None, loss.clone());
        }
        if ended.interrupted {
            found(Outcome::Interrupted, None, "somebody ended the load early".to_owned());
        }
        if ended.drained.missing > 0 {
            let text = format!(
                "{} devices could not come back after the load, so what is due to them is not \
                 judged",
                ended.drained.missing,
            );
            found(Outcome::Incomplete, None, text);
        }
        let bound_us = self.bound_us();
        for phase in phases.iter().filter(|phase| phase.measured) {
            if let Some(late) = phase.latency.get(Kind::ScheduleDelay)
                && late.p99_us > bound_us
            {
                let text = format!(
                    "the generator was late: schedule delay p99 {}, at most {} is a result",
                    crate::view::span(late.p99_us),
                    crate::view::span(bound_us),
                );
                found(Outcome::GeneratorBound, Some(&phase.name), text);
            }
            for missed in phase.slo.iter().filter(|result| !result.kept) {
                found(Outcome::Fail, Some(&phase.name), slo::missed(missed));
            }
        }
        let mut notes = written.notes;
        if ended.drained.unanswered > 0 {
            notes.push(format!(
                "{} sends never got an answer: each may have arrived once, or not at all.",
                ended.drained.unanswered,
            ));
        }
        Verdict::of(reasons, notes)
    }
}

fn accounts(conductor: &Conductor, stretches: &[Stretch], intervals: &[Interval]) -> Vec<Phase> {
    let account = |(place, stretch)| {
        let own: Vec<_> =
            intervals.iter().filter(|interval| interval.phase == Some(place)).collect();
        conductor.account(stretch, &own)
    };
    stretches.iter().enumerate().map(account).collect()
}

fn curves(conductor: &Conductor, stretches: &[Stretch]) -> Vec<Curve> {
    let measured = stretches.iter().enumerate().filter(|(_, stretch)| stretch.measured);
    let curves = measured.flat_map(|(place, stretch)| {
        let portion = conductor.generator.span(stretch.span);
        portion.latencies.curves(place).collect::<Vec<_>>()
    });
    curves.collect()
}
