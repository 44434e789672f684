//! Stored hashes: those of other implementations, outdated ones, and what is no hash at all.

use bcrypt::Version;
use serde_json::json;
use time::OffsetDateTime;

use crate::harness::{EMAIL, Home, NAME, PASSWORD, TestApp, TestDatabase, until};

const SALT: [u8; 16] = *b"sixteen bytes...";

fn hash(password: &str, cost: u32, version: Version) -> String {
    bcrypt::hash_with_salt(password, cost, SALT).unwrap().format_for_version(version)
}

async fn store(db: &TestDatabase, email: &str, hash: &str) {
    let insert = "INSERT INTO users (name, email, password_hash, updated_at) VALUES ($1, $2, $3, '2020-01-01')";
    db.execute(insert, &[&NAME, &email, &hash]).await;
}

#[tokio::test]
async fn hashes_of_every_prefix_log_in() {
    let app = TestApp::start().await;
    for (n, version) in [Version::TwoA, Version::TwoB, Version::TwoY].into_iter().enumerate() {
        let email = format!("user{n}@example.com");
        store(&app.db, &email, &hash(PASSWORD, 4, version)).await;
        app.login(&email, PASSWORD).await.expect_json(200);
        app.login(&email, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn published_hashes_log_in() {
    let app = TestApp::start().await;
    // From Openwall's crypt_blowfish and the Python bcrypt package's tests.
    for (n, (password, hash)) in [
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        ("Kk4DQuMMfZL9o", "$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"),
        ("9IeRXmnGxMYbs", "$2b$04$pQ7gRO7e6wx/936oXhNjrOUNOHL1D0h1N2IDbJZYs.1ppzSof6SPy"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{n}@example.com");
        store(&app.db, &email, hash).await;
        app.login(&email, password).await.expect_json(200);
        app.login(&email, &format!("{password}x")).await.expect_refusal(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn a_hash_below_the_configured_cost_is_replaced_after_a_login() {
    let app = TestApp::with(&[("hashing.cost", "5")]).await;
    let old = hash(PASSWORD, 4, Version::TwoA);
    store(&app.db, EMAIL, &old).await;
    app.login(EMAIL, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
    let before: (String, OffsetDateTime) = stored(&app.db).await;
    assert_eq!(before.0, old, "a wrong password replaces nothing");
    app.login(EMAIL, PASSWORD).await.expect_json(200);
    until("a new hash", async || stored(&app.db).await.0 != old).await;
    let (new, updated_at) = stored(&app.db).await;
    assert!(new.starts_with("$2b$05$"), "{new}");
    assert!(bcrypt::verify(PASSWORD, &new).unwrap());
    assert!(updated_at > before.1, "the row says that it changed");
    app.login(EMAIL, PASSWORD).await.expect_json(200);
}

async fn stored(db: &TestDatabase) -> (String, OffsetDateTime) {
    let rows = db.rows("SELECT password_hash, updated_at FROM users", &[]).await;
    (rows[0].get(0), rows[0].get(1))
}

#[tokio::test]
async fn a_hash_of_the_configured_cost_or_a_higher_one_stays() {
    let app = TestApp::with(&[("hashing.cost", "5")]).await;
    for (email, cost) in [("same@example.com", 5), ("higher@example.com", 7)] {
        store(&app.db, email, &hash(PASSWORD, cost, Version::TwoY)).await;
        app.login(email, PASSWORD).await.expect_json(200);
    }
    // A replacement would come after this one, which needs the same hasher and is waited for.
    store(&app.db, "lower@example.com", &hash(PASSWORD, 4, Version::TwoY)).await;
    app.login("lower@example.com", PASSWORD).await.expect_json(200);
    let count = "SELECT count(*) FROM users WHERE password_hash LIKE '$2y$%'";
    until("the low one's replacement", async || app.db.value::<i64>(count, &[]).await == 2).await;
    let touched = "SELECT count(*) FROM users WHERE updated_at > '2020-01-01' AND email <> 'lower@example.com'";
    assert_eq!(app.db.value::<i64>(touched, &[]).await, 0);
}

#[tokio::test]
async fn a_replacement_gives_way_to_a_newer_hash() {
    let app = TestApp::with(&[("hashing.cost", "5")]).await;
    store(&app.db, EMAIL, &hash(PASSWORD, 4, Version::TwoB)).await;
    // Ten logins at once ask for ten replacements of one and the same hash; whichever comes first, all still match.
    let logins = crate::harness::join_all((0..10).map(|_| app.login(EMAIL, PASSWORD))).await;
    for answer in logins {
        answer.expect_json(200);
    }
    until("a new hash", async || stored(&app.db).await.0.starts_with("$2b$05$")).await;
    app.login(EMAIL, PASSWORD).await.expect_json(200);
}

#[tokio::test]
async fn what_is_no_usable_hash_is_401_and_a_warning_in_the_log() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let service = home.serve_on(&db).ready().await;
    let good = hash(PASSWORD, 4, Version::TwoB);
    let unusable = [
        String::new(),
        " ".to_owned(),
        PASSWORD.to_owned(),
        "$2b$".to_owned(),
        good.replace("$2b$04$", "$2b$16$"),
        good.replace("$2b$04$", "$2b$31$"),
        good.replace("$2b$04$", "$2b$03$"),
        good.replace("$2b$04$", "$2b$99$"),
        good.replace("$2b$04$", "$2x$04$"),
        good.replace("$2b$04$", "$argon2id$"),
        good[..59].to_owned(),
        format!("{good}x"),
        good.replace("sixteen", "!"),
        "\u{e9}".repeat(60),
        "x".repeat(255),
    ];
    let mut warned = 0;
    for (n, text) in unusable.iter().enumerate() {
        if *text == good {
            continue;
        }
        let email = format!("user{n}@example.com");
        store(&db, &email, text).await;
        service.login(&email, PASSWORD).await.expect_refusal(401, "invalid_credentials");
        warned += 1;
    }
    let exit = service.stop().await;
    let warnings = exit.stderr.lines().filter(|line| line.contains("\"WARN\"") && line.contains("hash")).count();
    assert_eq!(warnings, warned, "{}", exit.stderr);
    assert!(!exit.stderr.contains(PASSWORD), "not even a password that stood for a hash is logged");
}

#[tokio::test]
async fn a_login_compares_72_bytes_and_a_registration_takes_no_more() {
    let app = TestApp::start().await;
    let longest = format!("Aa1{}", "x".repeat(69));
    let too_long = format!("{longest}y");
    let register = |password: &str| json!({"name": NAME, "email": EMAIL, "password": password});
    app.register(&register(&too_long)).await.expect_refusal(422, "validation_failed");
    app.register(&register(&longest)).await.expect_json(201);
    app.login(EMAIL, &longest).await.expect_json(200);
    app.login(EMAIL, &longest[..71]).await.expect_refusal(401, "invalid_credentials");
    // As the Python service has it, which registered longer ones.
    app.login(EMAIL, &too_long).await.expect_json(200);
}

/// Hashes of the package bcrypt 4.1.3, which the Python service pins from 4.1.0 on: `bcrypt.hashpw(password.encode(), salt)`.
const OF_PYTHON: [(&str, &str); 7] = [
    (
        "Aa1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxbeyond the seventy-second byte",
        "$2b$04$abcdefghijklmnopqrstuu.uPAhhN2CZ/sh9Qq/nR5q5EvLHcbVxy",
    ),
    // The limit cuts the character.
    (
        "Aa1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxé a character that the limit cuts",
        "$2b$04$abcdefghijklmnopqrstuuyEh71VqtR/tI8Yi9QIT.hbT1PCEq2Ae",
    ),
    ("nul\0inside", "$2b$04$abcdefghijklmnopqrstuuVmjM6jkjIR8S39trau1BimPhVX/DTAK"),
    ("\0", "$2b$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq"),
    ("ends with nul\0", "$2b$04$abcdefghijklmnopqrstuuHbRK5Nc6n/hj7mx.AlnwelZ.jOgkQ4G"),
    (
        "Aa1yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\0zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "$2b$04$abcdefghijklmnopqrstuuXNBFxFC/6gwmMLsImTMAIF5qwwcitk6",
    ),
    (
        "Aa1yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\0zz",
        "$2b$04$abcdefghijklmnopqrstuubcVSDWoLd2ToNcQAewL8liLoS4hw0OG",
    ),
];

#[tokio::test]
async fn whoever_registered_a_long_password_or_one_with_a_nul_in_python_gets_in() {
    // The hashes are renewed at cost 5, and the passwords fit the new ones.
    let app = TestApp::with(&[("hashing.cost", "5")]).await;
    for (n, (password, hash)) in OF_PYTHON.into_iter().enumerate() {
        let email = format!("user{n}@example.com");
        store(&app.db, &email, hash).await;
        app.login(&email, password).await.expect_json(200);
        app.login(&email, &format!("?{password}")).await.expect_refusal(401, "invalid_credentials");
        let sql = "SELECT count(*) FROM users WHERE email = $1 AND password_hash LIKE '$2b$05$%'";
        until("a new hash", async || app.db.value::<i64>(sql, &[&email]).await == 1).await;
        app.login(&email, password).await.expect_json(200);
    }
}

#[tokio::test]
async fn a_nul_does_not_end_a_password() {
    let app = TestApp::start().await;
    store(&app.db, EMAIL, &hash(PASSWORD, 4, Version::TwoB)).await;
    app.login(EMAIL, &format!("{PASSWORD}\0")).await.expect_refusal(401, "invalid_credentials");
    app.login(EMAIL, &format!("{PASSWORD}\0more")).await.expect_refusal(401, "invalid_credentials");
}

#[tokio::test]
async fn equal_passwords_have_different_hashes() {
    let app = TestApp::start().await;
    for n in 0..5 {
        app.register_email(&format!("user{n}@example.com")).await.expect_json(201);
    }
    let different: i64 = app.db.value("SELECT count(DISTINCT password_hash) FROM users", &[]).await;
    assert_eq!(different, 5);
}
