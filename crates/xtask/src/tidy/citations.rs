//! Citations: code that follows a rule of the protocol names it, as `//= protocol#send-6`.

use std::collections::BTreeMap;

use super::{Finding, source::Source};

const DOCUMENT: &str = "docs/protocol.md";

/// Checks that every cited rule exists, and that no two rules have one name.
pub(crate) fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    let mut rules = BTreeMap::new();
    let document = sources.iter().filter(|source| source.path == DOCUMENT);
    for (index, line) in document.flat_map(|source| source.text.lines().enumerate()) {
        let name = line.strip_prefix("**").and_then(|rest| rest.split_once("** "));
        let Some((name, _)) = name.filter(|(name, _)| is_rule(name)) else { continue };
        if rules.insert(name, index).is_some() {
            let what = format!("two rules are called {name}");
            findings.push(Finding::new(DOCUMENT, index + 1, what, "give one the next number"));
        }
    }
    for source in sources.iter().filter(|source| source.is_rust()) {
        for (index, line) in source.comments.lines().enumerate() {
            let Some(cited) = line.trim_start().strip_prefix("//= ") else { continue };
            let cited = cited.split([':', ' ']).next().unwrap_or(cited);
            let rule = cited.strip_prefix("protocol#");
            if rule.is_none_or(|rule| !rules.contains_key(rule)) {
                let what = format!("a citation of what is not there: {cited}");
                let instead = format!("cite a rule of {DOCUMENT}, as `//= protocol#send-6`");
                findings.push(Finding::new(&source.path, index + 1, what, instead));
            }
        }
    }
}

/// A word, a hyphen and a number.
fn is_rule(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(word, number)| {
        let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase());
        is_word && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
