//! What was accepted and what was delivered, on disk, and the judgement over both.
//!
//! The generator tells a [`Ledger`] what it sends, what becomes of it and what each device hears.
//! One thread appends that to a file in batches with checksums, so that it outlives a generator
//! that is killed. [`verify`] reads the files back and judges every message at every device.

pub mod content;
mod counters;
mod findings;
mod history;
mod members;
mod order;
mod reader;
mod record;
mod seen;
mod streams;
mod verdict;
mod verify;
mod words;
mod writer;

pub use members::Members;
pub use record::{End, Message, Note, Outcome, OwnCopies, Rules, RunInfo};
pub use verdict::{Event, Happening, Kind, Torn, Verdict, Violation};
pub use verify::{Pass, Progress, run_of, verify};
pub use writer::{Ledger, Written};
