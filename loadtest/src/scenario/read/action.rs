//! Reads `[[phase.action]]`.

use std::time::Duration;

use super::{DAY, MS, values};
use crate::scenario::{
    Action, ClusterKind, Flood, FloodKind, What, quantity,
    source::{self, Fields},
};

/// What an action does, before its other keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Disconnect,
    Reconnect,
    Rebind,
    Process(ProcessDeed),
    Command,
    Flood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessDeed {
    Drain,
    Kill,
    Stop,
    Cont,
    Start,
    Terminate,
}

const DEEDS: &[(&str, Deed)] = &[
    ("disconnect", Deed::Disconnect),
    ("reconnect", Deed::Reconnect),
    ("rebind", Deed::Rebind),
    ("drain-process", Deed::Process(ProcessDeed::Drain)),
    ("kill", Deed::Process(ProcessDeed::Kill)),
    ("stop", Deed::Process(ProcessDeed::Stop)),
    ("cont", Deed::Process(ProcessDeed::Cont)),
    ("start", Deed::Process(ProcessDeed::Start)),
    ("terminate", Deed::Process(ProcessDeed::Terminate)),
    ("command", Deed::Command),
    ("flood", Deed::Flood),
];

/// What a process does at a time of the run, if everything goes as the scenario says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    StandsStill,
    Ended,
}

/// The processes of the cluster, followed through the scenario.
pub(super) struct Running(Vec<(String, State)>);

impl Running {
    pub(super) fn new(cluster: ClusterKind) -> Self {
        Self(cluster.processes().into_iter().map(|process| (process, State::Runs)).collect())
    }

    /// Does it to the process, or says why it cannot be done.
    fn step(&mut self, deed: ProcessDeed, process: &str) -> Result<(), (String, String)> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| name.clone()).collect();
        let Some((_, state)) = self.0.iter_mut().find(|(name, _)| name == process) else {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let near = source::nearest(process, &names);
            let near = near.map(|near| format!("Did you mean \"{near}\"? ")).unwrap_or_default();
            let what = format!("there is no process \"{process}\"");
            return Err((what, format!("{near}[cluster] has: {}.", names.join(", "))));
        };
        let before = *state;
        let allowed = match deed {
            ProcessDeed::Drain | ProcessDeed::Stop => before == State::Runs,
            ProcessDeed::Kill | ProcessDeed::Terminate => before != State::Ended,
            ProcessDeed::Cont => before == State::StandsStill,
            ProcessDeed::Start => before == State::Ended,
        };
        *state = match deed {
            ProcessDeed::Drain | ProcessDeed::Cont | ProcessDeed::Start => State::Runs,
            ProcessDeed::Stop => State::StandsStill,
            ProcessDeed::Kill | ProcessDeed::Terminate => State::Ended,
        };
        if allowed {
            return Ok(());
        }
        let then = match before {
            State::Runs => "it runs then",
            State::StandsStill => "it was stopped before and stands still",
            State::Ended => "it has ended before, by kill or terminate",
        };
        Err((then.to_owned(), "Add what is missing before, or leave this out.".to_owned()))
    }
}

/// The actions of a phase, earliest first.
pub(super) fn read_all(
    tables: Vec<Fields<'_, '_>>,
    duration: Duration,
    running: &mut Running,
) -> Vec<Action> {
    let mut actions: Vec<_> = tables.into_iter().map(|fields| read(fields, duration)).collect();
    actions.sort_by_key(|(action, _)| action.as_ref().map(|action| action.at));
    let mut read = Vec::with_capacity(actions.len());
    for (action, checks) in actions {
        if let Some((source, key, deed, process)) = checks
            && let Err((what, help)) = running.step(deed, &process)
        {
            source.refuse(&key, what, help);
        }
        read.extend(action);
    }
    read
}

/// What is to be checked when the actions are in order: where, what, and which process.
type Check<'t, 'a> = (&'t source::Source<'a>, String, ProcessDeed, String);

fn read<'t, 'a>(
    mut fields: Fields<'t, 'a>,
    duration: Duration,
) -> (Option<Action>, Option<Check<'t, 'a>>) {
    let at = fields.need(
        "at",
        "at = \"5s\"",
        Duration::ZERO,
        values::duration(Duration::ZERO..=DAY * 31),
    );
    if at > duration {
        let [at, duration] = [at, duration].map(quantity::show_duration);
        let help = format!("It is at {at}, and the phase lasts {duration}.");
        fields.refuse("at", "the phase is over then", help);
    }
    let example = "do = \"disconnect\"";
    let deed = fields.need("do", example, None, |it| values::one_of(DEEDS)(it).map(Some));
    let Some(deed) = deed else { return (None, None) };
    let mut check = None;
    let what = match deed {
        Deed::Disconnect => {
            let (share, over) = share_and_over(&mut fields);
            What::Disconnect { share, over }
        }
        Deed::Reconnect => {
            let (share, over) = share_and_over(&mut fields);
            What::Reconnect { share, over }
        }
        Deed::Rebind => {
            let (share, over) = share_and_over(&mut fields);
            What::Rebind { share, over }
        }
        Deed::Process(deed) => {
            let example = "process = \"server\"";
            let process = fields.need("process", example, String::new(), values::some_text);
            if !process.is_empty() {
                check = Some((fields.source(), fields.path_of("process"), deed, process.clone()));
            }
            process_deed(deed, process)
        }
        Deed::Command => {
            let example = "command = \"cargo xtask engines kill kafka-2\"";
            What::Command(fields.need("command", example, String::new(), values::some_text))
        }
        Deed::Flood => flood(&mut fields),
    };
    fields.finish();
    (Some(Action { at, what }), check)
}

fn share_and_over(fields: &mut Fields<'_, '_>) -> (f64, Duration) {
    let share = fields.get("share", values::share).unwrap_or(1.0);
    let over = fields.get("over", values::duration(Duration::ZERO..=DAY));
    (share, over.unwrap_or(Duration::ZERO))
}

fn process_deed(deed: ProcessDeed, process: String) -> What {
    match deed {
        ProcessDeed::Drain => What::DrainProcess(process),
        ProcessDeed::Kill => What::Kill(process),
        ProcessDeed::Stop => What::Stop(process),
        ProcessDeed::Cont => What::Cont(process),
        ProcessDeed::Start => What::Start(process),
        ProcessDeed::Terminate => What::Terminate(process),
    }
}

fn flood(fields: &mut Fields<'_, '_>) -> What {
    let kinds: Vec<_> = FloodKind::ALL.iter().map(|kind| (kind.name(), *kind)).collect();
    let example = "kind = \"garbage\"";
    let kind = fields.need("kind", example, FloodKind::Garbage, values::one_of(&kinds));
    let example = "connections = 100";
    let connections = fields.need("connections", example, 1, values::count32(1..=100_000));
    let rate = match kind {
        FloodKind::Garbage | FloodKind::Handshakes => {
            fields.need("rate", "rate = 1000", 0.0, values::number(0.1..=10_000_000.0))
        }
        FloodKind::SlowReaders => {
            fields.refuse_present("rate", "slow readers send nothing", "Leave it out.");
            0.0
        }
    };
    let example = "duration = \"10s\"";
    let duration = fields.need("duration", example, MS, values::duration(MS..=DAY));
    What::Flood(Flood { kind, connections, rate, duration })
}
