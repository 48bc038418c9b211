//! Every frame and every stored record has bytes that never change: the files in `vectors/v1`.
//!
//! A file is written once, by `UPDATE_VECTORS=1 cargo test -p wire --test vectors`, and only when
//! it is missing: nobody edits one. A change of the format that needs another file needs another
//! folder.

#![allow(clippy::unwrap_used)]

mod cases;
mod sample;

use std::{collections::BTreeSet, fs, path::PathBuf};

use bytes::Bytes;
use cases::{Case, cases};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn may_update() -> bool {
    std::env::var_os("UPDATE_VECTORS").is_some()
}

fn index(cases: &[Case]) -> String {
    let mut index = String::from(
        "# Golden vectors\n\n\
         The bytes of every frame and every stored record, one file each. Files are added, never \
         edited or removed.\nA frame is kept with its length in front, as a stream carries it; a \
         stored record with its format byte in front;\nan item or an entity is the message alone. \
         `tests/cases` has the values.\n\n\
         | file | what it is | bytes |\n|---|---|---|\n",
    );
    for case in cases {
        let row = format!("| `v1/{}.bin` | {} | {} |\n", case.name, case.what, case.bytes.len());
        index.push_str(&row);
    }
    index
}

#[test]
fn every_vector_decodes_to_its_value_and_the_value_encodes_to_it() {
    for case in cases() {
        let path = folder().join("v1").join(format!("{}.bin", case.name));
        if may_update() && !path.exists() {
            fs::write(&path, &case.bytes).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(kept == case.bytes, "{}: the value has other bytes than the file", case.name);
        (case.check)(Bytes::from(kept));
    }
}

#[test]
fn every_file_has_a_value() {
    let names = fs::read_dir(folder().join("v1")).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".bin").expect("only vectors are here").to_owned()
    });
    let kept: BTreeSet<String> = names.collect();
    let known: BTreeSet<String> = cases().iter().map(|case| case.name.clone()).collect();
    assert_eq!(known.len(), cases().len(), "two vectors have one name");
    assert_eq!(kept.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_index_says_what_each_file_is() {
    let path = folder().join("README.md");
    let fresh = index(&cases());
    if may_update() {
        fs::write(&path, &fresh).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == fresh, "stale: run UPDATE_VECTORS=1 cargo test -p wire --test vectors");
}

/// The names of the alternatives of the only oneof of a message.
fn alternatives(message: &str) -> Vec<String> {
    let proto = include_str!("../proto/posthorn.proto");
    let begin = proto.find(&format!("\nmessage {message} {{")).expect("the message exists");
    let body = proto[begin..].split("\n}").next().unwrap();
    let (_, oneof) = body.split_once("  oneof ").expect("it has a oneof");
    let fields = oneof.lines().skip(1).take_while(|line| line.trim() != "}");
    let name = |line: &str| line.trim().split_once(" = ").map(|(field, _)| field.to_owned());
    let names = fields.filter_map(name);
    names.map(|field| field.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn every_alternative_of_every_frame_has_a_vector() {
    let known: Vec<String> = cases().into_iter().map(|case| case.name).collect();
    let groups = [
        ("ClientFrame", "client_"),
        ("ServerFrame", "server_"),
        ("DeliveryFrame", "delivery_"),
        ("Item", "item_"),
        ("GroupChange", "item_group_change_"),
        ("DeviceChange", "item_device_change_"),
        ("Query", "client_query_"),
        ("Answer", "server_answer_"),
        ("ControlRecord", "control_record_"),
    ];
    for (message, prefix) in groups {
        let alternatives = alternatives(message);
        assert!(!alternatives.is_empty());
        for alternative in alternatives {
            let name = format!("{prefix}{alternative}");
            let has = known.iter().any(|known| known.starts_with(&name));
            assert!(has, "no vector is called {name}, an alternative of {message}");
        }
    }
}
