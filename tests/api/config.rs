//! Configuration: its layers, its mistakes, and the one line that says how to mend each.

use std::net::TcpListener;

use rollcall::config::{Config, Origins};

use crate::harness::program::Start;
use crate::harness::{Home, SECRET, TestDatabase};

/// A server that is not there, told apart by its port.
fn nowhere(port: u16) -> String {
    format!("postgresql://rollcall:very-secret-password@127.0.0.1:{port}/none")
}

/// Runs `migrate`, which fails on the database that the layers lead to, and checks that it is the one at `port`.
async fn expect_database(start: Start, port: u16) {
    let exit = start.run().await;
    exit.expect_failure(&[&format!("cannot use PostgreSQL at 127.0.0.1:{port}"), "database.url", "DATABASE_URL"]);
    assert!(!exit.stderr.contains("very-secret"), "{}", exit.stderr);
}

/// Checks that `serve` with this variable fails with these words.
async fn expect_variable(name: &str, value: &str, words: &[&str]) {
    Home::new().serve().env(name, value).run().await.expect_failure(words);
}

/// Checks that `serve` with this file fails with these words.
async fn expect_file(text: &str, words: &[&str]) {
    let home = Home::new();
    let path = home.write("rollcall.toml", text);
    home.program(&["--config", path.to_str().unwrap()]).run().await.expect_failure(words);
}

#[tokio::test]
async fn each_layer_goes_over_the_one_before() {
    let home = Home::new();
    let file = home.write("rollcall.toml", &format!("[database]\nurl = \"{}\"\n", nowhere(1)));
    let migrate = || home.program(&["migrate", "--config", file.to_str().unwrap()]);
    expect_database(migrate(), 1).await;
    expect_database(migrate().env("ROLLCALL__DATABASE__URL", &nowhere(2)), 2).await;
    expect_database(migrate().env("ROLLCALL__DATABASE__URL", &nowhere(2)).env("DATABASE_URL", &nowhere(3)), 3).await;
}

#[tokio::test]
async fn a_dotenv_file_counts_where_the_environment_is_silent() {
    let home = Home::new();
    let file = home.write("rollcall.toml", &format!("[database]\nurl = \"{}\"\n", nowhere(1)));
    home.write(".env", &format!("# Database\nDATABASE_URL={}\nexport DEBUG=\"False\"\n", nowhere(4)));
    let migrate = || home.program(&["migrate", "--config", file.to_str().unwrap()]);
    expect_database(migrate(), 4).await;
    expect_database(migrate().env("DATABASE_URL", &nowhere(5)), 5).await;
    // The Python service's variables go over the others, wherever each of them stands; an empty one hides that of the file.
    expect_database(migrate().env("ROLLCALL__DATABASE__URL", &nowhere(5)), 4).await;
    expect_database(migrate().env("DATABASE_URL", ""), 1).await;
    home.write(".env", &format!("ROLLCALL__DATABASE__URL='{}'\n", nowhere(6)));
    expect_database(migrate(), 6).await;
}

#[tokio::test]
async fn an_empty_variable_is_none() {
    let home = Home::new();
    let migrate = home.program(&["migrate"]).env("ROLLCALL__DATABASE__URL", &nowhere(2));
    expect_database(migrate.env("DATABASE_URL", "").env("JWT_SECRET", "").env("DEBUG", ""), 2).await;
}

#[tokio::test]
async fn the_seeds_variables_set_what_they_always_set() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let start =
        home.program(&["serve"]).env("DATABASE_URL", &db.url()).env("JWT_SECRET", SECRET).env("API_HOST", "127.0.0.2");
    let start = start.env("API_PORT", "0").env("DEBUG", "True").env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "127.0.0.1:0");
    let service = start.env("ROLLCALL__HASHING__COST", "4").env("ROLLCALL__HASHING__LANES", "1").ready().await;
    assert_eq!(service.addr.ip().to_string(), "127.0.0.2");
    service.register_john().await;
    service.token().await;
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.contains("\"level\":\"DEBUG\""), "{}", exit.stderr);
}

#[tokio::test]
async fn the_schemes_of_sqlalchemy_are_understood() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let url = db.url().replace("postgresql://", "postgresql+psycopg2://");
    let exit = home.program(&["migrate"]).env("DATABASE_URL", &url).run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn every_key_may_come_from_the_environment() {
    let defaults: toml::Table = include_str!("../../config/rollcall.toml").parse().unwrap();
    let home = Home::new();
    let mut migrate = home.program(&["migrate"]);
    for (section, value) in &defaults {
        for (key, value) in value.as_table().into_iter().flatten() {
            let name = format!("ROLLCALL__{}__{}", section.to_uppercase(), key.to_uppercase());
            migrate = migrate.env(&name, value.as_str().unwrap_or(&value.to_string()));
        }
    }
    expect_database(migrate.env("DATABASE_URL", &nowhere(7)).env("ROLLCALL__DATA_DIR", "x"), 7).await;
}

#[tokio::test]
async fn unknown_keys_are_errors_wherever_they_stand() {
    expect_file("[hashing]\ncosts = 12\n", &["unknown key hashing.costs", "rollcall.toml"]).await;
    expect_file("cost = 12\n", &["unknown key cost", "rollcall.toml"]).await;
    expect_file("[nothing]\n[nothing.at]\nall = 1\n", &["unknown key nothing.at.all"]).await;
    let name = "ROLLCALL__HASHING__COSTS";
    expect_variable(name, "12", &["unknown key hashing.costs", name, "environment"]).await;
    let home = Home::new();
    home.write(".env", "ROLLCALL__SERVER__PROT=1\n");
    let exit = home.program(&[]).run().await;
    exit.expect_failure(&["unknown key server.prot", "ROLLCALL__SERVER__PROT", ".env", "did you mean server.port?"]);
    for (name, meant) in [
        ("ROLLCALL_DATA_DIR", "ROLLCALL__DATA_DIR"),
        ("ROLLCALL_SERVER_PORT", "ROLLCALL__SERVER__PORT"),
        ("ROLLCALL_HASHING__COST", "ROLLCALL__HASHING__COST"),
    ] {
        expect_variable(name, "x", &["unknown variable", name, "did you mean", meant]).await;
    }
}

#[tokio::test]
async fn variables_of_others_that_begin_like_ours_are_left_alone() {
    // As Kubernetes sets them for a service named rollcall.
    let home = Home::new();
    // A directory of this name is nobody's variables either.
    std::fs::create_dir(home.path().join(".env")).unwrap();
    let start = home.program(&["migrate"]).env("ROLLCALL_PORT_8000_TCP", "tcp://10.0.0.1:8000");
    let start = start.env("ROLLCALL_SERVER_PORT", "tcp://10.0.0.1:8000");
    expect_database(start.env("ROLLCALL_SERVICE_HOST", "10.0.0.1").env("DATABASE_URL", &nowhere(3)), 3).await;
}

#[tokio::test]
async fn lists_may_be_written_as_lists() {
    expect_file("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"nonsense\"]\n", &["trusted_proxies", "nonsense"]).await;
    expect_file("[cors]\nallowed_origins = [\"https://a.example\", 1]\n", &["allowed_origins", "list of strings"])
        .await;
    expect_file("[server]\nacme_domains = [\"a b\"]\n", &["acme_domains", "host names"]).await;
    let config = Config::parse("[cors]\nallowed_origins = [\"https://a.example\", \"https://b.example\"]\n").unwrap();
    assert!(matches!(config.cors.allowed, Origins::Listed(origins) if origins.len() == 2));
}

#[tokio::test]
async fn urls_that_cannot_be_are_told_in_words_and_never_shown() {
    for (url, words) in [
        ("mysql://root:geheim@localhost/x", "postgresql://"),
        ("geheim", "postgresql://"),
        ("postgresql://u:geh@eim@localhost/x", "percent-encode"),
        ("postgresql://u:geh/eim@localhost/x", "percent-encode"),
        ("postgresql://u:geheim@localhost/x?sslkey=y", "client certificate"),
    ] {
        let exit = Home::new().program(&["migrate"]).env("DATABASE_URL", url).run().await;
        exit.expect_failure(&["database.url", "DATABASE_URL", words]);
        assert!(!exit.stderr.contains("eim"), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn arguments_are_told_what_they_must_be() {
    for (args, words) in [
        (&["capacity", "--logins-per-second", "0"][..], "1 or more"),
        (&["audit", "list", "--user", "nope"], "must be a user id (a UUID)"),
    ] {
        let exit = Home::new().program(args).run().await;
        assert!(exit.code == Some(2) && exit.stderr.contains(words), "{exit:?}");
    }
    Home::new()
        .program(&["--config", "nowhere.toml", "defaults"])
        .run()
        .await
        .expect_failure(&["cannot read nowhere.toml"]);
}

#[tokio::test]
async fn a_taken_port_that_nobody_asked_for_is_done_without() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    // Whoever has it already is as good as this.
    let _taken = tokio::net::TcpListener::bind("127.0.0.1:9000").await;
    let service = home.serve_on(&db).without("ROLLCALL__TELEMETRY__ADMIN_ADDR").ready().await;
    service.get("/").await.expect_json(200);
    assert!(service.stop().await.stderr.contains("127.0.0.1:9000 is taken"));
    let asked = home.serve_on(&db).env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "127.0.0.1:9000").run().await;
    asked.expect_failure(&["cannot listen on 127.0.0.1:9000", "telemetry.admin_addr"]);
}

#[tokio::test]
async fn values_of_the_wrong_type_are_errors() {
    expect_file("[hashing]\ncost = \"twelve\"\n", &["hashing.cost", "rollcall.toml", "whole number from 4 to 15"])
        .await;
    expect_file("[hashing]\ncost = 12.5\n", &["hashing.cost", "whole number from 4 to 15"]).await;
    expect_file("[hashing]\ncost = true\n", &["hashing.cost", "whole number from 4 to 15"]).await;
    expect_file("[server]\nhost = 1\n", &["server.host", "must be a string"]).await;
    expect_file("[limits]\nenabled = \"yes\"\n", &["limits.enabled", "true or false"]).await;
    expect_file("server = 1\n", &["server"]).await;
    expect_variable("ROLLCALL__HASHING__COST", "abc", &["hashing.cost", "ROLLCALL__HASHING__COST in the environment"])
        .await;
    expect_variable("ROLLCALL__LIMITS__ENABLED", "maybe", &["limits.enabled", "true or false"]).await;
    expect_variable("API_PORT", "http", &["server.port", "API_PORT in the environment", "0 to 65535"]).await;
    expect_variable("DEBUG", "perhaps", &["DEBUG", "True or False"]).await;
}

#[tokio::test]
async fn values_out_of_range_are_errors() {
    for cost in ["3", "16", "-1", "99999999999999999999"] {
        expect_variable("ROLLCALL__HASHING__COST", cost, &["hashing.cost", "from 4 to 15"]).await;
    }
    expect_variable("API_PORT", "65536", &["server.port", "API_PORT", "0 to 65535"]).await;
    expect_variable("ROLLCALL__HASHING__NICENESS", "20", &["hashing.niceness", "0 to 19"]).await;
    expect_variable("ROLLCALL__TOKENS__TTL_S", "0", &["tokens.ttl_s"]).await;
    expect_variable("ROLLCALL__DATABASE__POOL_SIZE", "0", &["database.pool_size"]).await;
    expect_variable("ROLLCALL__SERVER__BODY_TIMEOUT_MS", "0", &["server.body_timeout_ms"]).await;
    expect_variable("ROLLCALL__TELEMETRY__ADMIN_ADDR", "9000", &["telemetry.admin_addr", "127.0.0.1:9000", "off"])
        .await;
    expect_variable("ROLLCALL__TELEMETRY__LOG_FORMAT", "xml", &["telemetry.log_format", "auto, text or json"]).await;
    expect_variable("ROLLCALL__TELEMETRY__LOG_FILTER", "a=b=c", &["telemetry.log_filter"]).await;
    expect_variable("ROLLCALL__LIMITS__LOGIN_PER_MINUTE", "-1", &["limits.login_per_minute", "from 0 to 1000000"])
        .await;
    expect_variable("ROLLCALL__LIMITS__LOGIN_BURST", "0", &["limits.login_burst", "from 1 to 1000000"]).await;
    expect_variable("ROLLCALL__LIMITS__KEYS_MAX", "0", &["limits.keys_max"]).await;
    expect_variable("ROLLCALL__CORS__MAX_AGE_S", "86401", &["cors.max_age_s", "from 0 to 86400"]).await;
    expect_variable("ROLLCALL__HASHING__KERNEL", "md5", &["hashing.kernel", "interleaved or crate"]).await;
}

#[tokio::test]
async fn files_that_cannot_be_read_are_errors() {
    let home = Home::new();
    let exit = home.program(&["--config", "nowhere.toml"]).run().await;
    exit.expect_failure(&["cannot read nowhere.toml", "--config"]);
    expect_file("[hashing]\n\ncost = = 12\n", &["rollcall.toml", "line 3"]).await;
    expect_file("[tokens]\nsecret = \"do-not-show-me\n", &["rollcall.toml", "line 2"]).await;
    let home = Home::new();
    home.write(".env", "JWT_SECRET='do-not-show-me\n");
    // Python goes on after it; the line is told, and what it may hold is not.
    let exit = home.program(&["migrate"]).env("DATABASE_URL", &nowhere(1)).run().await;
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.stderr.contains(".env line 1 is out of syntax") && exit.stderr.contains("cannot use PostgreSQL"),
        "{exit:?}"
    );
    assert!(!exit.stderr.contains("do-not-show-me"), "{}", exit.stderr);
}

#[tokio::test]
async fn a_short_secret_is_refused_and_not_shown() {
    let short = "only-31-bytes-of-secret-here...";
    assert_eq!(short.len(), 31);
    let home = Home::new();
    for start in [home.serve().env("JWT_SECRET", short), home.serve().env("ROLLCALL__TOKENS__SECRET", short)] {
        let exit = start.run().await;
        exit.expect_failure(&[
            "tokens.secret",
            "SECRET in the environment",
            "at least 32 bytes",
            "openssl rand -hex 32",
        ]);
        assert!(!exit.stderr.contains(short), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn a_secret_must_be_given_with_a_database() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let exit = home.serve_on(&db).without("JWT_SECRET").run().await;
    exit.expect_failure(&["tokens.secret", "JWT_SECRET", "openssl rand -hex 32"]);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    expect_variable("API_PORT", &port, &["cannot listen on 127.0.0.1", &port, "server.port", "API_PORT"]).await;
    let admin = format!("127.0.0.1:{port}");
    expect_variable("ROLLCALL__TELEMETRY__ADMIN_ADDR", &admin, &["cannot listen on", &port, "telemetry.admin_addr"])
        .await;
    expect_variable("API_HOST", "192.0.2.1", &["cannot listen on 192.0.2.1", "server.host", "API_HOST"]).await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_an_error() {
    let home = Home::new();
    let serve = home.serve().env("JWT_SECRET", SECRET);
    expect_database(serve.env("DATABASE_URL", &nowhere(1)), 1).await;
    let db = TestDatabase::migrated().await;
    let absent = db.url().replace("/t_", "/absent_");
    let exit = home.serve_on(&db).env("DATABASE_URL", &absent).run().await;
    exit.expect_failure(&["cannot use PostgreSQL", "does not exist", "database.url"]);
    for url in ["not a url", "mysql://root@localhost/x", "postgresql://"] {
        let exit = home.serve().env("JWT_SECRET", SECRET).env("DATABASE_URL", url).run().await;
        exit.expect_failure(&["database.url"]);
    }
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    // Below a regular file, where not even root can make a directory.
    let file = home.write("file", "");
    let exit = home.serve().env("ROLLCALL__DATA_DIR", file.join("data").to_str().unwrap()).run().await;
    exit.expect_failure(&["data_dir", "cannot be used", "set data_dir to a directory"]);
    let exit = home.serve().env("ROLLCALL__DATA_DIR", file.to_str().unwrap()).run().await;
    exit.expect_failure(&["data_dir", "cannot be used"]);
}

#[tokio::test]
async fn a_data_directory_that_is_too_long_for_a_socket_is_an_error() {
    let home = Home::new();
    let long = home.path().join("x".repeat(100));
    let exit = home.serve().env("ROLLCALL__DATA_DIR", long.to_str().unwrap()).run().await;
    exit.expect_failure(&["data_dir", "too long for a unix socket", "at most 103", "set data_dir to a shorter path"]);
}

#[tokio::test]
async fn a_machine_without_postgresql_is_told_what_to_install() {
    let exit = Home::new().serve().env("PG_BINDIR", "/nonexistent").run().await;
    exit.expect_failure(&["no PostgreSQL server is installed", "install", "PG_BINDIR", "DATABASE_URL"]);
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let home = Home::new();
    for args in [&["nonsense"][..], &["--nonsense"], &["serve", "now"], &["--config"], &["migrate", "--force"], &["-x"]]
    {
        let exit = home.program(args).run().await;
        assert_eq!(exit.code, Some(2), "{args:?} {exit:?}");
        assert_eq!(exit.stdout, "");
        assert!(exit.stderr.starts_with("error: "), "{exit:?}");
    }
}

/// The commands that a help lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split_once("\nCommands:\n").map(|(_, list)| list.split("\n\n").next().unwrap());
    let names = list.into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("  "));
    names.filter(|line| !line.starts_with(' ')).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn help_is_everywhere() {
    let home = Home::new();
    let help = async |args: &[&str]| {
        let exit = home.program(args).run().await;
        assert_eq!(exit.code, Some(0), "{args:?} {exit:?}");
        assert!(exit.stdout.contains("Usage: rollcall"), "{exit:?}");
        assert_eq!(exit.stderr, "");
        exit.stdout
    };
    let mut walked = Vec::new();
    let mut ahead = vec![String::new()];
    while let Some(command) = ahead.pop() {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let text = help(&words).await;
        assert!(text.contains(&format!("Usage: rollcall{command}")), "{command}: {text}");
        let further = commands(&text).into_iter().filter(|name| name != "help");
        ahead.extend(further.map(|name| format!("{command} {name}")));
        walked.push(command.trim_start().to_owned());
    }
    for command in ["serve", "migrate", "openapi", "check", "capacity", "keys", "audit", "defaults"] {
        assert!(walked.iter().any(|walked| walked == command), "{command} in {walked:?}");
    }
    for (command, wishes) in
        [("keys", &["list", "add", "rotate", "retire", "reseal"][..]), ("audit", &["verify", "head", "list", "prune"])]
    {
        for wish in wishes {
            assert!(walked.contains(&format!("{command} {wish}")), "{command} {wish} in {walked:?}");
        }
    }
    help(&["-h"]).await;
    help(&["help"]).await;
    help(&["help", "keys", "add"]).await;
    let version = home.program(&["--version"]).run().await.stdout;
    assert_eq!(version, concat!("rollcall ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// What nobody may see, in values of every key that has a secret in it. None of them is one that the service starts with.
const CANARY: &str = "canary-7f3a";
const SECRETS: [(&str, &[&str]); 5] = [
    ("database.url", &["canary-7f3a", "mysql://u:canary-7f3a@127.0.0.1/x", "postgresql://u:canary-7f3a@127.0.0.1:1/x"]),
    ("limits.redis_url", &["canary-7f3a", "http://u:canary-7f3a@127.0.0.1/0", "redis://u:canary-7f3a@127.0.0.1:x/0"]),
    ("tokens.encryption_key", &["canary-7f3a", "canary-7f3acanary-7f3acanary-7f3acanary-7f3a"]),
    ("tokens.previous_encryption_key", &["canary-7f3a"]),
    ("tokens.secret", &["canary-7f3a"]),
];

#[tokio::test]
async fn no_error_shows_what_a_secret_is_set_to() {
    let defaults = include_str!("../../config/rollcall.toml").lines();
    let kinds = ["secret = \"\"", "encryption_key = \"\"", "url = \"\""];
    let named = defaults.filter(|line| kinds.iter().any(|kind| line.contains(kind))).count();
    assert_eq!(named, SECRETS.len(), "is a new one in the list?");
    let (home, another) = (Home::new(), "0".repeat(64));
    let start = |command: &str, without: &str| {
        let start = home.serve().arg(command).env("ROLLCALL__TELEMETRY__LOG_FILTER", "trace");
        let others = [("DATABASE_URL", "database.url"), ("JWT_SECRET", "tokens.secret")];
        let values = [format!("postgresql://u:{CANARY}@127.0.0.1:1/x"), SECRET.to_owned()];
        let others = others.iter().zip(&values).filter(|((_, key), _)| *key != without);
        let start = others.fold(start, |start, ((name, _), value)| start.env(name, value));
        // The one before is nothing without the one that follows it.
        if without == "tokens.previous_encryption_key" {
            start.env("ROLLCALL__TOKENS__ENCRYPTION_KEY", &another)
        } else {
            start
        }
    };
    let expect = async |start: Start, what: &str| {
        let exit = start.run().await;
        assert_eq!(exit.code, Some(1), "{what}: {exit:?}");
        assert!(exit.stderr.contains("rollcall: "), "{what}: {exit:?}");
        assert!(!exit.stdout.contains(CANARY) && !exit.stderr.contains(CANARY), "{what}: {exit:?}");
        exit.stderr
    };
    for command in ["serve", "check"] {
        let mut all = start(command, "");
        for (key, values) in SECRETS {
            let variable = format!("ROLLCALL__{}", key.to_uppercase().replace('.', "__"));
            for value in values {
                let told = expect(start(command, key).env(&variable, value), value).await;
                assert!(told.contains(key), "{key} in {told}");
                let (section, name) = key.split_once('.').unwrap();
                let file = home.write("rollcall.toml", &format!("[{section}]\n{name} = \"{value}\"\n"));
                let by_file = start(command, key).arg("--config").arg(file.to_str().unwrap());
                assert!(expect(by_file, value).await.contains(key), "{key}");
            }
            all = all.env(&variable, values[0]);
        }
        let all = all.env("DATABASE_URL", CANARY).env("JWT_SECRET", CANARY);
        expect(all, "all at once").await;
    }
    // Where the server that a password is for does not answer.
    let db = TestDatabase::migrated().await;
    let check = home.serve_on(&db).arg("check").env("ROLLCALL__TELEMETRY__LOG_FILTER", "trace");
    let exit = check.env("ROLLCALL__LIMITS__REDIS_URL", &format!("redis://u:{CANARY}@127.0.0.1:1/0")).run().await;
    assert!(exit.stdout.contains("Redis") || exit.stderr.contains("Redis"), "{exit:?}");
    assert!(!exit.stdout.contains(CANARY) && !exit.stderr.contains(CANARY), "{exit:?}");
}

#[tokio::test]
async fn the_defaults_are_printed_as_they_are_compiled_in() {
    let exit = Home::new().program(&["defaults"]).run().await;
    assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), include_str!("../../config/rollcall.toml")));
}

#[tokio::test]
async fn the_reference_lists_every_key_with_what_it_accepts_and_means() {
    let exit = Home::new().program(&["defaults", "--markdown"]).run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let file = include_str!("../../docs/configuration.md");
    assert!(exit.stdout == file, "run `rollcall defaults --markdown > docs/configuration.md`");
    let defaults: toml::Table = include_str!("../../config/rollcall.toml").parse().unwrap();
    for (name, value) in &defaults {
        let Some(section) = value.as_table() else {
            expect_row(file.split("\n## ").find(|part| part.contains(&format!("| `{name}` |"))), name, value);
            continue;
        };
        let part = file.split("\n## ").find(|part| part.starts_with(&format!("`[{name}]`\n")));
        for (key, value) in section {
            expect_row(part, key, value);
        }
    }
}

/// Checks that this part of the reference has a row of four filled cells for the key.
fn expect_row(part: Option<&str>, key: &str, value: &toml::Value) {
    let row = part.and_then(|part| part.lines().find(|line| line.starts_with(&format!("| `{key}` | `{value}` |"))));
    let row = row.unwrap_or_else(|| panic!("{key} = {value} is not in docs/configuration.md"));
    let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
}

#[tokio::test]
async fn an_unknown_key_of_several_lines_is_told_in_one() {
    expect_file("\"a\\nb\\u0000\\u001b[31m\" = 1\n", &["unknown key a\\nb\\0\\u{1b}[31m", "lists the keys"]).await;
}

#[tokio::test]
async fn what_a_dotenv_file_sets_is_told_by_name() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    home.write(".env", &format!("JWT_SECRET={SECRET}\nROLLCALL__LIMITS__ENABLED=false\nOTHER=1\n"));
    let exit = home.serve_on(&db).without("JWT_SECRET").ready().await.stop().await;
    let line = exit.stderr.lines().find(|line| line.contains("set by .env")).unwrap();
    assert!(line.contains("limits.enabled, tokens.secret") && !exit.stderr.contains(SECRET), "{line}");
}
