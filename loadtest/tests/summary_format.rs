//! `summary.json`: its schema is published, and other versions are refused.

#![allow(clippy::unwrap_used)]

mod sample;

use std::{fs, path::Path};

use loadtest::report::summary::{Outcome, Reason, Summary, Verdict};

/// `UPDATE_GENERATED=1 cargo test -p loadtest --test summary_format` writes the file anew.
#[test]
fn the_published_schema_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/summary.schema.json");
    let schema = schemars::schema_for!(Summary);
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &fresh).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == fresh,
        "stale: run UPDATE_GENERATED=1 cargo test -p loadtest --test summary_format"
    );
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for summary in [sample::passed(1), sample::violated(2)] {
        let path = summary.write(folder.path()).unwrap();
        let read = Summary::load(folder.path()).unwrap();
        assert_eq!(read, Summary::load(&path).unwrap());
        assert_eq!(rounded(&read), rounded(&summary));
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap()).collect();
    assert_eq!(names.len(), 1, "nothing unfinished stays behind");
}

/// Fractions lose their last digit on the way through JSON, and need it for nothing.
fn rounded(summary: &Summary) -> String {
    fn round(value: &mut serde_json::Value) {
        if let Some(fraction) = value.as_f64().filter(|_| value.is_f64()) {
            *value = format!("{fraction:.9e}").into();
        } else if let Some(items) = value.as_array_mut() {
            items.iter_mut().for_each(round);
        } else if let Some(fields) = value.as_object_mut() {
            fields.values_mut().for_each(round);
        }
    }
    let mut value = serde_json::to_value(summary).unwrap();
    round(&mut value);
    value.to_string()
}

#[test]
fn another_version_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |text: &str| {
        fs::write(folder.path().join("summary.json"), text).unwrap();
        format!("{:#}", Summary::load(folder.path()).unwrap_err())
    };
    let newer = refusal(r#"{"version": 2, "run": "of another shape"}"#);
    assert!(newer.contains("version 2") && newer.contains("reads version 1"), "{newer}");
    assert!(newer.contains("summary.json"), "{newer}");
    assert!(refusal("{}").contains("no `version`"));
    assert!(refusal("not JSON").contains("not a summary of a load test"));
    let missing = format!("{:#}", Summary::load(&folder.path().join("no")).unwrap_err());
    assert!(missing.contains("folder of a finished run"), "{missing}");
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let mut summary = sample::passed(1);
    summary.intervals[0].phase = Some(9);
    let text = serde_json::to_string(&summary).unwrap();
    let error = Summary::parse(&text).unwrap_err().to_string();
    assert!(error.contains("is of phase 9, and there are 4"), "{error}");
}

#[test]
fn what_later_versions_add_is_passed_over() {
    let mut value = serde_json::to_value(sample::passed(1)).unwrap();
    value["phases"][0]["something_new"] = 1.into();
    assert!(Summary::parse(&value.to_string()).is_ok());
}

#[test]
fn the_gravest_reason_decides_and_stands_first() {
    let reason = |outcome| Reason { outcome, phase: None, text: String::new() };
    let found = Outcome::ALL.iter().map(|outcome| reason(*outcome)).collect();
    let verdict = Verdict::of(found, Vec::new());
    assert_eq!(verdict.outcome, Outcome::Violation);
    assert_eq!(verdict.reasons[0].outcome, Outcome::Violation);
    assert_eq!(Verdict::of(Vec::new(), Vec::new()).outcome, Outcome::Pass);
    let numbers: Vec<_> = Outcome::ALL.iter().map(|one| one.exit().number()).collect();
    assert_eq!(numbers, [0, 1, 4, 5, 5, 3]);
}
