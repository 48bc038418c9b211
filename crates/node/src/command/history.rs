//! `posthorn history`: older messages of a mailbox.

use std::time::Duration;

use wire::{DecodeError, Item, Seq, item::Body, limits::PAGE_ROWS_MAX};

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
    let mut missing = args.limit;
    while missing > 0 {
        let limit = missing.min(PAGE_ROWS_MAX);
        let page = peer::within(PAGE_WITHIN, "the question", client.history(before, limit)).await?;
        let page = page.map_err(|error| peer::request_failure(&error))?;
        before = page.rows.last().map(|(seq, _, _)| *seq);
        let is_last = !page.more || page.rows.is_empty();
        for row in page.rows {
            // Changes between messages are shown and do not count.
            missing -= u32::from(is_message(&row.2));
            rows.push(row);
        }
        if is_last {
            break;
        }
    }
    client.close().await;
    let printer = Printer::new(&place, args.output.format);
    for (seq, _, item) in rows.iter().rev() {
        match item {
            Ok(item) => printer.row(seq.get(), item)?,
            Err(error) => eprintln!("the item at {seq} cannot be shown: {error}"),
        }
    }
    Ok(())
}

fn is_message(item: &Result<Item, DecodeError>) -> bool {
    item.as_ref().is_ok_and(|item| matches!(item.body, Body::Message(_)))
}
