//! The generated protobuf code is what the normative description says.

use std::{fs, path::Path};

/// `UPDATE_GENERATED=1 cargo test -p wire --test generated` writes the file anew.
#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile(["posthorn.proto"], [root.join("proto")]).expect("the .proto compiles");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code is generated");
    let fresh = fs::read_to_string(out.path().join("posthorn.v1.rs")).expect("generated file");
    let kept = root.join("src/generated/posthorn.v1.rs");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&kept, &fresh).expect("write the generated file");
    }
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(kept == fresh, "stale: run UPDATE_GENERATED=1 cargo test -p wire --test generated");
}
