//! The scenarios that come with the program.

use std::{fs, path::Path};

use super::{Problem, Problems, Scenario};

/// A scenario that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its name, which is also its file's.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in the order in which to try them.
        pub const ALL: &[Shipped] = &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../../scenarios/", $name, ".toml")),
        }),+];
    };
}

shipped![
    "smoke",
    "steady",
    "knee",
    "spike",
    "stall",
    "soak",
    "idle",
    "reconnect-storm",
    "offline-drain",
    "hot-group",
    "hot-user",
    "rolling-drain",
    "migrate",
    "chaos",
    "chaos-cluster",
    "hostile",
];

/// The scenario that a user means: a path, or the name of one that comes with the program. What
/// is a file is taken first.
///
/// # Errors
/// When there is none, or everything that is wrong with it.
pub fn find(name_or_path: &str) -> Result<Scenario, Problems> {
    let path = Path::new(name_or_path);
    if path.is_file() || name_or_path.contains(['/', '\\']) || name_or_path.ends_with(".toml") {
        let text = fs::read_to_string(path)
            .map_err(|error| about(name_or_path, format!("it cannot be read: {error}"), None))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        return Scenario::parse(&text, name_or_path, folder);
    }
    if let Some(shipped) = ALL.iter().find(|shipped| shipped.name == name_or_path) {
        return shipped.scenario();
    }
    let names: Vec<_> = ALL.iter().map(|shipped| shipped.name).collect();
    let help = match super::source::nearest(name_or_path, &names) {
        Some(near) => format!("Did you mean `{near}`? `loadtest scenarios` lists all of them."),
        None => format!("There are: {}.", names.join(", ")),
    };
    let what = "there is no such file, and no scenario of this name comes with the program";
    Err(about(name_or_path, what.to_owned(), Some(help)))
}

impl Shipped {
    /// It, read.
    ///
    /// # Errors
    /// Never for one of [`ALL`], which a test holds.
    pub fn scenario(self) -> Result<Scenario, Problems> {
        Scenario::parse(self.text, &format!("{}.toml", self.name), Path::new(""))
    }
}

/// Why a scenario is there: the comment at the top of its file.
#[must_use]
pub fn why(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    let lines: Vec<_> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n")
}

fn about(file: &str, what: String, help: Option<String>) -> Problems {
    let file = file.to_owned();
    Problems(vec![Problem { file, place: None, key: String::new(), what, help }])
}
