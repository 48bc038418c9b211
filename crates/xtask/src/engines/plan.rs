//! What the modules of the engines are given to lay out their members.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    certificates::Certificates,
    machine::Block,
    progress::Progress,
    state::{Kind, Member, Wanted},
};

/// The user of every secured listener but Cassandra's and Redis's.
pub(crate) const USER: &str = "posthorn";
/// The password of every secured listener but Cassandra's; also of the key store.
pub(crate) const PASSWORD: &str = "posthorn-secret";

/// Where and how engines are laid out.
pub(crate) struct Plan {
    /// The folder of the state, absolute.
    pub(crate) dir: PathBuf,
    /// What was asked for.
    pub(crate) wanted: Wanted,
    /// The addresses.
    pub(crate) block: Block,
    /// The Java to run.
    pub(crate) java: PathBuf,
    /// When secured.
    pub(crate) certificates: Option<Certificates>,
    /// What a person sees.
    pub(crate) progress: Progress,
}

impl Plan {
    /// The folder of a member's data, made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn data(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join("data").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// Writes a configuration file and says where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.join("conf").join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// A member that was not started yet.
    pub(crate) fn member(
        &self,
        name: &str,
        kind: Kind,
        addresses: &[(&str, String)],
        command: Vec<String>,
    ) -> Member {
        let pair = |(key, value): &(&str, String)| ((*key).to_owned(), value.clone());
        Member {
            name: name.to_owned(),
            kind,
            addresses: addresses.iter().map(pair).collect::<BTreeMap<_, _>>(),
            command,
            log: self.dir.join("logs").join(format!("{name}.log")),
            process: None,
        }
    }
}

/// A template with its `@NAME@`s filled in.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let fill =
        |text: String, (name, value): &(&str, &str)| text.replace(&format!("@{name}@"), value);
    values.iter().fold(template.to_owned(), fill)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_wherever_a_name_stands() {
        assert_eq!(fill("a=@A@\nb=@B@,@A@\n", &[("A", "1"), ("B", "2")]), "a=1\nb=2,1\n");
    }
}
