//! How the program ends: the exit codes a script may rely on.

/// Why the program ends. The number is part of the command line's contract and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything asked for was done.
    Success,
    /// It failed for a reason without a code of its own.
    Failure,
    /// The command line was not understood.
    Usage,
    /// Configuration, certificates or the data directory do not allow a start.
    Configuration,
    /// The cluster or an address cannot be reached or used now; trying again later may help.
    Unavailable,
    /// The cluster answered and refused: trying the same again will not help.
    Refused,
    /// Something was lost, repeated, out of order or changed.
    DataWrong,
    /// A check found something that must be changed before the cluster works, or works safely.
    FoundWrong,
    /// Ended at once by a second Ctrl-C.
    Interrupted,
    /// Ended at once by a second SIGTERM.
    Terminated,
}

impl Exit {
    /// Every way to end, in the order of their numbers.
    pub const ALL: &[Self] = &[
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Configuration,
        Self::Unavailable,
        Self::Refused,
        Self::DataWrong,
        Self::FoundWrong,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number the operating system is given.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Configuration => 3,
            Self::Unavailable => 4,
            Self::Refused => 5,
            Self::DataWrong => 6,
            Self::FoundWrong => 7,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// What it means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "everything asked for was done",
            Self::Failure => "it failed for a reason without a number of its own",
            Self::Usage => "the command line was not understood",
            Self::Configuration => {
                "configuration, certificates or the data directory do not allow it"
            }
            Self::Unavailable => "the cluster or an address cannot be reached or used now",
            Self::Refused => "the cluster answered, and refused",
            Self::DataWrong => "something was lost, repeated, out of order or changed",
            Self::FoundWrong => "a check found something that must be changed",
            Self::Interrupted => "ended at once by a second Ctrl-C",
            Self::Terminated => "ended at once by a second SIGTERM",
        }
    }

    /// The table for `--help`.
    #[must_use]
    pub fn help() -> String {
        let lines =
            Self::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.number(), exit.meaning()));
        format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
    }

    /// The page `docs/reference/exit-codes.md`.
    #[must_use]
    pub fn reference() -> String {
        let mut page = String::from(
            "# Exit codes\n\nGenerated from `crates/node/src/exit.rs`; do not edit. A script may \
             rely on them.\n\n| code | meaning |\n|---:|---|\n",
        );
        for exit in Self::ALL {
            page.push_str(&format!("| {} | {} |\n", exit.number(), exit.meaning()));
        }
        page.push_str(
            "\nErrors are printed to standard error with a code of their own, such as `PH0401`; \
             `posthorn explain PH0401` tells more.\n",
        );
        page
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
