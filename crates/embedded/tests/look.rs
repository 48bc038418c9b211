//! Looking at a directory without opening what is in it.
#![allow(clippy::unwrap_used)]

use embedded::{Engine, EngineConfig, OpenError, Standing};

#[test]
fn a_look_tells_what_opening_would_find_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = EngineConfig::new(directory.path().join("engine"));
    assert_eq!(Engine::look(&config).unwrap(), Standing::Absent);
    assert!(!config.directory.exists());

    let engine = Engine::open(config.clone(), || 0).unwrap();
    assert!(matches!(Engine::look(&config).unwrap_err(), OpenError::InUse(_)));
    engine.close().unwrap();
    assert_eq!(Engine::look(&config).unwrap(), Standing::Free);

    let other = EngineConfig { mail_partitions: 5, ..config };
    let error = Engine::look(&other).unwrap_err();
    assert!(error.to_string().contains("5 mail partitions"), "{error}");
}
