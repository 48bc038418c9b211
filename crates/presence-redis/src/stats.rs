//! What it counts.

/// Plain numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether there is a connection now.
    pub connected: bool,
    /// Connections made since the start; the first one counts.
    pub connects: u64,
    /// Calls of the port since the start.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Times since the start that a server came back empty or was replaced, so that edges wrote all
    /// their routes again.
    pub losses: u64,
}
