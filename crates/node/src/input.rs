//! Lines of standard input, read beside everything else.

use std::io::{self, BufRead as _};

use tokio::sync::mpsc;

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// Lines read ahead; the reader waits at it.
const LINES_AHEAD: usize = 256;

/// The lines of standard input. The thread that reads them ends with the input or the process: a
/// blocked read of a terminal cannot be taken back.
pub struct Lines(mpsc::Receiver<io::Result<String>>);

impl Lines {
    /// Begins to read.
    #[must_use]
    pub fn of_stdin() -> Self {
        let (lines, receiver) = mpsc::channel(LINES_AHEAD);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let is_last = line.is_err();
                if lines.blocking_send(line).is_err() || is_last {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line without its end; none at the end of the input.
    ///
    /// # Errors
    /// When the input cannot be read or is not text.
    ///
    /// # Cancel safety
    /// A dropped call took no line.
    pub async fn next(&mut self) -> Outcome<Option<String>> {
        self.0.recv().await.transpose().map_err(|error| {
            Failure::new(Code::InputUnreadable, error.to_string())
                .at("standard input")
                .remedy("give it as UTF-8 text")
        })
    }
}
