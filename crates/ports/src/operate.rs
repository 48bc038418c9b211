//! What an engine tells the people who run it.

/// What one look at an engine found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// What was looked at, such as `kafka: min.insync.replicas of posthorn.mail.e1`.
    pub about: String,
    /// What was found, such as `1, needed are 2`.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it must be.
    Good,
    /// It works, and someone should know.
    Doubtful,
    /// The cluster does not work, or not safely, until it is changed.
    Wrong,
}

/// One step of a plan. Steps are taken in their order, and taking one again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, such as `create topic posthorn.mail.e1 with 12 partitions`.
    pub what: String,
    /// Why it is needed.
    pub why: String,
    /// There is nothing to do any more.
    pub done: bool,
}
