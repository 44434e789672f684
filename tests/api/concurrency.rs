//! Clients at the same time: the UNIQUE constraint alone decides who is first.

use serde_json::json;

use crate::harness::{EMAIL, NAME, PASSWORD, TestApp, join_all, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_registrations_of_one_address_at_once_exactly_one_succeeds() {
    let app = TestApp::start().await;
    let answers = soon(
        "all answers",
        join_all((0..32).map(|n| {
            let email = if n % 2 == 0 { EMAIL.to_owned() } else { EMAIL.to_uppercase() };
            let app = &app;
            async move { app.register_email(&email).await }
        })),
    )
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1);
    assert_eq!(refused.len(), 31);
    for answer in refused {
        answer.expect_refusal(409, "email_taken");
    }
    let id: uuid::Uuid = app.db.value("SELECT user_id FROM users", &[]).await;
    assert_eq!(made[0].expect_json(201)["data"]["userId"], json!(id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_on_one_database_let_one_registration_of_an_address_pass() {
    let first = TestApp::start().await;
    let second = TestApp::on(first.db.clone(), &[]).await;
    let answers = soon(
        "all answers",
        join_all((0..48).map(|n| {
            let app = if n % 2 == 0 { &first } else { &second };
            // Each address through both, in opposite orders.
            let address = if n % 2 == 0 { n / 2 % 6 } else { 5 - n / 2 % 6 };
            async move { (address, app.register_email(&format!("user{address}@example.com")).await) }
        })),
    )
    .await;
    let mut made = Vec::new();
    for (address, answer) in answers {
        if answer.status == 201 {
            made.push(address);
        } else {
            answer.expect_refusal(409, "email_taken");
        }
    }
    made.sort_unstable();
    assert_eq!(made, [0, 1, 2, 3, 4, 5], "each address once");
    assert_eq!(first.db.users().await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_gets_their_own_answer() {
    let app = TestApp::start().await;
    soon(
        "all clients",
        join_all((0..40).map(|n| {
            let app = &app;
            async move {
                let (name, email) = (format!("{NAME} {n}"), format!("user{n}@example.com"));
                let body = json!({"name": name, "email": email, "password": PASSWORD});
                let user = app.register(&body).await.expect_json(201)["data"].clone();
                assert_eq!(user["email"], email);
                let login = app.login(&email, PASSWORD).await.expect_json(200);
                assert_eq!(login["data"]["user"], user);
                let me = app.me(login["data"]["token"].as_str().unwrap()).await.expect_json(200);
                assert_eq!(me["data"], user);
                let other = format!("user{}@example.com", (n + 1) % 40);
                app.login(&other, "WrongPass123").await.expect_refusal(401, "invalid_credentials");
            }
        })),
    )
    .await;
    assert_eq!(app.db.users().await, 40);
}
