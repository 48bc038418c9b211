//! Where the program is that serves.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The binary `posthorn`: the one given, else the one beside this program.
///
/// # Errors
/// When it is not there; the message says how to make it.
pub fn posthorn(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        let path = given.canonicalize();
        return path.with_context(|| format!("--posthorn {}: no such file", given.display()));
    }
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let found = beside(&own);
    found.with_context(|| {
        format!(
            "there is no program `posthorn` beside {}: build it by `cargo build --release -p \
             node`, or name it by --posthorn PATH",
            own.display()
        )
    })
}

/// Tests of a build are in a folder `deps` beside its programs.
fn beside(own: &Path) -> anyhow::Result<PathBuf> {
    for folder in own.ancestors().skip(1).take(2) {
        let path = folder.join("posthorn");
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("not found")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_program_is_found_beside_this_one_and_a_missing_one_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let deps = folder.path().join("deps");
        std::fs::create_dir(&deps).unwrap();
        assert!(beside(&deps.join("test")).is_err());
        let program = folder.path().join("posthorn");
        std::fs::write(&program, "").unwrap();
        assert_eq!(beside(&deps.join("test")).unwrap(), program);
        assert_eq!(beside(&folder.path().join("loadtest")).unwrap(), program);
        let missing = posthorn(Some(&folder.path().join("other"))).unwrap_err();
        assert!(missing.to_string().contains("--posthorn"), "{missing}");
    }
}
