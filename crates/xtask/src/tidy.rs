//! What no compiler checks: the arrows between crates, the shape of files, words that break a rule.
//!
//! Each check reads text; none needs the workspace to compile. A rule that code must break says so
//! in the list of exceptions beside the rule, with its reason.

mod arrows;
mod citations;
mod imports;
mod links;
mod metadata;
mod shape;
mod source;
mod words;

use std::{fmt, fs, path::Path};

use anyhow::Context as _;

use self::{metadata::Metadata, source::Source};
pub(crate) use self::{
    metadata::{Bench, Workspace},
    shape::COLUMNS_MAX,
};

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
    instead: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into(), instead: instead.into() }
    }
}

/// `path:line: what: what to do`, which editors turn into a link.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.what, self.instead)
    }
}

/// What the checks say about a repository.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Files looked at.
    pub(crate) file_count: usize,
    /// What must change.
    pub(crate) findings: Vec<Finding>,
    /// What may change.
    pub(crate) hints: Vec<Finding>,
}

/// Runs every check on the repository at `root`.
///
/// # Errors
/// When a file or the description of the workspace cannot be read.
pub(crate) fn check(root: &Path) -> anyhow::Result<Report> {
    let metadata = Metadata::read(root)?;
    let sources = read_sources(root)?;
    let mut report = Report { file_count: sources.len(), ..Report::default() };
    arrows::check(&metadata, &mut report.findings);
    metadata::check_unused(&metadata, &sources, &mut report.findings);
    metadata::check_lints(&metadata, &mut report.findings);
    citations::check(&sources, &mut report.findings);
    for source in &sources {
        shape::check(source, &mut report);
        words::check(source, &mut report.findings);
        imports::check(source, &metadata, &mut report.findings);
        links::check(root, source, &mut report.findings);
    }
    report.findings.sort();
    report.findings.dedup();
    Ok(report)
}

/// Every `[[bench]]` of the workspace.
///
/// # Errors
/// When the description of the workspace cannot be read.
pub(crate) fn benches(root: &Path) -> anyhow::Result<Vec<Bench>> {
    Ok(Metadata::read(root)?.benches)
}

/// Crates and their tests that need engines.
///
/// # Errors
/// When the description of the workspace cannot be read.
pub(crate) fn workspace(root: &Path) -> anyhow::Result<Workspace> {
    Ok(Metadata::read(root)?.workspace)
}

/// Every file of Rust that people write: its path and its text.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn rust_files(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let sources = read_sources(root)?.into_iter().filter(Source::is_rust);
    Ok(sources.map(|source| (source.path, source.text)).collect())
}

/// Every text file that people of the project write, in the order of their paths.
fn read_sources(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_ours = !name.starts_with('.') && !["target", "posthorn-data"].contains(&&*name);
            if is_ours && path.is_dir() {
                folders.push(path);
            } else if is_ours && source::is_checked(&name) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("read {}", path.display()))?;
                let relative = path.strip_prefix(root).expect("the walk began at the root");
                sources.push(Source::new(&relative.to_string_lossy(), text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Findings in one file, without their path, one a line.
    fn findings(path: &str, text: &str) -> String {
        let source = Source::new(path, text.to_owned());
        let metadata = Metadata::default();
        let mut report = Report::default();
        shape::check(&source, &mut report);
        words::check(&source, &mut report.findings);
        imports::check(&source, &metadata, &mut report.findings);
        report.findings.sort();
        let lines = report.findings.iter().map(|found| format!("{}: {}", found.line, found.what));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn this_repository_is_tidy() {
        let report = check(crate::ci::root()).unwrap();
        let lines: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "cargo xtask tidy says:\n{}", lines.join("\n"));
    }

    #[test]
    fn a_finding_reads_as_path_line_what_and_what_to_do() {
        let finding = Finding::new("crates/edge/src/a.rs", 7, "a bare spawn", "use a JoinSet");
        assert_eq!(finding.to_string(), "crates/edge/src/a.rs:7: a bare spawn: use a JoinSet");
    }

    #[test]
    fn words_in_comments_and_strings_break_no_rule_of_code() {
        let text = "//! Nothing.\n\n// unbounded_channel()\nconst A: &str = \"tokio::spawn(\";\n\
                    const B: &str = r#\"unbounded_channel\"#;\nconst C: char = '\"';\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "");
    }

    #[test]
    fn code_that_breaks_a_rule_is_found_at_its_line() {
        let text = "//! Nothing.\n\nfn a() {\n    tokio::spawn(async {});\n    \
                    let (a, b) = mpsc::unbounded_channel();\n}\n";
        assert_eq!(
            findings("crates/edge/src/a.rs", text),
            "4: a task without an owner\n5: an unbounded channel"
        );
    }

    #[test]
    fn a_file_has_a_first_sentence_and_a_name_that_says_something() {
        assert_eq!(
            findings("crates/edge/src/utils.rs", "fn a() {}\n"),
            "1: a file that says nothing about itself\n1: a name that says nothing: utils"
        );
        assert_eq!(
            findings("crates/edge/src/a.rs", "//! Half a\n//! line\n"),
            "1: a first line that is no sentence"
        );
    }

    #[test]
    fn a_long_function_a_long_line_and_a_long_file_are_found() {
        let body = "    let a = 1;\n".repeat(69);
        let short = "    let a = 1;\n".repeat(68);
        let text = format!("//! Nothing.\n\nfn fits() {{\n{short}}}\n");
        assert_eq!(findings("crates/edge/src/a.rs", &text), "");
        let text = format!("//! Nothing.\n\nfn long(\n) {{\n{body}}}\n");
        assert_eq!(findings("crates/edge/src/a.rs", &text), "3: a function of 72 lines: long");
        let text = format!("//! Nothing.\n\n// {}\n", "x".repeat(98));
        assert_eq!(findings("crates/edge/src/a.rs", &text), "3: a line of 101 columns");
        let text = format!("//! Nothing.\n{}", "\n".repeat(600));
        assert_eq!(findings("crates/edge/src/a.rs", &text), "1: a file of 601 lines");
        let text = format!("//! Nothing.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(600));
        assert_eq!(findings("crates/edge/src/a.rs", &text), "");
    }

    #[test]
    fn lib_rs_holds_only_docs_modules_and_names() {
        let text = "//! Nothing.\n\n#[cfg(test)]\nmod a;\npub use a::{\n    B,\n};\n/// A number.\n\
                    pub type C = u8;\nmod d {\n    fn e() {}\n}\n";
        assert_eq!(findings("crates/edge/src/lib.rs", text), "");
        let text = "//! Nothing.\n\npub struct A;\n";
        assert_eq!(findings("crates/edge/src/lib.rs", text), "3: code in lib.rs");
    }

    #[test]
    fn clocks_are_read_where_the_program_is_put_together_and_nowhere_else() {
        let text =
            "//! Nothing.\n\nuse std::{\n    sync::Arc,\n    time::{Duration, Instant},\n};\n";
        assert_eq!(findings("crates/session/src/a.rs", text), "3: a clock of the machine");
        assert_eq!(findings("crates/node/src/a.rs", text), "");
        let text = "//! Nothing.\n\nuse tokio::time::Instant;\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "");
    }

    #[test]
    fn a_rule_of_the_protocol_that_code_cites_exists_once() {
        let sources = [
            Source::new(
                "docs/protocol.md",
                "**send-1** Text.\n\n**send-2** A.\n**send-2** B.\n".into(),
            ),
            Source::new(
                "crates/edge/src/a.rs",
                "//= protocol#send-1\n//= protocol#send-9\n//= 2.4\n".into(),
            ),
        ];
        let mut findings = Vec::new();
        citations::check(&sources, &mut findings);
        let lines: Vec<_> =
            findings.iter().map(|found| format!("{}: {}", found.line, found.what)).collect();
        let expected = [
            "4: two rules are called send-2",
            "2: a citation of what is not there: protocol#send-9",
            "3: a citation of what is not there: 2.4",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn tests_do_not_sleep() {
        let text = "//! Nothing.\n\nasync fn a() {\n    tokio::time::sleep(D).await;\n}\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "");
        assert_eq!(findings("crates/edge/tests/a.rs", text), "4: a sleep in a test");
        let text = "//! Nothing.\n\n#[cfg(test)]\nmod tests {\n    fn a() {\n        \
                    std::thread::sleep(D);\n    }\n}\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "6: a sleep in a test");
    }

    #[test]
    fn imports_come_in_three_groups() {
        let text = "//! Nothing.\n\nuse std::fmt;\n\nuse bytes::Bytes;\n\nuse crate::a;\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "");
        let text = "//! Nothing.\n\nuse bytes::Bytes;\n\nuse std::fmt;\nuse crate::a;\n";
        assert_eq!(
            findings("crates/edge/src/a.rs", text),
            "5: an import after those of a later group\n\
             6: two groups of imports without a line between"
        );
    }

    #[test]
    fn the_edge_stores_no_rows_and_the_session_knows_no_socket() {
        let text = "//! Nothing.\n\nfn a() {\n    engines.mailbox.append(batch);\n}\n";
        assert_eq!(findings("crates/edge/src/a.rs", text), "4: an edge that writes to a mailbox");
        assert_eq!(findings("crates/worker/src/a.rs", text), "");
        let text = "//! Nothing.\n\nuse std::net::SocketAddr;\n";
        assert_eq!(
            findings("crates/session/src/a.rs", text),
            "3: a socket, a file or a thread in the session"
        );
    }
}
