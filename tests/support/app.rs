//! A service in this process.

use std::ops::Deref;
use std::sync::Arc;

use rollcall::app::{App, AppError};
use rollcall::config::Config;

use super::{Api, SECRET, TestDatabase, soon};

/// A running service with a database of its own.
pub struct TestApp {
    pub app: App,
    pub db: Arc<TestDatabase>,
    api: Api,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with these keys over those of the tests.
    pub async fn with(overrides: &[(&str, &str)]) -> Self {
        Self::on(Arc::new(TestDatabase::migrated().await), overrides).await
    }

    /// A service on an existing database.
    pub async fn on(db: Arc<TestDatabase>, overrides: &[(&str, &str)]) -> Self {
        let app = Self::try_start(&db, overrides).await.unwrap();
        let api = Api::new(app.addr());
        Self { app, db, api }
    }

    /// Starts the service, or returns why it does not start.
    pub async fn try_start(db: &TestDatabase, overrides: &[(&str, &str)]) -> Result<App, AppError> {
        let url = db.url();
        let mut settings = vec![
            ("server.host", "127.0.0.1"),
            ("server.port", "0"),
            ("database.url", url.as_str()),
            // The cheapest that bcrypt knows, and no measuring.
            ("hashing.cost", "4"),
            ("hashing.engines", "1"),
            ("hashing.lanes", "2"),
            ("tokens.secret", SECRET),
            ("telemetry.admin_addr", "127.0.0.1:0"),
            // Limits are in force, but the load of a test comes from one address.
            ("limits.register_burst", "1000000"),
            ("limits.login_burst", "1000000"),
            ("limits.profile_burst", "1000000"),
            ("limits.other_burst", "1000000"),
            ("limits.docs_burst", "1000000"),
            ("limits.handshake_burst", "1000000"),
        ];
        settings.extend_from_slice(overrides);
        // Boxed: it would be part of every test's own future.
        soon("a start", Box::pin(App::start(Config::with(&settings).unwrap()))).await
    }

    /// A client of the admin listener.
    pub fn admin(&self) -> Api {
        Api::new(self.app.admin_addr().unwrap())
    }
}

impl Deref for TestApp {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}
