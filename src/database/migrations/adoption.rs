//! The table of users that the Python service made, and whether it can be taken over as it is.

use tokio_postgres::GenericClient;

use super::MigrationError;

/// Checks whether the table can be adopted. It reads only the catalog, and so takes no lock on the table.
pub(super) async fn check(client: &impl GenericClient) -> Result<(), MigrationError> {
    const COLUMNS: [(&str, &[&str]); 6] = [
        ("user_id", &["uuid"]),
        ("name", &["varchar", "text"]),
        ("email", &["varchar", "text"]),
        ("password_hash", &["varchar", "text"]),
        ("created_at", &["timestamptz"]),
        ("updated_at", &["timestamptz"]),
    ];
    let rows = client
        .query_typed(
            "SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = to_regclass('users') AND a.attnum > 0 AND NOT a.attisdropped",
            &[],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        found.push((row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?));
    }
    for (column, types) in COLUMNS {
        match found.iter().find(|(name, _)| name == column) {
            Some((_, kind)) if types.contains(&kind.as_str()) => {}
            Some((_, kind)) => {
                return Err(MigrationError::Foreign(format!("its column {column} is of type {kind}")));
            }
            None => return Err(MigrationError::Foreign(format!("it has no column {column}"))),
        }
    }
    let unique = client
        .query_typed_opt(
            "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'email'
             WHERE i.indrelid = to_regclass('users') AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
             LIMIT 1",
            &[],
        )
        .await?;
    unique.map(|_| ()).ok_or_else(|| MigrationError::Foreign("its column email is not UNIQUE".to_owned()))
}
