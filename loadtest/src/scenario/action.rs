//! What happens at a given time of a phase.

use std::{fmt, time::Duration};

use super::quantity::{show_duration, show_number};

/// Something that happens at a given time.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Since the phase began.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Connected devices leave in order.
    Disconnect {
        /// Share of those connected, 0 to 1.
        share: f64,
        /// Spread evenly over this; zero is all at once.
        over: Duration,
    },
    /// Devices that are away come back.
    Reconnect {
        /// Share of those away, 0 to 1.
        share: f64,
        /// Spread evenly over this; zero is all at once.
        over: Duration,
    },
    /// Connected devices change their UDP port.
    Rebind {
        /// Share of those connected, 0 to 1.
        share: f64,
        /// Spread evenly over this; zero is all at once.
        over: Duration,
    },
    /// A process sends its clients elsewhere, finishes its work and ends, and is started again.
    DrainProcess(String),
    /// A process is killed: SIGKILL.
    Kill(String),
    /// A process stands still with its sockets open: SIGSTOP.
    Stop(String),
    /// A process that stands still goes on: SIGCONT.
    Cont(String),
    /// A process that ended is started with the data it had.
    Start(String),
    /// A process is asked to end: SIGTERM.
    Terminate(String),
    /// A command is run by `sh -c`; the run is incomplete if it fails.
    Command(String),
    /// Somebody who is no user attacks.
    Flood(Flood),
}

impl What {
    /// What it is called in a scenario.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Disconnect { .. } => "disconnect",
            Self::Reconnect { .. } => "reconnect",
            Self::Rebind { .. } => "rebind",
            Self::DrainProcess(_) => "drain-process",
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Cont(_) => "cont",
            Self::Start(_) => "start",
            Self::Terminate(_) => "terminate",
            Self::Command(_) => "command",
            Self::Flood(_) => "flood",
        }
    }

    /// The process it is done to.
    #[must_use]
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::DrainProcess(process)
            | Self::Kill(process)
            | Self::Stop(process)
            | Self::Cont(process)
            | Self::Start(process)
            | Self::Terminate(process) => Some(process),
            Self::Disconnect { .. }
            | Self::Reconnect { .. }
            | Self::Rebind { .. }
            | Self::Command(_)
            | Self::Flood(_) => None,
        }
    }
}

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flood {
    /// Of which kind.
    pub kind: FloodKind,
    /// How many attack at once: sockets, or connections.
    pub connections: u32,
    /// Packets or handshakes a second, all together.
    pub rate: f64,
    /// How long.
    pub duration: Duration,
}

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodKind {
    /// Random bytes to the port.
    Garbage,
    /// Connections that are begun and never authenticate.
    Handshakes,
    /// Devices with valid tokens that take no bytes of what is sent to them.
    SlowReaders,
}

impl FloodKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Garbage, Self::Handshakes, Self::SlowReaders];

    /// What it is called in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Handshakes => "handshakes",
            Self::SlowReaders => "slow-readers",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", show_duration(self.at), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnect { share, over }
            | Self::Reconnect { share, over }
            | Self::Rebind { share, over } => {
                write!(f, "{} {}% of devices", self.name(), show_number(share * 100.0))?;
                if over.is_zero() { Ok(()) } else { write!(f, " over {}", show_duration(*over)) }
            }
            Self::DrainProcess(process)
            | Self::Kill(process)
            | Self::Stop(process)
            | Self::Cont(process)
            | Self::Start(process)
            | Self::Terminate(process) => write!(f, "{} {process}", self.name()),
            Self::Command(command) => write!(f, "run `{command}`"),
            Self::Flood(flood) => {
                write!(f, "flood of {} from {} connections", flood.kind.name(), flood.connections)?;
                if flood.rate > 0.0 {
                    write!(f, ", {}/s", show_number(flood.rate))?;
                }
                write!(f, ", for {}", show_duration(flood.duration))
            }
        }
    }
}
