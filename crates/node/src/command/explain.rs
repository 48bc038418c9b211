//! `posthorn explain`: the page of an error.

use crate::{
    catalogue::Code,
    cli::{self, ExplainArgs},
    failure::{Failure, Outcome},
    output,
};

/// Prints the page of one error, or the list of all.
///
/// # Errors
/// When there is no such code.
pub fn run(args: &ExplainArgs) -> Outcome {
    let Some(text) = &args.code else { return output::print(&cli::list_of_errors()) };
    let code = Code::find(text).ok_or_else(|| {
        Failure::new(Code::NoSuchCode, format!("there is no error `{}`", text.escape_debug()))
            .remedy("`posthorn explain` lists all of them")
    })?;
    output::print(code.page())
}
