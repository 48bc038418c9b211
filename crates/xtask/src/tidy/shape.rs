//! The shape of files: names, first sentences, lengths, and what `lib.rs` may hold.

use super::{Finding, Report, source::Source, source::indentation};

const FILE_LINES_MAX: usize = 600;
const FILE_LINES_HINT: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Columns of a line.
pub(crate) const COLUMNS_MAX: usize = 100;

/// Names that could be of anything.
const NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "types", "manager", "managers", "stuff",
];

/// Checks one file.
pub(crate) fn check(source: &Source, report: &mut Report) {
    check_name(source, &mut report.findings);
    if !source.is_rust() {
        return;
    }
    check_first_sentence(source, &mut report.findings);
    check_columns(source, &mut report.findings);
    check_length(source, report);
    check_functions(source, &mut report.findings);
    if source.path.ends_with("/src/lib.rs") {
        check_lib(source, &mut report.findings);
    }
}

fn check_name(source: &Source, findings: &mut Vec<Finding>) {
    let parts = source.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    for name in parts.filter(|part| NAMES.contains(part)) {
        let instead = "name the noun it is about, or put each part where it is used";
        let what = format!("a name that says nothing: {name}");
        findings.push(Finding::new(&source.path, 1, what, instead));
    }
}

/// The first paragraph is a module's documentation and its first sentence ends.
fn check_first_sentence(source: &Source, findings: &mut Vec<Finding>) {
    let first = source.text.lines().map_while(|line| line.strip_prefix("//! "));
    let first = first.collect::<Vec<_>>().join(" ");
    if first.is_empty() {
        let what = "a file that says nothing about itself";
        let instead = "begin with `//! ` and one sentence saying what it is";
        findings.push(Finding::new(&source.path, 1, what, instead));
    } else if !first.ends_with('.') && !first.contains(". ") {
        let instead = "say what the file is in one sentence, with a full stop";
        findings.push(Finding::new(&source.path, 1, "a first line that is no sentence", instead));
    }
}

fn check_columns(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let instead = format!("wrap it at {COLUMNS_MAX}");
            let what = format!("a line of {columns} columns");
            findings.push(Finding::new(&source.path, index + 1, what, instead));
        }
    }
}

fn check_length(source: &Source, report: &mut Report) {
    let lines = source.line_count();
    let finding =
        |instead: &str| Finding::new(&source.path, 1, format!("a file of {lines} lines"), instead);
    if lines > FILE_LINES_MAX {
        report.findings.push(finding("split it by what owns which state"));
    } else if lines > FILE_LINES_HINT {
        report.hints.push(finding("it may be two things"));
    }
}

/// A formatted function ends at the brace below its `fn`, or where a declaration has its semicolon.
fn check_functions(source: &Source, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.code.lines().collect();
    for (index, line) in lines.iter().enumerate().filter(|(index, _)| !source.is_test(*index)) {
        let Some(name) = function_name(line) else { continue };
        let depth = indentation(line);
        let is_end = |line: &&&str| {
            let at_depth = indentation(line) == depth && !line.trim().is_empty();
            at_depth && (line.trim_end().ends_with([';', '}']))
        };
        let rest = &lines[index..];
        let end = rest.iter().position(|line| is_end(&line)).unwrap_or(0);
        if end + 1 > FUNCTION_LINES_MAX {
            let what = format!("a function of {} lines: {name}", end + 1);
            let instead = "give a step of it a name and a function";
            findings.push(Finding::new(&source.path, index + 1, what, instead));
        }
    }
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        let is_visibility = word.starts_with("pub");
        is_visibility || ["const", "async", "unsafe", "extern", "in"].contains(word)
    });
    let rest = words.next().filter(|word| *word == "fn").and_then(|_| words.next())?;
    Some(rest.split(['(', '<']).next().unwrap_or(rest))
}

/// `lib.rs` is a table of contents: every line at its left edge begins a documentation, a module, a
/// re-export or an alias.
fn check_lib(source: &Source, findings: &mut Vec<Finding>) {
    let mut in_statement = false;
    for (index, line) in source.code.lines().enumerate() {
        let is_closing = line.starts_with(['}', ')', ']']);
        let begins = indentation(line) == 0 && !line.trim().is_empty() && !is_closing;
        if begins && !in_statement && !is_listing(line) {
            let instead =
                "put it in a module of its own: lib.rs holds docs, modules and re-exports";
            findings.push(Finding::new(&source.path, index + 1, "code in lib.rs", instead));
        }
        in_statement = (in_statement || begins) && !line.trim_end().ends_with([';', '}', ']']);
    }
}

fn is_listing(line: &str) -> bool {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("pub ").unwrap_or(line);
    ["mod ", "use ", "type ", "#"].iter().any(|beginning| line.starts_with(beginning))
}
