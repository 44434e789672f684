//! How long a refused login takes does not tell whether the account exists, as far as a two-sample test can see.
//!
//! Logins of every kind that is refused alike are sent one after the other over one connection, in blocks that hold one of
//! each in random order: whatever else the machine does meets all alike. The times of each kind are compared with those of an
//! unknown email. That finds no difference at this number of samples; it does not prove that there is none. One kind
//! which does differ has to be found in the same samples, or the comparison would be too weak to say anything.

mod comparison;
mod plot;
mod sampling;

use serde_json::json;

use crate::harness::program::Service;
use crate::harness::{ANSWER_LIMIT, Api, Home, Load, PASSWORD, Server, serve_on, soon};
use comparison::expect_no_difference;
use sampling::{Class, Expected, sample};

/// Low, so that a hash takes a millisecond or two and does not hide what differs beside it.
const COST: u32 = 5;
/// Clients that register, log in and ask for themselves while samples are taken.
const CLIENTS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_email_a_wrong_password_and_an_unusable_hash_take_as_long_to_refuse() {
    let (home, server) = (Home::new(), Server::start("").await);
    let service = serve_on(&home, &server).env("ROLLCALL__HASHING__COST", &COST.to_string()).ready().await;
    for (name, hash) in [
        ("john", None),
        ("cheap", Some(hash_of_cost(COST - 1))),
        ("wreck", Some("this is no hash of anything".to_owned())),
        ("costly", Some(hash_of_cost(COST + 1))),
    ] {
        register(&service, &server, name, hash).await;
    }
    let classes = [
        Class { name: "unknown email", ..Class::new("nobody") },
        Class { name: "wrong password", ..Class::new("john") },
        Class { name: "stored at a lower cost", ..Class::new("cheap") },
        Class { name: "broken stored hash", ..Class::new("wreck") },
        Class { name: "over-long password", password: |at| format!("{at:09}").repeat(9), ..Class::new("john") },
        Class { name: "password with a NUL", password: |at| format!("Wrong\0{at}"), ..Class::new("john") },
        Class { name: "empty password", password: |_| String::new(), ..Class::new("john") },
        // As long as it takes, and so what the comparison has to find.
        Class { name: "stored at a higher cost", expected: Expected::Apart, ..Class::new("costly") },
    ];
    compare_idle_and_loaded("refused", &service, &classes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_account_and_a_locked_unknown_email_take_as_long_to_refuse() {
    let (home, server) = (Home::new(), Server::start("").await);
    let service = serve_on(&home, &server)
        .env("ROLLCALL__LIMITS__ENABLED", "true")
        .env("ROLLCALL__LIMITS__LOGIN_PER_MINUTE", "0")
        .env("ROLLCALL__LIMITS__REGISTER_PER_MINUTE", "0")
        .env("ROLLCALL__LIMITS__PROFILE_PER_SECOND", "0")
        .env("ROLLCALL__LIMITS__DELAY_AFTER", "2")
        .env("ROLLCALL__LIMITS__LOCK_AFTER", "2")
        .ready()
        .await;
    register(&service, &server, "john", None).await;
    register(&service, &server, "wreck", Some("this is no hash of anything".to_owned())).await;
    register(&service, &server, "known", None).await;
    service.login("known@example.com", PASSWORD).await.expect_json(200);
    for name in ["john", "wreck", "known", "nobody"] {
        for password in ["Wrong-1", "Wrong-2"] {
            service.login(&format!("{name}@example.com"), password).await.expect_refusal(401, "invalid_credentials");
        }
    }
    let classes = [
        Class { name: "unknown email, locked", status: 429, ..Class::new("nobody") },
        Class { name: "account, locked", status: 429, ..Class::new("john") },
        Class { name: "broken stored hash, locked", status: 429, ..Class::new("wreck") },
        // The account's own counter is not asked there, which saves some 20 µs: whoever shares the owner's network can see it.
        Class {
            name: "account, locked to a network it logged in from",
            status: 429,
            expected: Expected::Shown,
            ..Class::new("known")
        },
        // No hash is computed for those that are locked.
        Class { name: "no address", status: 400, expected: Expected::Apart, email: String::new(), ..Class::new("") },
    ];
    compare_idle_and_loaded("locked", &service, &classes).await;
}

/// Compares the classes while nothing else is asked of the service, and while other clients are at work.
async fn compare_idle_and_loaded(name: &str, service: &Service, classes: &[Class]) {
    let api: &Api = service;
    let idle = sample(api.addr, classes).await;
    let load = Load::mixed(api, CLIENTS).await;
    let loaded = sample(api.addr, classes).await;
    load.end().await.expect_bounded(ANSWER_LIMIT);
    // Both are told before either is judged.
    for (state, samples) in [("idle", &idle), ("load", &loaded)] {
        let path = plot::write(&format!("{name}-{state}"), classes, samples).unwrap();
        println!("\n{name}, {state}; {}\n\n{}", path.display(), comparison::table(classes, samples));
    }
    expect_no_difference(classes, &idle);
    expect_no_difference(classes, &loaded);
}

/// An account of that name, with another stored hash where one is given.
async fn register(api: &Api, server: &Server, name: &str, hash: Option<String>) {
    let email = format!("{name}@example.com");
    let body = json!({"name": name, "email": email, "password": PASSWORD});
    api.register(&body).await.expect_json(201);
    if let Some(hash) = hash {
        let statement = "UPDATE users SET password_hash = $1 WHERE email = $2";
        let updated = soon("an update", server.admin().await.execute(statement, &[&hash, &email])).await.unwrap();
        assert_eq!(updated, 1);
    }
}

fn hash_of_cost(cost: u32) -> String {
    bcrypt::hash(PASSWORD, cost).unwrap()
}
