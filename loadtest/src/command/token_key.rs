//! `loadtest token-key`: a key that stands in for an identity provider.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    cluster::{Identity, TokenKey},
    exit::Exit,
};

/// The file with the private key.
const KEY_FILE: &str = "token.key";
/// The file with the public half.
const SET_FILE: &str = "jwks.json";

/// Arguments of `loadtest token-key`.
#[derive(Debug, Args)]
pub(crate) struct TokenKeyArgs {
    #[command(subcommand)]
    command: TokenKeyCommand,
}

#[derive(Debug, Subcommand)]
enum TokenKeyCommand {
    /// Makes a key, its public set, and the lines that let a cluster believe its tokens
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Folder for both; made when it is not there
    dir: PathBuf,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// What tokens say besides who the bearer is; for every command that makes tokens.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdentityArgs {
    /// `iss` of the tokens
    #[arg(long, value_name = "URL", default_value_t = Identity::default().issuer)]
    jwt_issuer: String,
    /// `aud` of the tokens
    #[arg(long, value_name = "NAME", default_value_t = Identity::default().audience)]
    jwt_audience: String,
    /// `kid` of the tokens: which key of the cluster's set they are signed with
    #[arg(long, value_name = "NAME", default_value_t = Identity::default().key_id)]
    jwt_kid: String,
}

impl IdentityArgs {
    /// As it was asked for.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            key_id: self.jwt_kid.clone(),
        }
    }
}

/// Makes a key.
///
/// # Errors
/// When there is one already, or a file cannot be written.
pub(crate) fn run(args: &TokenKeyArgs) -> anyhow::Result<Exit> {
    match &args.command {
        TokenKeyCommand::New(args) => {
            let said = new(&args.dir, &args.identity.identity())?;
            print!("{said}");
            Ok(Exit::Pass)
        }
    }
}

/// What to do with the key that was made.
fn new(dir: &Path, identity: &Identity) -> anyhow::Result<String> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let (key_file, set_file) = (dir.join(KEY_FILE), dir.join(SET_FILE));
    let key = TokenKey::generate()?;
    write_new(&key_file, 0o600, &key.to_pem()?)?;
    write_new(&set_file, 0o644, &format!("{:#}\n", key.to_jwks(&identity.key_id)?))?;
    let Identity { issuer, audience, key_id } = identity;
    let default = Identity::default();
    let given = [
        ("--jwt-issuer", issuer, &default.issuer),
        ("--jwt-audience", audience, &default.audience),
        ("--jwt-kid", key_id, &default.key_id),
    ];
    let given = given.iter().filter(|(_, value, default)| value != default);
    let options: String = given.map(|(flag, value, _)| format!(" {flag} {value}")).collect();
    Ok(format!(
        "# The private key is {key}. Whoever has it is everybody: for clusters under test only.\n\
         # Tokens of it open a cluster configured with\n\
         [identity]\n\
         issuer = {issuer:?}\n\
         audience = {audience:?}\n\
         jwks = {set:?}\n\
         # Drive that cluster by\n\
         #   loadtest run SCENARIO --target HOST:PORT --ca CA.pem --jwt-key {key}{options}\n",
        key = key_file.display(),
        set = set_file.display(),
    ))
}

/// Never over a key that is there: a cluster may believe it.
fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("make {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_printed_lines_are_configuration_and_a_key_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { issuer: "https://load.test".into(), ..Identity::default() };
        let said = new(folder.path(), &identity).unwrap();
        let section: toml::Table = toml::from_str(&said).unwrap();
        assert_eq!(section["identity"]["issuer"].as_str(), Some("https://load.test"));
        assert!(Path::new(section["identity"]["jwks"].as_str().unwrap()).is_file());
        assert!(said.contains("--jwt-issuer https://load.test"), "{said}");
        TokenKey::read(&folder.path().join(KEY_FILE)).unwrap();
        let before = fs::read(folder.path().join(KEY_FILE)).unwrap();
        assert!(new(folder.path(), &identity).is_err());
        assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), before);
    }
}
