//! Who may come in to a server, and how: `pg_hba.conf`, TLS and passwords.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::super::{Signed, until};
use super::{Owner, Server, USER};

impl Server {
    /// Speaks TLS as `identity` to the service, and lets it in by no other way.
    pub async fn speak_tls(&self, identity: &Signed) {
        for (name, text) in [("server.crt", &identity.certificate), ("server.key", &identity.key)] {
            let path = self.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            if let Some(owner) = Owner::of_server() {
                std::os::unix::fs::chown(&path, Some(owner.uid), Some(owner.gid)).unwrap();
            }
        }
        self.admin().await.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        self.admit("hostssl all all all trust").await;
    }

    /// Gives the service a password, which it has to tell.
    pub async fn demand_password(&self, password: &str) {
        self.admin().await.batch_execute(&format!("ALTER ROLE {USER} PASSWORD '{password}'")).await.unwrap();
        self.admit("host all all all scram-sha-256").await;
    }

    /// Lets in who comes by the socket, and by TCP as this line of `pg_hba.conf` says.
    async fn admit(&self, line: &str) {
        fs::write(self.data().join("pg_hba.conf"), format!("local all all trust\n{line}\n")).unwrap();
        let loaded = "SELECT extract(epoch FROM pg_conf_load_time())::float8";
        let before: f64 = self.admin().await.query_one(loaded, &[]).await.unwrap().get(0);
        self.admin().await.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        // A new connection has what the postmaster had when it came.
        let is_later = async || before < self.admin().await.query_one(loaded, &[]).await.unwrap().get(0);
        until("the new settings", is_later).await;
    }

    /// Connections of the service to it that are encrypted, and those that are not.
    pub async fn encrypted(&self) -> (i64, i64) {
        let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
            FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'rollcall'";
        let row = self.admin().await.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }
}
