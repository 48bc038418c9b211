//! Which cluster a command talks to, and as whom.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{
    catalogue::Code,
    cli::ClusterArgs,
    clock::wall_clock_ms,
    development::{self, Development},
    failure::{Failure, Outcome},
    name,
};

/// Where systems keep the certificate authorities they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The device of a person when no other is named.
pub const DEVICE_DEFAULT: &str = "default";

/// Gives a token that is good now.
pub type TokenSource = Arc<dyn Fn() -> Outcome<String> + Send + Sync>;

/// A cluster, and who one is there.
#[derive(Clone)]
pub struct Place {
    /// Edges to connect to, `host:port` each; at least one.
    pub servers: Vec<String>,
    /// The name their certificates must have.
    pub server_name: String,
    /// PEM text of the authorities that may vouch for it.
    pub roots: Vec<u8>,
    /// The issuer of tokens, in whose names people are named.
    pub issuer: String,
    /// Who one is.
    pub person: String,
    /// Where tokens come from.
    pub token: TokenSource,
    /// Where the stores of this person's devices are.
    pub stores: PathBuf,
    /// The device that was named, when one was.
    pub device: Option<String>,
}

/// What is looked at in a token.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
}

impl Place {
    /// The place the arguments name.
    ///
    /// # Errors
    /// When there is no cluster, no token, or the names are none.
    pub fn find(args: &ClusterArgs) -> Outcome<Self> {
        let device = args.device.as_deref().map(name::person).transpose()?;
        match &args.token_file {
            Some(token_file) => Self::elsewhere(args, token_file, device),
            None => Self::development(args, device),
        }
    }

    /// The folder of one device.
    #[must_use]
    pub fn store(&self, device: &str) -> PathBuf {
        self.stores.join(name::to_component(device))
    }

    /// People who have devices here, by name: good enough to show a name instead of an id.
    #[must_use]
    pub fn known_people(&self) -> Vec<String> {
        let Some(Ok(people)) = self.stores.parent().map(fs::read_dir) else { return Vec::new() };
        let names = people.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name::to_component(name) == *name).collect()
    }

    fn development(args: &ClusterArgs, device: Option<String>) -> Outcome<Self> {
        let person = args.name.as_deref().ok_or_else(|| {
            Failure::new(Code::BadName, "nobody was named")
                .at("--as NAME")
                .remedy("say who you are, for example --as alice")
        })?;
        let person = name::person(person)?;
        let development = Development::find(&args.data)?;
        let servers = match &args.server[..] {
            [] => {
                let cluster = development.cluster()?;
                let edges = std::iter::once(cluster.address).chain(cluster.more);
                edges.map(|address| reachable(address).to_string()).collect()
            }
            named => named.to_vec(),
        };
        let ca = development.ca_file();
        let roots = fs::read(&ca).map_err(|error| cannot_trust(&ca, &error.to_string()))?;
        let sub = person.clone();
        Ok(Self {
            servers,
            server_name: development::SERVER_NAME.to_owned(),
            roots,
            issuer: development::ISSUER.to_owned(),
            stores: stores(&args.data, None, &person),
            person,
            token: Arc::new(move || development.mint(&sub, wall_clock_ms())),
            device,
        })
    }

    fn elsewhere(args: &ClusterArgs, token_file: &Path, device: Option<String>) -> Outcome<Self> {
        let portless = args.server.iter().find(|server| !server.contains(':'));
        if let Some(server) = portless {
            return Err(Failure::new(Code::CannotConnect, format!("`{server}` has no port"))
                .at("--server")
                .remedy("write host:port, for example chat.example:4433"));
        }
        let Some((host, _)) = args.server.first().and_then(|server| server.rsplit_once(':')) else {
            return Err(Failure::new(Code::CannotConnect, "no edge was named")
                .at("--server")
                .remedy("write host:port, for example --server chat.example:4433"));
        };
        let claims = claims(token_file, &read_token(token_file)?)?;
        if args.name.as_ref().is_some_and(|name| *name != claims.sub) {
            return Err(Failure::new(Code::BadName, "the token is for somebody else")
                .at(token_file.display().to_string())
                .remedy("leave out --as: elsewhere the token says who you are"));
        }
        let roots = match &args.ca {
            Some(path) => fs::read(path).map_err(|error| cannot_trust(path, &error.to_string()))?,
            None => system_roots()?,
        };
        let file = token_file.to_owned();
        Ok(Self {
            servers: args.server.clone(),
            server_name: host.trim_matches(['[', ']']).to_owned(),
            roots,
            stores: stores(&args.data, Some(&claims.iss), &claims.sub),
            issuer: claims.iss,
            person: claims.sub,
            token: Arc::new(move || read_token(&file)),
            device,
        })
    }
}

/// Device stores are kept apart by cluster and person.
fn stores(data: &Path, issuer: Option<&str>, person: &str) -> PathBuf {
    let clients = data.join("clients");
    let cluster = issuer.map_or(clients.clone(), |issuer| clients.join(name::to_component(issuer)));
    cluster.join(name::to_component(person))
}

/// A cluster that listens on every address is reached on this machine's own.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn read_token(path: &Path) -> Outcome<String> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(Code::TokenUnreadable, error.to_string())
            .at(path.display().to_string())
            .remedy("write a token of the identity provider into the file")
    })?;
    Ok(text.trim().to_owned())
}

/// What the token says about its bearer. The cluster checks it; here it only names things.
fn claims(path: &Path, token: &str) -> Outcome<Claims> {
    let payload = token.split('.').nth(1).filter(|_| token.split('.').count() == 3);
    let bytes = payload.and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    claims.ok_or_else(|| {
        Failure::new(Code::TokenUnreadable, "this is not a JWT with `iss` and `sub`")
            .at(path.display().to_string())
            .remedy("write the token alone into the file")
    })
}

fn system_roots() -> Outcome<Vec<u8>> {
    SYSTEM_ROOTS.iter().find_map(|path| fs::read(path).ok()).ok_or_else(|| {
        Failure::new(Code::NotTrusted, "this system keeps no certificate authorities")
            .at(SYSTEM_ROOTS.join(", "))
            .remedy("name a PEM file with the authority of the cluster: --ca FILE")
    })
}

fn cannot_trust(path: &Path, problem: &str) -> Failure {
    Failure::new(Code::CertificateUnusable, format!("the certificate authority: {problem}"))
        .at(path.display().to_string())
        .remedy("name a PEM file with --ca")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(data: &Path) -> ClusterArgs {
        ClusterArgs {
            name: Some("alice".into()),
            device: None,
            data: data.to_owned(),
            server: Vec::new(),
            ca: None,
            token_file: None,
        }
    }

    fn code(args: &ClusterArgs) -> Code {
        Place::find(args).err().unwrap().code()
    }

    #[test]
    fn a_development_cluster_is_found_by_its_folder() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(code(&args(data.path())), Code::NoDevelopmentCluster);
        let localhost = "127.0.0.1".parse().unwrap();
        let development = Development::prepare(data.path(), localhost).unwrap();
        let address = "0.0.0.0:4433".parse().unwrap();
        development
            .announce(&development::Cluster { address, more: Vec::new(), admin: None })
            .unwrap();
        let place = Place::find(&args(data.path())).unwrap();
        assert_eq!(place.servers, ["127.0.0.1:4433"]);
        assert_eq!(place.store("phone"), data.path().join("clients/alice/phone"));
        assert_eq!((place.token)().unwrap().split('.').count(), 3);
        assert_eq!(code(&ClusterArgs { name: None, ..args(data.path()) }), Code::BadName);
    }

    #[test]
    fn elsewhere_the_token_says_who_one_is() {
        let data = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = data.path().join(file);
            fs::write(&path, text).unwrap();
            path
        };
        let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://i","sub":"carol"}"#);
        let elsewhere = ClusterArgs {
            name: None,
            server: vec!["[::1]:4433".into()],
            ca: Some(write("ca.pem", "")),
            token_file: Some(write("token", &format!(" h.{payload}.s\n"))),
            ..args(data.path())
        };
        let place = Place::find(&elsewhere).unwrap();
        assert_eq!((place.issuer.as_str(), place.person.as_str()), ("https://i", "carol"));
        assert_eq!(place.server_name, "::1");
        let wrong = ClusterArgs { name: Some("bob".into()), ..elsewhere.clone() };
        assert_eq!(code(&wrong), Code::BadName);
        let wrong = ClusterArgs { token_file: Some(write("x", "no")), ..elsewhere.clone() };
        assert_eq!(code(&wrong), Code::TokenUnreadable);
        let wrong = ClusterArgs { server: vec!["host".into()], ..elsewhere };
        assert_eq!(code(&wrong), Code::CannotConnect);
    }
}
