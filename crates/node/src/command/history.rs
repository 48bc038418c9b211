//! `posthorn history`: older messages of a mailbox.

use std::time::Duration;

use wire::{Seq, limits::PAGE_ROWS_MAX};

use crate::{
    cli::HistoryArgs,
    failure::Outcome,
    locate::Place,
    peer::{self, Use},
    show::Printer,
};

/// A page is waited for this long.
const PAGE_WITHIN: Duration = Duration::from_secs(20);

/// Prints the newest rows, oldest first.
///
/// # Errors
/// When the cluster cannot be reached or does not answer.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn run(args: HistoryArgs) -> Outcome {
    let place = Place::find(&args.cluster)?;
    let client = peer::connect(&place, Use::Sends).await?;
    let mut rows = Vec::new();
    let mut before = args.before.map(Seq::from_u64);
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    while rows.len() < wanted {
        let missing = u32::try_from(wanted - rows.len()).unwrap_or(PAGE_ROWS_MAX);
        let limit = missing.min(PAGE_ROWS_MAX);
        let page = peer::within(PAGE_WITHIN, "the question", client.history(before, limit)).await?;
        let page = page.map_err(|error| peer::request_failure(&error))?;
        before = page.rows.last().map(|(seq, _, _)| *seq);
        let is_last = !page.more || page.rows.is_empty();
        rows.extend(page.rows);
        if is_last {
            break;
        }
    }
    client.close().await;
    let printer =
        Printer { issuer: place.issuer, reader: place.person, format: args.output.format };
    for (seq, _, item) in rows.iter().rev() {
        match item {
            Ok(item) => printer.row(seq.get(), item)?,
            Err(error) => eprintln!("the item at {seq} cannot be shown: {error}"),
        }
    }
    Ok(())
}
