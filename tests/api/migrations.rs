//! The schema: made once by however many start at once, and never under a program that is too old for it.

use std::path::Path;

use rollcall::app::AppError;
use rollcall::config::Config;
use rollcall::database::migrations::{MigrationError, Outcome};
use rollcall::database::{Database, DatabaseError};
use rollcall::features::schema;

use crate::harness::{Home, TestApp, TestDatabase, join_all, soon};

async fn migrate(db: &TestDatabase) -> Result<Outcome, MigrationError> {
    let config = Config::with(&[("database.url", &db.url())]).unwrap();
    let database = Database::open(&config.database, Path::new("/nonexistent")).await.unwrap();
    let outcome = soon("migrations", schema().run(&database.pool)).await;
    database.close().await;
    outcome
}

async fn column(db: &TestDatabase, sql: &str) -> Vec<String> {
    db.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_empty_database_gets_the_schema_once() {
    let db = TestDatabase::empty().await;
    assert_eq!(migrate(&db).await.unwrap(), Outcome::Migrated { from: 0 });
    assert_eq!(migrate(&db).await.unwrap(), Outcome::UpToDate);
    let recorded = column(&db, "SELECT version::text FROM rollcall_migrations ORDER BY version").await;
    assert!(recorded.is_sorted(), "{recorded:?}");
    assert_eq!(recorded.last(), Some(&schema().latest().to_string()));
}

#[tokio::test]
async fn the_schema_has_the_names_that_the_seed_promises() {
    let db = TestDatabase::migrated().await;
    let constraints = column(
        &db,
        "SELECT conname::text || ': ' || pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = 'users'::regclass AND contype IN ('u', 'p', 'c') ORDER BY conname",
    )
    .await;
    assert_eq!(
        constraints,
        [
            "users_email_format: CHECK (((email)::text ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}$'::text))",
            "users_email_unique: UNIQUE (email)",
            "users_name_not_empty: CHECK ((length(TRIM(BOTH FROM name)) > 0))",
            "users_pkey: PRIMARY KEY (user_id)",
        ]
    );
    let indexes =
        column(&db, "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'idx_users_%' ORDER BY indexname").await;
    assert_eq!(
        indexes,
        [
            "CREATE INDEX idx_users_created_at ON public.users USING btree (created_at DESC)",
            "CREATE INDEX idx_users_email ON public.users USING btree (email)",
        ]
    );
    let columns = column(
        &db,
        "SELECT format('%s %s %s', column_name, coalesce(character_maximum_length::text, data_type), is_nullable)
         FROM information_schema.columns WHERE table_name = 'users' ORDER BY ordinal_position",
    )
    .await;
    assert_eq!(
        columns,
        [
            "user_id uuid NO",
            "name 100 NO",
            "email 255 NO",
            "password_hash 255 NO",
            "created_at timestamp with time zone NO",
            "updated_at timestamp with time zone NO",
        ]
    );
}

#[tokio::test]
async fn every_column_has_its_default_its_comment_and_its_trigger() {
    let db = TestDatabase::migrated().await;
    let id: uuid::Uuid = db
        .value("INSERT INTO users (name, email, password_hash) VALUES ('A', 'a@b.co', '') RETURNING user_id", &[])
        .await;
    assert_eq!(id.get_version_num(), 4);
    let fresh: bool =
        db.value("SELECT created_at = updated_at AND created_at > now() - interval '1 minute' FROM users", &[]).await;
    assert!(fresh);
    db.run("UPDATE users SET name = 'B'").await;
    let moved: bool = db.value("SELECT updated_at > created_at FROM users", &[]).await;
    assert!(moved, "the trigger keeps updated_at");
    let commented: i64 = db
        .value(
            "SELECT count(*) FROM pg_description WHERE objoid = 'users'::regclass AND classoid = 'pg_class'::regclass",
            &[],
        )
        .await;
    assert_eq!(commented, 7, "the table and each column");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_that_migrate_at_once_one_does_each_step() {
    let db = TestDatabase::empty().await;
    let outcomes = join_all((0..8).map(|_| migrate(&db))).await;
    // The steps may fall to different ones, and a step that is done twice fails.
    let migrated = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::Migrated { .. }))).count();
    let waited = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Outcome::UpToDate))).count();
    // The steps are transactions: between two of them, another may come first.
    assert!(migrated >= 1 && migrated + waited == 8, "{outcomes:?}");
    let recorded: i64 = db.value("SELECT count(*) FROM rollcall_migrations", &[]).await;
    assert_eq!(recorded, i64::from(schema().latest()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_that_start_at_once_on_an_empty_database_all_serve() {
    let db = std::sync::Arc::new(TestDatabase::empty().await);
    let apps = join_all((0..4).map(|_| TestApp::on(db.clone(), &[]))).await;
    apps[0].register_john().await;
    for app in &apps {
        app.token().await;
    }
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_behind() {
    let db = TestDatabase::empty().await;
    // A function of the migration's own name and arguments but another type makes its CREATE FUNCTION fail.
    db.run("CREATE FUNCTION update_updated_at_column() RETURNS INTEGER AS 'SELECT 1' LANGUAGE sql").await;
    assert!(matches!(migrate(&db).await, Err(MigrationError::Failed(_))));
    let left: bool =
        db.value("SELECT to_regclass('users') IS NULL AND to_regclass('rollcall_migrations') IS NULL", &[]).await;
    assert!(left);
    db.run("DROP FUNCTION update_updated_at_column()").await;
    assert_eq!(migrate(&db).await.unwrap(), Outcome::Migrated { from: 0 });
}

#[tokio::test]
async fn a_database_newer_than_the_program_is_refused() {
    let db = TestDatabase::migrated().await;
    let newer = schema().latest() + 1;
    db.execute("INSERT INTO rollcall_migrations (version, name) VALUES ($1, 'of_tomorrow')", &[&newer]).await;
    let refused = TestApp::try_start(&db, &[]).await;
    let Err(AppError::Database(DatabaseError::Migration(MigrationError::TooNew { found, .. }))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(found, newer);
    let home = Home::new();
    for command in ["serve", "migrate", "check"] {
        let exit = home.serve_on(&db).arg(command).run().await;
        assert_eq!(exit.code, Some(1), "{command}: {exit:?}");
        let said: Vec<_> = exit.stderr.lines().filter(|line| line.starts_with("rollcall: ")).collect();
        assert_eq!(said.len(), 1, "{exit:?}");
        assert!(said[0].contains(&format!("version {newer}")) && said[0].contains("run a newer rollcall"), "{exit:?}");
    }
}

#[test]
fn steps_of_all_features_have_numbers_without_gap_or_twin() {
    let versions: Vec<_> = schema().steps().iter().map(|step| step.version).collect();
    assert_eq!(versions, (1..=schema().latest()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_migrate_command_tells_what_it_did() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let migrate = async || home.program(&["migrate"]).env("DATABASE_URL", &db.url()).run().await;
    let latest = schema().latest();
    let first = migrate().await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.stdout, format!("the schema is at version {latest}, it was at 0\n"));
    let second = migrate().await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(second.stdout, format!("the schema is at version {latest} already\n"));
}

#[tokio::test]
async fn a_table_of_a_name_that_is_needed_later_stops_the_first_step() {
    let schema = schema();
    let names: Vec<_> = schema.steps().iter().flat_map(|step| step.tables).copied().collect();
    assert!(names.len() > 3, "{names:?}");
    for table in names {
        let db = TestDatabase::empty().await;
        db.run(&format!("CREATE TABLE {table} (of_others INTEGER)")).await;
        let error = migrate(&db).await.unwrap_err();
        assert!(matches!(error, MigrationError::NameTaken { table: found } if found == table), "{error}");
        assert_eq!(tables(&db).await, [table], "nothing was made");
    }
}

#[tokio::test]
async fn a_table_of_a_schema_further_on_takes_no_name() {
    let db = TestDatabase::empty().await;
    db.run("CREATE SCHEMA own; CREATE TABLE public.signing_keys (of_others INTEGER)").await;
    let path = "EXECUTE format('ALTER DATABASE %I SET search_path = own, public', current_database())";
    db.run(&format!("DO $$ BEGIN {path}; END $$")).await;
    assert!(matches!(migrate(&db).await, Ok(Outcome::Migrated { from: 0 })));
    let sql = "SELECT count(*) FROM pg_class WHERE relname = 'signing_keys'";
    assert_eq!(db.value::<i64>(sql, &[]).await, 2);
}

#[tokio::test]
async fn a_service_without_a_secret_changes_nothing() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    home.serve_on(&db).without("JWT_SECRET").run().await.expect_failure(&["JWT_SECRET"]);
    let redis = ("ROLLCALL__LIMITS__REDIS_URL", "redis://localhost:1/not-a-number");
    home.serve_on(&db).env(redis.0, redis.1).run().await.expect_failure(&["limits.redis_url"]);
    assert!(tables(&db).await.is_empty());
}

#[tokio::test]
async fn migrations_tell_no_notices() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let exit = home.serve_on(&db).ready().await.stop().await;
    assert!(!exit.stderr.contains("NOTICE") && exit.stderr.contains("\"from_version\":0"), "{}", exit.stderr);
    // An answer, and no news around it.
    let exit = home.program(&["migrate"]).env("DATABASE_URL", &db.url()).run().await;
    assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
}

async fn tables(db: &TestDatabase) -> Vec<String> {
    column(db, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await
}

/// The GRANTs of SECURITY.md, on a schema that its owner has migrated.
#[tokio::test]
async fn a_service_needs_to_own_nothing() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    db.run(
        "DO $$ BEGIN CREATE ROLE served_without_owning LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT, INSERT, UPDATE ON users TO served_without_owning;
         GRANT SELECT, INSERT, UPDATE (sequence, hash) ON audit_events TO served_without_owning;
         GRANT SELECT, UPDATE ON audit_chain TO served_without_owning;
         GRANT SELECT, INSERT, UPDATE, DELETE ON login_attempts TO served_without_owning;
         GRANT SELECT ON signing_keys, rollcall_migrations TO served_without_owning",
    )
    .await;
    let url = db.url_of("served_without_owning");
    let service = home.serve_on(&db).env("DATABASE_URL", &url).ready().await;
    service.register_john().await;
    let token = service.token().await;
    service.me(&token).await.expect_json(200);
    service.login(crate::harness::EMAIL, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    let unsealed = "SELECT count(*) FROM audit_events WHERE sequence IS NULL";
    crate::harness::until("the events sealed", async || db.value::<i64>(unsealed, &[]).await == 0).await;
    let exit = service.stop().await;
    assert!(!exit.stderr.contains("permission denied"), "{}", exit.stderr);
}
