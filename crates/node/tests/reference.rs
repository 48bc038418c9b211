//! Pages made from the program are fresh. `UPDATE_REFERENCE=1 cargo test` writes them anew.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::PathBuf};

use node::{catalogue::Code, config, exit::Exit};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn check(page: &str, text: &str) {
    let path = docs().join("reference").join(page);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/reference/{page} is old: UPDATE_REFERENCE=1 cargo test -p node");
}

#[test]
fn the_configuration_page_is_fresh() {
    check("config.md", &config::reference::page());
}

#[test]
fn the_exit_codes_page_is_fresh() {
    check("exit-codes.md", &Exit::reference());
}

#[test]
fn the_metrics_page_is_fresh() {
    check("metrics.md", &node::metrics::page());
}

#[test]
fn every_error_has_a_page_and_every_page_an_error() {
    let codes: BTreeSet<String> =
        Code::ALL.iter().map(|code| format!("{}.md", code.name())).collect();
    let pages: BTreeSet<String> = std::fs::read_dir(docs().join("errors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(codes, pages);
    assert_eq!(codes.len(), Code::ALL.len(), "a code was given twice");
}

#[test]
fn every_page_says_what_it_means_why_and_what_to_do() {
    for code in Code::ALL {
        let page = code.page();
        assert!(page.starts_with(&format!("# {code}: {}\n", code.title())), "{code}");
        for section in ["## Meaning", "## Likely causes", "## What to do"] {
            let (_, after) = page.split_once(section).unwrap_or_else(|| panic!("{code} {section}"));
            let body = after.split("\n## ").next().unwrap();
            assert!(body.trim().len() > 20, "{code}: {section} is empty");
        }
    }
}

#[test]
fn an_error_is_found_however_its_code_is_written() {
    for text in ["PH0101", "ph0101", "0101", "101", " PH101 "] {
        assert_eq!(Code::find(text), Some(Code::UnknownKey), "{text}");
    }
    for text in ["", "PH", "PH0000", "PH9999", "x101"] {
        assert_eq!(Code::find(text), None, "{text}");
    }
}
