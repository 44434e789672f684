//! A standby for lookups by id: opened only if it is one, and of the same cluster.

use deadpool_postgres::Pool;
use thiserror::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::config::TargetSessionAttrs;

use super::{DatabaseError, place, pool, root_cause};
use crate::config;

/// Why a server can't be the replica.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// It takes writes.
    #[error(
        "database.replica_url ({0}) leads to a primary; name a standby of database.url's server, or leave it empty"
    )]
    Primary(String),
    /// It follows somebody else.
    #[error("database.replica_url ({0}) leads to a standby of another cluster than database.url; mend one of them")]
    Foreign(String),
    /// The primary does not tell who it is.
    #[error("database.replica_url cannot be compared with database.url: {0}")]
    Unknown(String),
}

/// Which cluster, and whether it follows another server.
const IDENTITY: &str = "SELECT system_identifier, pg_is_in_recovery() FROM pg_control_system()";

/// A pool of connections to the standby. One that does not answer now may do so later, and is taken on trust.
pub(super) async fn open(
    primary: &impl GenericClient,
    mut settings: tokio_postgres::Config,
    config: &config::Database,
) -> Result<Pool, DatabaseError> {
    let place = place(&settings);
    // Of several hosts, that which takes writes is the primary.
    if settings.get_hosts().len() > 1 && settings.get_target_session_attrs() == TargetSessionAttrs::Any {
        settings.target_session_attrs(TargetSessionAttrs::ReadOnly);
    }
    let pool = pool::build(settings, config)?;
    let client = match pool.get().await {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(
                place,
                cause = root_cause(&error),
                "the replica does not answer; the primary stands in for it"
            );
            return Ok(pool);
        }
    };
    let unknown = |error: tokio_postgres::Error| ReplicaError::Unknown(root_cause(&error));
    let (cluster, _) = identity(primary).await.map_err(unknown)?;
    let (followed, is_standby) = identity(&**client).await.map_err(unknown)?;
    if cluster != followed {
        return Err(ReplicaError::Foreign(place).into());
    }
    if !is_standby {
        return Err(ReplicaError::Primary(place).into());
    }
    Ok(pool)
}

async fn identity(client: &impl GenericClient) -> Result<(i64, bool), tokio_postgres::Error> {
    let row = client.query_typed_one(IDENTITY, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
