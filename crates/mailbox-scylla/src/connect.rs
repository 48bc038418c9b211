//! From the configuration to a session.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use scylla::{
    client::{
        execution_profile::{ExecutionProfile, ExecutionProfileHandle},
        session::Session,
        session_builder::SessionBuilder,
    },
    errors::{
        ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind as Setup, DbError,
        MetadataError, NewSessionError, TranslationError,
    },
    policies::{
        address_translator::{AddressTranslator, UntranslatedPeer},
        load_balancing::DefaultPolicy,
        retry::FallthroughRetryPolicy,
        speculative_execution::SimpleSpeculativeExecutionPolicy,
    },
    statement::Consistency,
};

use crate::{CqlConfig, OpenError, failure::could_not_look, requests::attempt_within, tls};

/// Connecting ends within this.
const CONNECTED_WITHIN: Duration = Duration::from_secs(9);

/// One connection is made within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A read that no node answered within this is asked of another one too, and of a third.
const READ_SPECULATES_AFTER: Duration = Duration::from_millis(100);

/// Likewise a write: it carries its timestamp and may be done twice. Rather late, since a write
/// costs every copy; it is meant for a node that stands still, not for a slow one.
const WRITE_SPECULATES_AFTER: Duration = Duration::from_millis(300);

/// How reads and how writes are done.
#[derive(Clone)]
pub(crate) struct Profiles {
    pub(crate) read: ExecutionProfileHandle,
    pub(crate) write: ExecutionProfileHandle,
}

/// Connects.
///
/// # Errors
/// [`OpenError`], within [`CONNECTED_WITHIN`].
///
/// # Cancel safety
/// Nothing stays behind.
pub(crate) async fn connect(config: &CqlConfig) -> Result<Session, OpenError> {
    check_keyspace_name(&config.keyspace)?;
    if config.nodes.is_empty() {
        return Err(OpenError::refused("no node is named", "name some of the database's nodes"));
    }
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .connection_timeout(CONNECT_WITHIN)
        .keyspaces_to_fetch([&config.keyspace])
        .default_execution_profile_handle(profile(config, CONNECTED_WITHIN, None));
    if let Some((user, password)) = &config.user {
        builder = builder.user(user, password.reveal());
    }
    if config.tls || config.ca_file.is_some() {
        builder = builder.tls_context(Some(tls::client(config.ca_file.as_deref())?));
    }
    if !config.translate.is_empty() {
        let translate = Translate(config.translate.clone());
        builder = builder.address_translator(Arc::new(translate));
    }
    match tokio::time::timeout(CONNECTED_WITHIN, builder.build()).await {
        Ok(Ok(session)) => {
            check_datacenter(config, &session)?;
            Ok(session)
        }
        Ok(Err(error)) => Err(of_new_session(config, &error)),
        Err(_late) => {
            let nodes = config.nodes.join(", ");
            let seconds = CONNECTED_WITHIN.as_secs();
            Err(OpenError::Unreachable(format!("{nodes}: no answer within {seconds} s")))
        }
    }
}

impl Profiles {
    pub(crate) fn new(config: &CqlConfig) -> Self {
        let of = |within, after| profile(config, attempt_within(within), Some(after));
        Self {
            read: of(config.read_within, READ_SPECULATES_AFTER),
            write: of(config.write_within, WRITE_SPECULATES_AFTER),
        }
    }
}

/// Every request is answered by a quorum of one datacenter, and tried again by us alone: the
/// driver does not repeat a write that timed out.
fn profile(
    config: &CqlConfig,
    within: Duration,
    speculates_after: Option<Duration>,
) -> ExecutionProfileHandle {
    let mut balancing = DefaultPolicy::builder().token_aware(true).permit_dc_failover(false);
    if let Some(datacenter) = &config.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let speculation = speculates_after.map(|retry_interval| {
        Arc::new(SimpleSpeculativeExecutionPolicy { max_retry_count: 2, retry_interval }) as Arc<_>
    });
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(within))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(speculation)
        .load_balancing_policy(balancing.build())
        .build()
        .into_handle()
}

/// The name goes into statements as it is.
fn check_keyspace_name(name: &str) -> Result<(), OpenError> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins_well = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if begins_well && name.len() <= 48 && name.bytes().all(is_word) {
        return Ok(());
    }
    Err(OpenError::refused(
        format!("{name:?} is no name of a keyspace"),
        "use a lower-case letter, then at most 47 lower-case letters, digits and underscores",
    ))
}

/// A quorum is one of the coordinator's datacenter, so all coordinators must be in the same.
fn check_datacenter(config: &CqlConfig, session: &Session) -> Result<(), OpenError> {
    let found = datacenters(session);
    let list = found.join(", ");
    match &config.datacenter {
        Some(wanted) if !found.contains(wanted) => Err(OpenError::refused(
            format!("no node is in the datacenter {wanted}; there are {list}"),
            "name one of those as datacenter",
        )),
        None if found.len() > 1 => Err(OpenError::refused(
            format!("the database is in several datacenters: {list}"),
            "name the one to read and write as datacenter",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The datacenters of all nodes, in order.
pub(crate) fn datacenters(session: &Session) -> Vec<String> {
    let state = session.get_cluster_state();
    let mut found: Vec<String> =
        state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the driver may add kinds")]
fn of_new_session(config: &CqlConfig, error: &NewSessionError) -> OpenError {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken { last_connection_error },
    )) = error
    else {
        return OpenError::Unreachable(format!("{}: {error}", config.nodes.join(", ")));
    };
    match last_connection_error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            Setup::MissingAuthentication => OpenError::refused(
                "the database asks for a user and a password",
                "give the store a user and a password",
            ),
            Setup::DbError(DbError::AuthenticationError | DbError::Unauthorized, reason)
                if !could_not_look(reason) =>
            {
                OpenError::refused(
                    format!("the database does not let this user in: {reason}"),
                    "correct the user or the password",
                )
            }
            _ => unreachable_nodes(config, last_connection_error),
        },
        // What a certificate that is not trusted, or a node that does not encrypt, ends as.
        ConnectionError::IoError(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            OpenError::refused(
                format!("no encrypted connection can be made: {io}"),
                "look at ca_file, at the names in the nodes' certificates, and at their settings",
            )
        }
        _ => unreachable_nodes(config, last_connection_error),
    }
}

fn unreachable_nodes(config: &CqlConfig, error: &ConnectionError) -> OpenError {
    OpenError::Unreachable(format!("{}: {error}", config.nodes.join(", ")))
}

/// Addresses to use in place of those the nodes say; others are used as they are. A node says no
/// port: the driver takes that of the node it learnt it from.
struct Translate(HashMap<IpAddr, SocketAddr>);

impl AddressTranslator for Translate {
    fn translate_address<'a, 'b, 'c>(
        &'a self,
        peer: &'b UntranslatedPeer<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<SocketAddr, TranslationError>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let address = peer.untranslated_address();
        let translated = self.0.get(&address.ip()).copied().unwrap_or(address);
        Box::pin(std::future::ready(Ok(translated)))
    }
}
