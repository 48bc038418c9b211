//! The demo: a conversation routed through a real cluster, and the comparison of what every device
//! received with what was accepted.

pub mod invented;
pub mod report;
pub mod script;
pub mod stage;
pub mod tally;
