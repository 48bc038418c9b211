//! Making connections as the settings say.

use std::time::Duration;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode, cluster::ClusterClient,
    from_redis_value,
};

use crate::{
    config::{Mode, RedisConfig},
    connection::Connection,
    error::OpenError,
};

/// Times to try a command again in a cluster that is changing; all within the time of a call.
const CLUSTER_RETRIES: u32 = 3;
/// The longest time for a call.
const WITHIN_MAX: Duration = Duration::from_secs(60);

/// How to connect, checked.
pub(crate) struct Connector {
    target: Target,
    settings: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
    within: Duration,
}

enum Target {
    Single(Endpoint),
    Sentinel { nodes: Vec<Endpoint>, service: String },
    Cluster(Vec<Endpoint>, Box<ClusterClient>),
}

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A connection, and what it leads to.
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    /// The server; `None` in a cluster.
    pub(crate) server: Option<Endpoint>,
}

impl Connector {
    /// Reads the settings and the file they name.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, OpenError> {
        if config.within.is_zero() || config.within > WITHIN_MAX {
            return Err(wrong("the time for a call must be between 1 ms and 60 s", "set `within`"));
        }
        if config.prefix.is_empty() || config.prefix.contains(['{', '}']) {
            return Err(wrong("the prefix of keys is empty or has braces", "set another `prefix`"));
        }
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &config.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &config.password {
            settings = settings.set_password(password.reveal());
        }
        let certificates = certificates(config)?;
        let target = match &config.mode {
            Mode::Single(address) => Target::Single(endpoint(address)?),
            Mode::Sentinel { nodes, service } if service.is_empty() => {
                let what = format!("the {} sentinels watch no service", nodes.len());
                return Err(wrong(&what, "name the service as in `sentinel monitor`"));
            }
            Mode::Sentinel { nodes, service } => {
                Target::Sentinel { nodes: endpoints(nodes)?, service: service.clone() }
            }
            Mode::Cluster(nodes) => {
                let nodes = endpoints(nodes)?;
                let client = cluster_client(&nodes, &settings, certificates.as_ref(), config);
                let client = client.map_err(|error| wrong(&describe(&error), "check [redis]"))?;
                Target::Cluster(nodes, Box::new(client))
            }
        };
        Ok(Self { target, settings, certificates, within: config.within })
    }

    /// A connection to the server in charge, or to the cluster.
    pub(crate) async fn connect(&self) -> RedisResult<Connected> {
        let server = match &self.target {
            Target::Single(server) => server.clone(),
            Target::Sentinel { nodes, service } => self.in_charge(nodes, service).await?,
            Target::Cluster(_, client) => {
                let connection = Connection::to_cluster(client).await?;
                return Ok(Connected { connection, server: None });
            }
        };
        let connection = self.connect_to(&server).await?;
        Ok(Connected { connection, server: Some(server) })
    }

    /// A connection to one server of those configured or found.
    pub(crate) async fn connect_to(&self, server: &Endpoint) -> RedisResult<Connection> {
        self.connect_as(server, self.settings.clone()).await
    }

    /// Who is in charge now, when sentinels decide that; `None` when they do not.
    pub(crate) async fn elected(&self) -> Option<RedisResult<Endpoint>> {
        match &self.target {
            Target::Sentinel { nodes, service } => Some(self.in_charge(nodes, service).await),
            Target::Single(_) | Target::Cluster(..) => None,
        }
    }

    /// What is configured: one server, the sentinels, or some of the cluster.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        match &self.target {
            Target::Single(server) => std::slice::from_ref(server),
            Target::Sentinel { nodes, .. } | Target::Cluster(nodes, _) => nodes,
        }
    }

    /// Asks one sentinel who is in charge.
    pub(crate) async fn ask_sentinel(
        &self,
        node: &Endpoint,
        service: &str,
    ) -> RedisResult<Endpoint> {
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let mut sentinel = self.connect_as(node, settings).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(service);
        let found = sentinel.ask(command).await?;
        let Some((host, port)) = from_redis_value::<Option<(String, u16)>>(found)? else {
            let what = "the sentinel does not know the service";
            return Err((ErrorKind::MasterNameNotFoundBySentinel, what).into());
        };
        Ok(Endpoint { host, port })
    }

    async fn in_charge(&self, nodes: &[Endpoint], service: &str) -> RedisResult<Endpoint> {
        let mut failure = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel"));
        for node in nodes {
            match self.ask_sentinel(node, service).await {
                Ok(server) => return Ok(server),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_as(
        &self,
        server: &Endpoint,
        settings: RedisConnectionInfo,
    ) -> RedisResult<Connection> {
        let info = info(server, settings, self.certificates.is_some())?;
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        Connection::to_server(&client, self.within).await
    }
}

/// What an error says, without anything a client sent.
pub(crate) fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

fn wrong(what: &str, remedy: &str) -> OpenError {
    OpenError { what: what.to_owned(), remedy: remedy.to_owned() }
}

fn certificates(config: &RedisConfig) -> Result<Option<TlsCertificates>, OpenError> {
    if !config.is_tls() {
        return Ok(None);
    }
    // The client takes the program's cryptography; a program that chose another keeps it.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let Some(file) = &config.ca_file else {
        return Ok(Some(TlsCertificates { client_tls: None, root_cert: None }));
    };
    let root_cert = std::fs::read(file).map_err(|error| {
        wrong(&format!("{}: {error}", file.display()), "name a readable file of certificates")
    })?;
    if !root_cert.windows(11).any(|text| text == b"-----BEGIN ") {
        let what = format!("{} holds no certificates", file.display());
        return Err(wrong(&what, "name a file of certificates in PEM"));
    }
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) }))
}

fn cluster_client(
    nodes: &[Endpoint],
    settings: &RedisConnectionInfo,
    certificates: Option<&TlsCertificates>,
    config: &RedisConfig,
) -> RedisResult<ClusterClient> {
    let infos = nodes.iter().map(|node| info(node, settings.clone(), certificates.is_some()));
    let infos: Vec<ConnectionInfo> = infos.collect::<RedisResult<_>>()?;
    let mut builder = ClusterClient::builder(infos)
        .use_protocol(ProtocolVersion::RESP3)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(10)
        .max_retry_wait(200)
        .connection_timeout(config.within)
        .response_timeout(config.within)
        .overall_response_timeout(Some(config.within));
    if let Some(certificates) = certificates {
        builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
    }
    builder.build()
}

fn info(
    server: &Endpoint,
    settings: RedisConnectionInfo,
    tls: bool,
) -> RedisResult<ConnectionInfo> {
    let Endpoint { host, port } = server.clone();
    let address = if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    Ok(address.into_connection_info()?.set_redis_settings(settings))
}

fn endpoints(addresses: &[String]) -> Result<Vec<Endpoint>, OpenError> {
    if addresses.is_empty() {
        return Err(wrong("no server is named", "name at least one, as host:port"));
    }
    addresses.iter().map(|address| endpoint(address)).collect()
}

fn endpoint(address: &str) -> Result<Endpoint, OpenError> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| {
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Endpoint { host: host.to_owned(), port })
    });
    parsed.ok_or_else(|| {
        wrong(&format!("`{address}` is no address of a server"), "write it as host:port")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Password;

    fn refused(config: &RedisConfig) -> String {
        match Connector::new(config) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.what,
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        let parse = |address| endpoint(address).map(|found| (found.host, found.port)).ok();
        assert_eq!(parse("redis:6379"), Some(("redis".into(), 6379)));
        assert_eq!(parse("[::1]:6379"), Some(("::1".into(), 6379)));
        for wrong in ["redis", "redis:", ":6379", "redis:0", "redis:65536", "[::1:6379"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused() {
        let config = RedisConfig::new(Mode::Single("redis:6379".into()));
        assert_eq!(refused(&config), "taken");
        let none = RedisConfig::new(Mode::Cluster(Vec::new()));
        assert_eq!(refused(&none), "no server is named");
        let nodes = vec!["redis:26379".to_owned()];
        let unnamed = RedisConfig::new(Mode::Sentinel { nodes, service: String::new() });
        assert_eq!(refused(&unnamed), "the 1 sentinels watch no service");
        let braces = RedisConfig { prefix: "a{b}".into(), ..config.clone() };
        assert_eq!(refused(&braces), "the prefix of keys is empty or has braces");
        let never = RedisConfig { within: Duration::ZERO, ..config.clone() };
        assert_eq!(refused(&never), "the time for a call must be between 1 ms and 60 s");
        let no_file = RedisConfig { ca_file: Some("/nowhere/ca.pem".into()), ..config };
        assert!(refused(&no_file).starts_with("/nowhere/ca.pem: "));
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut config = RedisConfig::new(Mode::Single("redis:6379".into()));
        config.password = Some(Password::new("secret"));
        assert!(!format!("{config:?}").contains("secret"));
    }
}
