//! Where settings come from: the file, then variables, then flags; the last one wins.

use std::{fmt, path::Path};

use toml::de::{DeTable, DeValue};

use crate::{
    catalogue::Code,
    config::{Config, section::Setting},
    failure::{Failure, Outcome},
};

/// Variables that begin with this are settings.
const VARIABLE_PREFIX: &str = "POSTHORN__";

/// The sources of settings, weakest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The file: its path, for messages, and its text.
    pub file: Option<(&'a Path, &'a str)>,
    /// Environment variables; those without the prefix are ignored.
    pub variables: &'a [(String, String)],
    /// `--set section.key=value`.
    pub flags: &'a [String],
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file, at a line.
    File(String, usize),
    /// In an environment variable.
    Variable(String),
    /// In a flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line) => write!(f, "{file}, line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag --set {flag}"),
        }
    }
}

/// A value that was given.
struct Given {
    path: String,
    text: String,
    origin: Origin,
}

/// A configuration and where what is not default in it came from: path and origin.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every setting that was given, in the order given.
    pub given: Vec<(String, Origin)>,
}

/// Reads all sources into one configuration.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(sources: Sources<'_>) -> Outcome<Loaded> {
    let mut given = Vec::new();
    if let Some((path, text)) = sources.file {
        read_file(path, text, &mut given)?;
    }
    read_variables(sources.variables, &mut given);
    for flag in sources.flags {
        read_flag(flag, &mut given)?;
    }
    let mut config = Config::default();
    let known = config.settings();
    let mut origins = Vec::new();
    for one in given {
        let setting = apply(&mut config, &known, &one)?;
        origins.push((setting, one.origin));
    }
    Ok(Loaded { config, given: origins })
}

fn read_file(path: &Path, text: &str, given: &mut Vec<Given>) -> Outcome {
    let file = path.display().to_string();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Failure::new(Code::ConfigSyntax, error.message().to_owned())
            .at(format!("{file}, line {line}"))
            .remedy("mend the line; texts, durations, sizes and addresses need quotes")
    })?;
    read_table(&file, text, "", table.get_ref(), given)
}

fn read_table(
    file: &str,
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    given: &mut Vec<Given>,
) -> Outcome {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        let origin = Origin::File(file.to_owned(), line_of(text, key.span().start));
        let single = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        let text_of = match value.get_ref() {
            DeValue::Table(inner) => {
                read_table(file, text, &format!("{path}."), inner, given)?;
                continue;
            }
            DeValue::Array(list) => list
                .iter()
                .map(|one| single(one.get_ref()))
                .collect::<Option<Vec<_>>>()
                .map(|list| list.join(",")),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => single(value.get_ref()),
        };
        let text_of = text_of.ok_or_else(|| {
            Failure::new(
                Code::BadValue,
                format!("the value of `{path}` is of a kind no setting has"),
            )
            .at(origin.to_string())
            .remedy("write a text, a number, true or false, or a list of these")
        })?;
        given.push(Given { path, text: text_of, origin });
    }
    Ok(())
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

fn read_variables(variables: &[(String, String)], given: &mut Vec<Given>) {
    let mut ours: Vec<_> = variables
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(VARIABLE_PREFIX)?, name, text)))
        .collect();
    ours.sort();
    for (key, name, text) in ours {
        given.push(Given {
            path: key.to_ascii_lowercase().replace("__", "."),
            text: text.clone(),
            origin: Origin::Variable(name.clone()),
        });
    }
}

fn read_flag(flag: &str, given: &mut Vec<Given>) -> Outcome {
    let (path, text) = flag.split_once('=').ok_or_else(|| {
        Failure::new(Code::BadValue, "a setting is written section.key=value")
            .at(Origin::Flag(flag.to_owned()).to_string())
            .remedy("for example: --set edge.listen=127.0.0.1:4433")
    })?;
    given.push(Given {
        path: path.trim().to_owned(),
        text: text.to_owned(),
        origin: Origin::Flag(path.trim().to_owned()),
    });
    Ok(())
}

/// Sets one value; gives the path of the setting.
fn apply(config: &mut Config, known: &[Setting], one: &Given) -> Outcome<String> {
    if let Some(setting) = known.iter().find(|setting| setting.path() == one.path) {
        set(config, setting, &one.text, &one.origin)?;
        return Ok(one.path.clone());
    }
    let secret = one
        .path
        .strip_suffix("_file")
        .and_then(|path| known.iter().find(|setting| setting.is_secret && setting.path() == path));
    let Some(setting) = secret else { return Err(unknown(known, one)) };
    let text = std::fs::read_to_string(&one.text).map_err(|error| {
        Failure::new(Code::SecretUnreadable, format!("{}: {error}", one.text))
            .at(one.origin.to_string())
            .remedy("check path, owner and mode of the file")
    })?;
    set(config, setting, text.trim_end(), &one.origin)?;
    Ok(setting.path())
}

fn set(config: &mut Config, setting: &Setting, text: &str, origin: &Origin) -> Outcome {
    config.set(setting.section, setting.key, text).map_err(|_| {
        let shown = if setting.is_secret { "its value".to_owned() } else { format!("`{text}`") };
        Failure::new(Code::BadValue, format!("{shown} is not valid for `{}`", setting.path()))
            .at(origin.to_string())
            .remedy(format!("write {}", setting.expected))
    })
}

fn unknown(known: &[Setting], one: &Given) -> Failure {
    let paths = known.iter().flat_map(|setting| {
        let file = setting.is_secret.then(|| format!("{}_file", setting.path()));
        std::iter::once(setting.path()).chain(file)
    });
    let nearest = paths
        .map(|path| (closeness(&path, &one.path), path))
        .filter(|(closeness, _)| *closeness > 0.65)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let failure = Failure::new(Code::UnknownKey, format!("there is no setting `{}`", one.path))
        .at(one.origin.to_string());
    match nearest {
        Some((_, path)) => failure.remedy(format!("did you mean `{path}`?")),
        None => failure.remedy("`posthorn config default` shows every setting there is"),
    }
}

/// How near two paths are: as a whole, or by their keys when the section is another one.
fn closeness(known: &str, given: &str) -> f64 {
    fn key(path: &str) -> &str {
        path.rsplit_once('.').map_or(path, |(_, key)| key)
    }
    let whole = strsim::normalized_damerau_levenshtein(known, given);
    let keys = strsim::normalized_damerau_levenshtein(key(known), key(given));
    f64::max(whole, keys * 0.95)
}
