//! One program changes the schema at a time.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use scylla::client::session::Session;

use super::{SchemaError, look};

/// A claim to change the schema of a keyspace.
///
/// Who wants to says so at a quorum, then reads at a quorum who else does: of two at the same time
/// at least one sees the other and gives way, possibly both. A claim that is not given back ends by
/// itself after five minutes.
pub(super) struct Claim<'a> {
    session: &'a Session,
    keyspace: &'a str,
    owner: String,
}

impl<'a> Claim<'a> {
    pub(super) async fn make(session: &'a Session, keyspace: &'a str) -> Result<Self, SchemaError> {
        let random = RandomState::new().build_hasher().finish();
        let claim = Self { session, keyspace, owner: format!("{random:016x}") };
        let insert =
            format!("INSERT INTO {keyspace}.schema_owner (part, owner) VALUES ('schema', ?)");
        session.query_unpaged(insert, (&claim.owner,)).await?;
        let select = format!("SELECT owner FROM {keyspace}.schema_owner WHERE part = 'schema'");
        let owners = look::rows::<(String,)>(session, &select, ()).await?;
        if owners.iter().all(|(owner,)| *owner == claim.owner) {
            return Ok(claim);
        }
        claim.give_back().await?;
        Err(SchemaError::Refused {
            what: "the schema is being changed by another program".to_owned(),
            remedy: "wait until it has ended; a program that died is forgotten after five minutes"
                .to_owned(),
        })
    }

    pub(super) async fn give_back(self) -> Result<(), SchemaError> {
        let delete = format!(
            "DELETE FROM {}.schema_owner WHERE part = 'schema' AND owner = ?",
            self.keyspace
        );
        self.session.query_unpaged(delete, (&self.owner,)).await?;
        Ok(())
    }
}
