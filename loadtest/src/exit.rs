//! How the program ends: the exit codes a script may rely on.

/// Why the program ends. The number is part of the command line's contract and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done, and every bound was kept.
    Pass,
    /// A bound was missed, or the second run is worse than the first.
    Worse,
    /// The input is wrong, two runs cannot be compared, or the run could not begin.
    Unusable,
    /// A message was lost, repeated, reordered, changed or brought to the wrong device.
    Violation,
    /// The generator did not keep its own times: nothing is said about the cluster.
    GeneratorBound,
    /// The run ended early: interrupted, or an agent was lost.
    Incomplete,
}

impl Exit {
    /// Every way to end.
    pub const ALL: &[Self] = &[
        Self::Pass,
        Self::Worse,
        Self::Unusable,
        Self::Violation,
        Self::GeneratorBound,
        Self::Incomplete,
    ];

    /// The number the operating system is given.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Worse => 1,
            Self::Unusable => 2,
            Self::Violation => 3,
            Self::GeneratorBound => 4,
            Self::Incomplete => 5,
        }
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "everything asked for was done, and every bound was kept",
            Self::Worse => "a bound was missed, or the second run is worse",
            Self::Unusable => "the input is wrong, runs cannot be compared, or it could not begin",
            Self::Violation => "a message was lost, repeated, reordered, changed or misdelivered",
            Self::GeneratorBound => "the generator did not keep its own times: no result",
            Self::Incomplete => "the run was interrupted, or an agent was lost",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
