//! Whether everything holds that must.

use std::sync::Arc;

use ports::operate::{Finding, State};
use scylla::{
    client::session::Session,
    cluster::Node,
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    statement::unprepared::Statement,
};

use super::{COPIES_MIN, VERSION, local_datacenter, look, tables};
use crate::{
    CqlConfig, OpenError,
    connect::{self, Profiles},
    error::{REMEDY_GRANT, of_prepare},
    failure::Failure,
    statements::Statements,
};

/// Clocks may differ by this, milliseconds, before it is worth a word.
const SKEW_GOOD_MS: u64 = 500;

/// And by this before deletions and times to live are told wrongly.
const SKEW_WRONG_MS: u64 = 60_000;

const REMEDY_APPLY: &str = "apply the schema: posthorn admin schema apply";

/// Looks at everything that must hold.
///
/// # Cancel safety
/// It changes nothing.
pub async fn check(config: &CqlConfig, wall_clock: fn() -> u64) -> Vec<Finding> {
    let session = match connect::connect(config).await {
        Ok(session) => session,
        Err(error) => return vec![not_connected(config, error)],
    };
    let mut findings = nodes(&session, wall_clock).await;
    let looks = [
        version(&session, config).await,
        replication(&session, config).await,
        grace(&session, config).await,
    ];
    for look in looks {
        findings.push(look.unwrap_or_else(|failure| {
            let why = failure.into_store_error().to_string();
            let remedy = "see whether the user may read system_schema and the keyspace";
            finding(State::Wrong, "cql: schema", why, remedy)
        }));
    }
    findings.push(permissions(&session, config).await);
    findings
}

fn finding(
    state: State,
    about: impl Into<String>,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding { state, about: about.into(), found: found.into(), remedy: remedy.into() }
}

fn not_connected(config: &CqlConfig, error: OpenError) -> Finding {
    let about = format!("cql: connection to {}", config.nodes.join(", "));
    match error {
        OpenError::Unreachable(why) => {
            let remedy = "start the database, or correct the addresses of its nodes";
            finding(State::Wrong, about, why, remedy)
        }
        OpenError::NotReady { what, remedy } | OpenError::Refused { what, remedy } => {
            finding(State::Wrong, about, what, remedy)
        }
    }
}

/// Whether every node answers, and has our time.
async fn nodes(session: &Session, wall_clock: fn() -> u64) -> Vec<Finding> {
    let state = session.get_cluster_state();
    let mut findings = Vec::new();
    for node in state.get_nodes_info() {
        let datacenter = node.datacenter.as_deref().unwrap_or("no datacenter");
        let about = format!("cql: node {} in {datacenter}", node.address);
        findings.push(match skew_ms(session, node, wall_clock).await {
            Err(why) => {
                let remedy = "start it, or take it out of the cluster if it will not come back";
                finding(State::Doubtful, about, format!("it does not answer: {why}"), remedy)
            }
            Ok(skew_ms) if skew_ms > SKEW_GOOD_MS => {
                let wrong = skew_ms > SKEW_WRONG_MS;
                let state = if wrong { State::Wrong } else { State::Doubtful };
                let found = format!("its clock and ours are {skew_ms} ms apart");
                finding(state, about, found, "synchronise the clocks of all machines")
            }
            Ok(_) => finding(State::Good, about, "it answers, and has our time", ""),
        });
    }
    findings
}

/// How far a node's clock is from ours, less the time it took to ask.
async fn skew_ms(
    session: &Session,
    node: &Arc<Node>,
    wall_clock: fn() -> u64,
) -> Result<u64, String> {
    let mut ask = Statement::new("SELECT toUnixTimestamp(now()) FROM system.local");
    let target = NodeIdentifier::Node(Arc::clone(node));
    let only_it = SingleTargetLoadBalancingPolicy::new(target, None);
    ask.set_load_balancing_policy(Some(only_it));
    ask.set_request_timeout(Some(std::time::Duration::from_secs(2)));
    let before = wall_clock();
    let answer = session.query_unpaged(ask, ()).await.map_err(|error| error.to_string())?;
    let after = wall_clock();
    let rows = answer.into_rows_result().map_err(|error| error.to_string())?;
    let (theirs,) = rows.single_row::<(i64,)>().map_err(|error| error.to_string())?;
    let theirs = u64::try_from(theirs).unwrap_or(0);
    Ok(before.saturating_sub(theirs).max(theirs.saturating_sub(after)))
}

async fn version(session: &Session, config: &CqlConfig) -> Result<Finding, Failure> {
    let about = format!("cql: schema version of {}", config.keyspace);
    let tables = look::tables(session, &config.keyspace).await?;
    if !tables.contains_key("schema_version") {
        return Ok(finding(State::Wrong, about, "there are no tables", REMEDY_APPLY));
    }
    let version = look::version(session, &config.keyspace).await?;
    let found = format!("{version}, this program's is {VERSION}");
    Ok(match version.cmp(&VERSION) {
        std::cmp::Ordering::Less => finding(State::Wrong, about, found, REMEDY_APPLY),
        std::cmp::Ordering::Equal => finding(State::Good, about, found, ""),
        std::cmp::Ordering::Greater => {
            finding(State::Wrong, about, found, "run a newer version of this program")
        }
    })
}

async fn replication(session: &Session, config: &CqlConfig) -> Result<Finding, Failure> {
    let about = format!("cql: replication of {}", config.keyspace);
    let Some(replication) = look::replication(session, &config.keyspace).await? else {
        return Ok(finding(State::Wrong, about, "there is no such keyspace", REMEDY_APPLY));
    };
    let datacenter = local_datacenter(session, config);
    let copies = look::copies(&replication, &datacenter);
    let found = format!("{copies} copies in {datacenter}");
    if copies >= COPIES_MIN {
        return Ok(finding(State::Good, about, found, ""));
    }
    let state = if config.unsafe_replication { State::Doubtful } else { State::Wrong };
    let remedy = format!("{COPIES_MIN} copies: alter the keyspace, then repair every node");
    Ok(finding(state, about, found, remedy))
}

async fn grace(session: &Session, config: &CqlConfig) -> Result<Finding, Failure> {
    let about = format!("cql: how long {} remembers deletions", config.keyspace);
    let tables = look::tables(session, &config.keyspace).await?;
    let wanted = tables::grace_seconds(config);
    for name in tables::REMEMBERING {
        let grace = tables.get(name).copied().unwrap_or(0);
        if grace < wanted {
            let found = format!("{name}: {grace} s, needed are {wanted} s");
            return Ok(finding(State::Wrong, about, found, REMEDY_APPLY));
        }
    }
    Ok(finding(State::Good, about, format!("at least {wanted} s"), ""))
}

/// Prepares every statement, and writes what the next one forgets.
async fn permissions(session: &Session, config: &CqlConfig) -> Finding {
    let about = format!("cql: rights in {}", config.keyspace);
    let profiles = Profiles::new(config);
    if let Err(error) = Statements::prepare(session, &config.keyspace, &profiles).await {
        return not_connected_statement(about, &of_prepare(&error));
    }
    let write = format!(
        "INSERT INTO {}.schema_owner (part, owner) VALUES ('check', 'check') USING TTL 1",
        config.keyspace
    );
    match session.query_unpaged(write, ()).await {
        Ok(_) => finding(State::Good, about, "every statement is understood and may write", ""),
        Err(error) => finding(State::Wrong, about, error.to_string(), REMEDY_GRANT),
    }
}

fn not_connected_statement(about: String, error: &OpenError) -> Finding {
    match error {
        OpenError::Unreachable(why) => {
            finding(State::Doubtful, about, why, "look again when the nodes answer")
        }
        OpenError::NotReady { what, remedy } | OpenError::Refused { what, remedy } => {
            finding(State::Wrong, about, what, remedy)
        }
    }
}
