//! Imports in three groups: the standard library, crates from outside, ours.

use super::{
    Finding,
    metadata::Metadata,
    source::{Source, indentation},
};

/// The group an import belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Standard,
    Outside,
    Ours,
}

/// Checks the imports at the left edge of one file.
pub(crate) fn check(source: &Source, metadata: &Metadata, findings: &mut Vec<Finding>) {
    if !source.is_rust() {
        return;
    }
    let mut before: Option<Group> = None;
    let mut in_import = false;
    let mut is_after_gap = false;
    for (index, line) in source.code.lines().enumerate() {
        let path = line.strip_prefix("use ").filter(|_| indentation(line) == 0);
        if let Some(path) = path {
            let group = group_of(path, metadata, before, is_after_gap);
            if before.is_some_and(|before| group < before) {
                let what = "an import after those of a later group";
                let instead = "order them: std, crates from outside, ours";
                findings.push(Finding::new(&source.path, index + 1, what, instead));
            }
            if before.is_some_and(|before| group != before) && !is_after_gap {
                let what = "two groups of imports without a line between";
                findings.push(Finding::new(
                    &source.path,
                    index + 1,
                    what,
                    "put an empty line here",
                ));
            }
            before = Some(group);
            in_import = true;
        } else if !in_import && !line.trim().is_empty() {
            // Something else than an import ends the list; a later one is another list.
            before = None;
        }
        is_after_gap = line.trim().is_empty();
        in_import = in_import && !line.contains(';');
    }
}

/// Crates of the workspace stand with those from outside or with ours, as the file likes.
fn group_of(path: &str, metadata: &Metadata, before: Option<Group>, is_after_gap: bool) -> Group {
    let root = path.split([':', ';', '{', ' ']).next().unwrap_or(path);
    let is_of_workspace = metadata.crates.iter().any(|known| known.name.replace('-', "_") == root);
    match root {
        "std" | "core" | "alloc" => Group::Standard,
        "crate" | "super" | "self" => Group::Ours,
        _ if is_of_workspace => match before {
            Some(Group::Standard) | None => Group::Outside,
            Some(Group::Outside) if is_after_gap => Group::Ours,
            Some(group @ (Group::Outside | Group::Ours)) => group,
        },
        _ => Group::Outside,
    }
}
