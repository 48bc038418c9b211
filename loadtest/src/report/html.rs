//! `report.html`, and the page of two runs: each one file that needs nothing else, neither a
//! network nor a script.

mod about;
mod comparison;
mod errors;
mod latency;
mod ledger;
mod phases;
mod rates;
mod resources;
mod table;
mod timeline;
mod verdict;

use super::{
    markup::{Escaped, put},
    number,
    summary::Summary,
};

pub use comparison::render as render_comparison;

const THEME: &str = include_str!("theme.css");
const HOVER: &str = include_str!("hover.js");

/// The file's name within the folder of a run.
pub const FILE: &str = "report.html";

/// The whole page, from the summary alone.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let outcome = summary.verdict.outcome.name();
    let mut out = begin(&format!("{}: {outcome} – load test", summary.run.scenario));
    let scenario = Escaped(&summary.run.scenario);
    put!(
        out,
        "<header><p class=\"kicker\">Load test<span> · {}</span><span> · {}</span></p>\
         <h1>{scenario}</h1><p class=\"about\">{}</p>{CHOICE}</header>\n",
        Escaped(&number::date(summary.run.began_ms)),
        Escaped(&summary.run.driver),
        Escaped(&summary.run.about),
    );
    out.push_str("<main>\n");
    verdict::write(&mut out, summary);
    out.push_str(CONTENTS);
    phases::write(&mut out, summary);
    latency::write(&mut out, summary);
    rates::write(&mut out, summary);
    errors::write(&mut out, summary);
    resources::write(&mut out, summary);
    ledger::write(&mut out, summary);
    about::write(&mut out, summary);
    end(&mut out);
    out
}

/// A page up to its header.
fn begin(title: &str) -> String {
    let mut out = String::with_capacity(256 * 1024);
    put!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{THEME}</style>\n</head>\n<body>\n",
        Escaped(title),
    );
    out
}

/// What is behind the last section.
fn end(out: &mut String) {
    put!(out, "</main>\n<script>\n{HOVER}</script>\n</body>\n</html>\n");
}

/// The choice of the theme works by the style sheet alone.
const CHOICE: &str = "<fieldset class=\"theme\"><legend>Theme</legend>\
    <label><input type=\"radio\" name=\"theme\" id=\"theme-auto\" checked>auto</label>\
    <label><input type=\"radio\" name=\"theme\" id=\"theme-light\">light</label>\
    <label><input type=\"radio\" name=\"theme\" id=\"theme-dark\">dark</label></fieldset>";

const CONTENTS: &str = "<nav aria-label=\"Contents\"><a href=\"#phases\">Phases</a>\
    <a href=\"#latency\">Latency</a><a href=\"#curves\">Distribution</a>\
    <a href=\"#rates\">Rates</a><a href=\"#errors\">Errors</a>\
    <a href=\"#resources\">Resources</a><a href=\"#ledger\">Ledger</a>\
    <a href=\"#about\">Conditions</a></nav>\n";

/// The beginning of a section, with its name as the target of links.
fn section(out: &mut String, id: &str, title: &str, help: &str) {
    put!(out, "<section id=\"{id}\"><h2>{}</h2><p class=\"lead\">{}</p>\n", title, help);
}
