//! Plans of numbered steps: shown, tried without effect, taken.

use clap::Args;
use ports::operate::Step;
use serde::Serialize;

use crate::{
    cli::{Format, OutputArgs},
    failure::{Failure, Outcome},
    output,
};

/// Whether something is changed.
#[derive(Clone, Copy, Debug, Args)]
pub struct ApplyArgs {
    /// Do it; without this it is only said what would be done
    #[arg(long)]
    pub yes: bool,
}

/// A step as JSON.
#[derive(Serialize)]
struct Line<'a> {
    step: usize,
    state: &'a str,
    what: &'a str,
    why: &'a str,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was done before.
    Done,
    /// It is to be done.
    Open,
    /// It has just been done.
    Taken,
}

/// A plan that is shown and worked through.
pub struct Plan {
    /// What it makes, such as `topics of Kafka at 10.0.0.1:9092`.
    pub subject: String,
    /// The command that takes its steps.
    pub apply: &'static str,
    /// Its steps.
    pub steps: Vec<Step>,
    /// How it is printed.
    pub output: OutputArgs,
}

impl Plan {
    /// Prints the plan and what to do next.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn show(&self) -> Outcome {
        self.show_steps()?;
        self.tell(&match self.open() {
            0 => "Nothing is to be done.".to_owned(),
            1 => format!("1 step is to be done: `{}`, with the same flags.", self.apply),
            open => format!("{open} steps are to be done: `{}`, with the same flags.", self.apply),
        })
    }

    /// Prints what would be done and that nothing was.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn show_dry(&self) -> Outcome {
        self.show_steps()?;
        self.tell(&match self.open() {
            0 => "Nothing is to be done.".to_owned(),
            _ => "This was a dry run: nothing was changed. The same with --yes does it.".to_owned(),
        })
    }

    /// Says what begins; [`Progress`] prints the steps in their order.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn begin(&self) -> Outcome<Progress<'_>> {
        if self.output.format == Format::Text {
            output::line(&format!("{}: {} steps.\n", self.subject, self.steps.len()))?;
        }
        Ok(Progress { plan: self, next: 0, taken: 0, closed: None })
    }

    /// Steps that are to be done.
    #[must_use]
    pub fn open(&self) -> usize {
        self.steps.iter().filter(|step| !step.done).count()
    }

    fn show_steps(&self) -> Outcome {
        if self.output.format == Format::Text {
            let (all, done) = (self.steps.len(), self.steps.len() - self.open());
            output::line(&format!("{}: {all} steps, {done} of them done.\n", self.subject))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            let stage = if step.done { Stage::Done } else { Stage::Open };
            output::print(&self.step(index + 1, step, stage))?;
        }
        Ok(())
    }

    /// A remark for people: nothing in it that the lines for machines lack.
    fn tell(&self, text: &str) -> Outcome {
        match self.output.format {
            Format::Text => output::line(&format!("\n{text}")),
            Format::Json => Ok(()),
        }
    }

    fn step(&self, number: usize, step: &Step, stage: Stage) -> String {
        match self.output.format {
            Format::Text => step_text(number, step, stage),
            Format::Json => step_json(number, step, stage),
        }
    }
}

/// A plan whose steps are being taken.
pub struct Progress<'a> {
    plan: &'a Plan,
    /// Steps before this one were printed.
    next: usize,
    taken: usize,
    /// Why nothing can be printed any more.
    closed: Option<Failure>,
}

impl Progress<'_> {
    /// Prints a step that has just been done, unless it was done before. What was begun goes on
    /// when the output is closed; [`Progress::end`] tells.
    pub fn taken(&mut self, step: &Step) {
        let steps = &self.plan.steps;
        // What came up since the plan was made has no place in it.
        let place = steps.iter().position(|one| one.what == step.what).unwrap_or(steps.len());
        if steps.get(place).is_some_and(|one| one.done) {
            return;
        }
        self.pass(place);
        self.taken += 1;
        self.print(place, step, Stage::Taken);
        self.next = self.next.max(place + 1);
    }

    /// Prints the rest and how many steps were taken.
    ///
    /// # Errors
    /// When the output was closed meanwhile.
    pub fn end(mut self) -> Outcome {
        self.pass(self.plan.steps.len());
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let before = self.plan.steps.len() - self.plan.open();
        self.plan.tell(&format!("{} steps taken, {before} done before.", self.taken))
    }

    /// Prints what was done before, up to a place.
    fn pass(&mut self, place: usize) {
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate().take(place).skip(self.next) {
            if step.done {
                self.print(index, step, Stage::Done);
            }
        }
        self.next = self.next.max(place);
    }

    fn print(&mut self, index: usize, step: &Step, stage: Stage) {
        if self.closed.is_none() {
            self.closed = output::print(&self.plan.step(index + 1, step, stage)).err();
        }
    }
}

fn step_text(number: usize, step: &Step, stage: Stage) -> String {
    let mark = match stage {
        Stage::Done => "[done]  ",
        Stage::Open => "[to do] ",
        Stage::Taken => "[taken] ",
    };
    format!("{number:>3}. {mark} {}\n               {}\n", step.what, step.why)
}

fn step_json(number: usize, step: &Step, stage: Stage) -> String {
    let state = match stage {
        Stage::Done => "done",
        Stage::Open => "open",
        Stage::Taken => "taken",
    };
    let line = Line { step: number, state, what: &step.what, why: &step.why };
    let json = serde_json::to_string(&line).expect("results have string keys only");
    format!("{json}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn step(what: &str) -> Step {
        Step { what: what.to_owned(), why: "it is needed".to_owned(), done: false }
    }

    #[test]
    fn a_step_says_its_number_how_it_stands_what_and_why() {
        let text = step_text(2, &step("create topic a"), Stage::Open);
        assert_eq!(text, "  2. [to do]  create topic a\n               it is needed\n");
        let json = step_json(2, &step("create topic a"), Stage::Taken);
        let expected = concat!(
            r#"{"step":2,"state":"taken","what":"create topic a","why":"it is needed"}"#,
            "\n"
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn only_steps_that_were_open_are_taken() {
        let steps = vec![Step { done: true, ..step("a") }, step("b")];
        let output = OutputArgs { format: Format::Json };
        let plan = Plan { subject: String::new(), apply: "", steps, output };
        assert_eq!(plan.open(), 1);
        let mut progress = plan.begin().unwrap();
        progress.taken(&step("a"));
        assert_eq!((progress.taken, progress.next), (0, 0));
        progress.taken(&step("b"));
        assert_eq!((progress.taken, progress.next), (1, 2));
    }
}
