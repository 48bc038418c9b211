//! Links of pages to files of the repository lead somewhere.

use std::path::Path;

use super::{Finding, source::Source};

/// Checks the links of one page. Links to the web are not followed.
pub(crate) fn check(root: &Path, source: &Source, findings: &mut Vec<Finding>) {
    if !source.path.ends_with(".md") {
        return;
    }
    let folder = root.join(&source.path);
    let folder = folder.parent().expect("a file is in a folder");
    for (index, line) in source.text.lines().enumerate() {
        for link in targets(line) {
            let file = link.split('#').next().unwrap_or(link);
            if !file.is_empty() && !link.contains("://") && !folder.join(file).exists() {
                let what = format!("a link that leads nowhere: {link}");
                let instead = "correct it, relative to the page";
                findings.push(Finding::new(&source.path, index + 1, what, instead));
            }
        }
    }
}

/// What stands in the parentheses of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_no_file_is_found() {
        let text = "[a](Cargo.toml) [b](none.md#part)\n[c](https://example.org/none) [d](#part)\n";
        let mut findings = Vec::new();
        check(crate::ci::root(), &Source::new("page.md", text.to_owned()), &mut findings);
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        let expected = "page.md:1: a link that leads nowhere: none.md#part: \
                        correct it, relative to the page";
        assert_eq!(lines, [expected]);
    }
}
