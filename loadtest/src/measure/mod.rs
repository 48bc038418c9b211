//! Latencies, rates, and what the machine and the processes used.
//!
//! Whoever sees something happen tells the [`Recorder`], which keeps it twice: for the interval in
//! which it happened (what the view and the plots show), and for the span in which the message was
//! *intended* (what phases and their bounds are judged by), so that a phase which overloads the
//! cluster answers for its own stragglers.

mod hlog;
mod latency;
mod machine;
mod recorder;
mod tally;

pub use hlog::IntervalLogs;
pub use latency::Latencies;
pub use machine::describe_machine;
pub use recorder::{Arrival, Late, Portion, Recorder, Span};
pub use tally::{Errors, Tally};
