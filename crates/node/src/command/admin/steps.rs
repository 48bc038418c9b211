//! Plans of numbered steps: shown, tried without effect, taken.

use clap::Args;
use ports::operate::Step;
use serde::Serialize;

use crate::{
    cli::{Format, OutputArgs},
    failure::Outcome,
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
            1 => format!("1 step is to be done: `{}` takes it.", self.apply),
            open => format!("{open} steps are to be done: `{}` takes them.", self.apply),
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
            _ => format!("This was a dry run: nothing was changed. `{}` does it.", self.apply),
        })
    }

    /// Prints the steps that were done before; [`Progress::taken`] goes on with the others.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn begin(&self) -> Outcome<Progress<'_>> {
        if self.output.format == Format::Text {
            output::line(&format!("{}: {} steps.\n", self.subject, self.steps.len()))?;
        }
        for (index, step) in self.steps.iter().enumerate().filter(|(_, step)| step.done) {
            output::print(&self.step(index + 1, step, Stage::Done))?;
        }
        Ok(Progress { plan: self, taken: 0, closed: None })
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
    taken: usize,
    /// Why nothing can be printed any more.
    closed: Option<crate::failure::Failure>,
}

impl Progress<'_> {
    /// Prints a step that has just been done. What was begun goes on when the output is closed;
    /// [`Progress::end`] tells.
    pub fn taken(&mut self, step: &Step) {
        self.taken += 1;
        let place = self.plan.steps.iter().position(|one| one.what == step.what);
        // What came up since the plan was made has no number in it.
        let number = place.map_or(self.plan.steps.len() + 1, |index| index + 1);
        if self.closed.is_none() {
            let printed = output::print(&self.plan.step(number, step, Stage::Taken));
            self.closed = printed.err();
        }
    }

    /// Prints how many steps were taken.
    ///
    /// # Errors
    /// When the output was closed meanwhile.
    pub fn end(self) -> Outcome {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let before = self.plan.steps.len() - self.plan.open();
        self.plan.tell(&format!("Done: {} steps taken, {before} done before.", self.taken))
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
    fn steps_that_are_done_are_not_open() {
        let steps = vec![Step { done: true, ..step("a") }, step("b")];
        let output = OutputArgs { format: Format::Text };
        let plan = Plan { subject: String::new(), apply: "", steps, output };
        assert_eq!(plan.open(), 1);
    }
}
