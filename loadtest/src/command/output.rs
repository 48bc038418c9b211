//! How results are printed.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
}

/// Prints a result. Whoever stops reading, such as `head`, has had enough.
///
/// # Errors
/// When standard output cannot be written to for another reason.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.trim_end().as_bytes()).and_then(|()| out.write_all(b"\n"));
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a result for programs.
///
/// # Errors
/// When standard output cannot be written to.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}
