//! What became of every message, and what must never have happened.

use super::section;
use crate::{
    ledger::{Event, Kind, Message, Verdict, Violation},
    report::{
        markup::{Escaped, put},
        number,
        summary::Summary,
    },
};

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "ledger",
        "Ledger",
        "Every message and every delivery on every device was written down as it happened, and \
         compared afterwards.",
    );
    match &summary.ledger {
        Some(ledger) => write_verdict(out, ledger),
        None => out.push_str("<p class=\"nothing\">Nothing was verified in this run.</p>\n"),
    }
    out.push_str("</section>\n");
}

fn write_verdict(out: &mut String, ledger: &Verdict) {
    let sends = [
        ("sent", ledger.sent),
        ("accepted", ledger.accepted),
        ("rejected", ledger.rejected),
        ("unknown outcome", ledger.unknown),
        ("unknown, but arrived", ledger.unknown_arrived),
        ("never left", ledger.not_sent),
    ];
    let arrivals = [
        ("due", ledger.due),
        ("delivered", ledger.delivered),
        ("not judged", ledger.pending),
        ("of another run", ledger.other_run),
        ("told of a gap", ledger.truncated),
    ];
    out.push_str("<div class=\"pair\">\n");
    write_list(out, "Messages", "plain", &sends);
    write_list(out, "Deliveries", "plain", &arrivals);
    out.push_str("</div>\n");
    let violations: Vec<_> =
        Kind::ALL.iter().map(|kind| (kind.name(), ledger.count(*kind))).collect();
    write_list(out, "What must never happen", "never", &violations);
    write_limits(out, ledger);
    write_violations(out, ledger);
}

fn write_list(out: &mut String, title: &str, class: &str, figures: &[(&str, u64)]) {
    put!(out, "<div class=\"{class}\"><h3>{title}</h3><dl class=\"ledger\">");
    for (name, count) in figures {
        let class = if *count == 0 { "zero" } else { "some" };
        put!(out, "<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>", number::count(*count));
    }
    out.push_str("</dl></div>\n");
}

/// How far the ledger itself can be believed.
fn write_limits(out: &mut String, ledger: &Verdict) {
    let torn = ledger.torn.iter().map(|torn| {
        let bytes = number::count(torn.bytes);
        format!("{bytes} bytes at the end of {} cannot be read.", torn.file)
    });
    let unjudged = (ledger.order_pairs_unjudged > 0).then(|| {
        format!(
            "The orders of {} pairs of devices differ in what arrived, and were too many to be \
             looked at one by one.",
            number::count(ledger.order_pairs_unjudged),
        )
    });
    let limits: Vec<_> = ledger.flaws.iter().cloned().chain(torn).chain(unjudged).collect();
    if limits.is_empty() {
        return;
    }
    out.push_str("<h3>What the ledger cannot say</h3><ul class=\"notes\">");
    for limit in limits {
        put!(out, "<li>{}</li>", Escaped(&limit));
    }
    out.push_str("</ul>\n");
}

fn write_violations(out: &mut String, ledger: &Verdict) {
    let (listed, all) = (ledger.violations.len() as u64, ledger.violation_count());
    if listed == 0 {
        return;
    }
    put!(out, "<h3>Violations</h3><p class=\"lead\">");
    if listed < all {
        put!(
            out,
            "The first {} of {}, each with what is known of it.</p>\n",
            number::count(listed),
            number::count(all),
        );
    } else {
        out.push_str("Each with what is known of it.</p>\n");
    }
    for (place, violation) in ledger.violations.iter().enumerate() {
        // The first ones are open, as one history says more than many counts.
        let open = if place < 3 { " open" } else { "" };
        write_violation(out, violation, open);
    }
}

fn write_violation(out: &mut String, violation: &Violation, open: &str) {
    put!(
        out,
        "<details class=\"violation\"{open}><summary><b>{}</b> {}</summary><ol>",
        violation.kind.name(),
        Escaped(&violation.says),
    );
    for event in &violation.history {
        write_event(out, violation, event);
    }
    out.push_str("</ol>");
    if violation.left_out > 0 {
        let left_out = number::count(violation.left_out);
        put!(out, "<p>Left out, deliveries to other devices: {left_out}.</p>");
    }
    out.push_str("</details>\n");
}

fn write_event(out: &mut String, violation: &Violation, event: &Event) {
    let here = violation.device == Some(event.device);
    put!(
        out,
        "<li{}><span>{}</span> {} <span>device {}</span>",
        if here { " class=\"here\"" } else { "" },
        Escaped(&format!("{:.6} s", event.at_ns as f64 / 1e9)),
        event.what.name(),
        event.device,
    );
    if let Some(message) = event.message.filter(|message| Some(*message) != violation.message) {
        put!(out, " <span>{}</span>", name(message));
    }
    out.push_str("</li>");
}

fn name(message: Message) -> String {
    format!(
        "message {} of device {} in conversation {}",
        message.counter, message.from, message.conversation
    )
}
