//! Keyspace and tables: what is wanted, what is done, and whether it fits.
//!
//! The schema has a number. A process refuses a newer one, and waits for an older one to be
//! brought up; only [`apply`] changes anything, one program at a time. Every step may be taken
//! again.

mod findings;
mod look;
mod owner;
mod tables;

use ports::operate::Step;
use scylla::{client::session::Session, errors::ExecutionError};

use crate::{CqlConfig, OpenError, connect, failure::Failure};

pub use findings::check;

/// The schema this program knows.
const VERSION: i32 = 1;

/// With fewer copies than this a quorum does not survive the loss of one.
const COPIES_MIN: u16 = 3;

/// Which database it is. Both speak the same language, with different options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `ScyllaDB`.
    Scylla,
    /// Apache Cassandra.
    Cassandra,
}

/// How the keyspace is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The database, as it said.
    pub engine: Dialect,
    /// Copies in each datacenter.
    pub replication: Vec<(String, u16)>,
}

/// Why the schema could not be looked at or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// No node answers: try again; what was done stays done.
    #[error("no node of the database can be reached: {0}")]
    Unreachable(String),
    /// It cannot be done like this: act.
    #[error("{what}: {remedy}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// A step, and what it sends.
struct Task {
    step: Step,
    statement: String,
}

/// Asks the database what it is, and puts `copies` into the datacenter that is used.
///
/// # Errors
/// [`SchemaError`].
///
/// # Cancel safety
/// It only reads.
pub async fn wanted(config: &CqlConfig, copies: u16) -> Result<Wanted, SchemaError> {
    let session = connect::connect(config).await?;
    let engine = look::dialect(&session).await?;
    Ok(Wanted { engine, replication: vec![(local_datacenter(&session, config), copies)] })
}

/// The steps to what is wanted, with those that are done already.
///
/// # Errors
/// [`SchemaError`].
///
/// # Cancel safety
/// It only reads.
pub async fn plan(config: &CqlConfig, wanted: &Wanted) -> Result<Vec<Step>, SchemaError> {
    let session = connect::connect(config).await?;
    let tasks = tasks(&session, config, wanted).await?;
    Ok(tasks.into_iter().map(|task| task.step).collect())
}

/// Takes the steps that are not done, and tells each when it is.
///
/// # Errors
/// [`SchemaError`]; doing it again goes on where it ended.
///
/// # Cancel safety
/// Steps that were told are done; the one under way may be.
pub async fn apply(
    config: &CqlConfig,
    wanted: &Wanted,
    mut on_step: impl FnMut(&Step),
) -> Result<(), SchemaError> {
    let session = connect::connect(config).await?;
    // Those that a claim needs may be made by two at once.
    let claim_needs = 1 + tables::KEEPING.len();
    let first = tasks(&session, config, wanted).await?;
    take(&session, first.into_iter().take(claim_needs), &mut on_step).await?;
    let claim = owner::Claim::make(&session, &config.keyspace).await?;
    let taken = async {
        let rest = tasks(&session, config, wanted).await?;
        take(&session, rest.into_iter().skip(claim_needs), &mut on_step).await
    };
    let taken = taken.await;
    let given_back = claim.give_back().await;
    taken.and(given_back)
}

async fn take(
    session: &Session,
    tasks: impl Iterator<Item = Task>,
    on_step: &mut impl FnMut(&Step),
) -> Result<(), SchemaError> {
    for task in tasks.filter(|task| !task.step.done) {
        // The driver waits until all nodes agree.
        session.query_unpaged(task.statement, ()).await?;
        on_step(&Step { done: true, ..task.step });
    }
    Ok(())
}

/// Everything there is to do, in order; what a claim needs comes first.
async fn tasks(
    session: &Session,
    config: &CqlConfig,
    wanted: &Wanted,
) -> Result<Vec<Task>, SchemaError> {
    let keyspace = &config.keyspace;
    let has_keyspace = look::replication(session, keyspace).await?.is_some();
    let present = look::tables(session, keyspace).await?;
    let has_version = present.contains_key("schema_version");
    let version = if has_version { look::version(session, keyspace).await? } else { 0 };
    if version > VERSION {
        return Err(newer(keyspace, version).into());
    }
    let copies: Vec<_> = wanted.replication.iter().map(|(dc, n)| format!("{n} in {dc}")).collect();
    let mut tasks = vec![Task {
        step: Step {
            what: format!("create keyspace {keyspace} with copies: {}", copies.join(", ")),
            why: "all tables are in it".to_owned(),
            done: has_keyspace,
        },
        statement: tables::keyspace(config, wanted),
    }];
    tasks.extend(tables::KEEPING.iter().chain(&tables::FIRST).map(|table| Task {
        step: Step {
            what: format!("create table {keyspace}.{}", table.name),
            why: table.why.to_owned(),
            done: present.contains_key(table.name),
        },
        statement: table.statement(config),
    }));
    let grace = tables::grace_seconds(config);
    tasks.extend(tables::REMEMBERING.iter().filter_map(|name| {
        let short = present.get(*name).is_some_and(|seconds| *seconds < grace);
        short.then(|| Task {
            step: Step {
                what: format!("let {keyspace}.{name} remember deletions for {grace} s"),
                why: "the log is kept for longer than before".to_owned(),
                done: false,
            },
            statement: format!("ALTER TABLE {keyspace}.{name} WITH gc_grace_seconds = {grace}"),
        })
    }));
    tasks.push(Task {
        step: Step {
            what: format!("say that {keyspace} has schema version {VERSION}"),
            why: "a program refuses tables it does not know".to_owned(),
            done: version == VERSION,
        },
        statement: format!(
            "INSERT INTO {keyspace}.schema_version (part, version, what) \
             VALUES ('posthorn', {VERSION}, 'mailboxes, cursors, marks, entities')"
        ),
    });
    Ok(tasks)
}

/// Whether a store may use the keyspace.
///
/// # Errors
/// [`OpenError`].
///
/// # Cancel safety
/// It only reads.
pub(crate) async fn fits(session: &Session, config: &CqlConfig) -> Result<(), OpenError> {
    let keyspace = &config.keyspace;
    let apply = "run `posthorn admin schema apply`";
    let Some(replication) = look::replication(session, keyspace).await? else {
        return Err(OpenError::not_ready(format!("there is no keyspace {keyspace}"), apply));
    };
    let tables = look::tables(session, keyspace).await?;
    let has_version = tables.contains_key("schema_version");
    let version = if has_version { look::version(session, keyspace).await? } else { 0 };
    if version > VERSION {
        return Err(newer(keyspace, version));
    }
    if version < VERSION {
        let what = format!("{keyspace} has schema version {version}, needed is {VERSION}");
        return Err(OpenError::not_ready(what, apply));
    }
    let datacenter = local_datacenter(session, config);
    let copies = look::copies(&replication, &datacenter);
    if copies < COPIES_MIN && !config.unsafe_replication {
        return Err(OpenError::refused(
            format!("{keyspace} has {copies} copies in {datacenter}, needed are {COPIES_MIN}"),
            "alter the keyspace and repair every node, or accept it with unsafe_replication",
        ));
    }
    Ok(())
}

fn newer(keyspace: &str, version: i32) -> OpenError {
    OpenError::refused(
        format!("{keyspace} has schema version {version}, this program knows up to {VERSION}"),
        "run a newer version of this program",
    )
}

/// The datacenter that is read and written; [`connect::connect`] saw that there is one.
pub(crate) fn local_datacenter(session: &Session, config: &CqlConfig) -> String {
    let only = || connect::datacenters(session).into_iter().next().unwrap_or_default();
    config.datacenter.clone().unwrap_or_else(only)
}

impl From<OpenError> for SchemaError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(why) => Self::Unreachable(why),
            OpenError::NotReady { what, remedy } | OpenError::Refused { what, remedy } => {
                Self::Refused { what, remedy }
            }
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Late(why) | Failure::Passing(why) => Self::Unreachable(why),
            Failure::Lasting(why) => {
                Self::refused(why, "look at the user's rights, and at the schema's plan")
            }
        }
    }
}

impl From<Failure> for SchemaError {
    fn from(failure: Failure) -> Self {
        OpenError::from(failure).into()
    }
}

impl From<ExecutionError> for SchemaError {
    fn from(error: ExecutionError) -> Self {
        Failure::from(error).into()
    }
}
