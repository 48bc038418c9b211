//! Standard output, without panics when nobody reads any more.

use std::io::{self, Write as _};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// Prints one line and flushes.
///
/// # Errors
/// When nobody reads any more, or the disk behind it is full.
pub fn line(text: &str) -> Outcome {
    print(&format!("{text}\n"))
}

/// Prints a text and flushes.
///
/// # Errors
/// As [`line()`].
pub fn print(text: &str) -> Outcome {
    let write = || -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    };
    write().map_err(|error| {
        Failure::new(Code::OutputClosed, format!("standard output: {error}"))
            .remedy("what was not printed was not acknowledged either")
    })
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl serde::Serialize) -> Outcome {
    line(&serde_json::to_string(value).expect("results have string keys only"))
}
