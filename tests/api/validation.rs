//! The rules of a registration and of the JSON that carries it. Whatever breaks one leaves no trace in the table.

use serde_json::{Value, json};

use crate::harness::api::{john, john_but};
use crate::harness::{Answer, NAME, PASSWORD, TestApp};

const REGISTER: &str = "/api/users/register";
const LOGIN: &str = "/api/users/login";

const EMAIL_FORM: &str = "must be a valid email address, such as name@example.com";

/// Checks that `body` breaks exactly these rules.
async fn expect_broken(app: &TestApp, body: &Value, rules: &[(&str, &str)]) {
    let details = app.register(body).await.expect_refusal(422, "validation_failed");
    let told: Vec<_> = details.iter().map(|(field, message)| (field.as_str(), message.as_str())).collect();
    assert_eq!(told, rules, "{body}");
}

/// Checks that each text, as a body of either POST, is refused with this status and code.
async fn expect_unread(texts: &[&[u8]], status: u16, code: &str) {
    let app = TestApp::start().await;
    for text in texts {
        for path in [REGISTER, LOGIN] {
            let answer: Answer = app.post_bytes(path, text.to_vec()).await;
            assert_eq!(answer.status, status, "{path} {:.80} {answer:?}", String::from_utf8_lossy(text));
            answer.expect_refusal(status, code);
        }
    }
    assert_eq!(app.db.users().await, 0);
}

fn email_of_length(bytes: usize) -> String {
    format!("{}@example.com", "a".repeat(bytes - "@example.com".len()))
}

#[tokio::test]
async fn every_broken_rule_of_every_field_is_told_at_once() {
    let app = TestApp::start().await;
    let body = json!({"name": " ", "email": "nobody", "password": ""});
    let rules = [
        ("name", "must not be empty"),
        ("email", EMAIL_FORM),
        ("password", "must be at least 8 characters long"),
        ("password", "must contain an upper-case letter"),
        ("password", "must contain a lower-case letter"),
        ("password", "must contain a digit"),
    ];
    expect_broken(&app, &body, &rules).await;
    let missing = [("name", "is required"), ("email", "is required"), ("password", "is required")];
    expect_broken(&app, &json!({}), &missing).await;
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn a_name_that_breaks_two_rules_is_told_of_both() {
    let app = TestApp::start().await;
    let rules = [("name", "must be at most 100 characters long"), ("name", "must not contain control characters")];
    expect_broken(&app, &john_but("name", format!("{}\u{7}", "a".repeat(101))), &rules).await;
}

#[tokio::test]
async fn an_email_that_breaks_two_rules_is_told_of_both() {
    let app = TestApp::start().await;
    let rules = [("email", "must be at most 254 bytes long"), ("email", EMAIL_FORM)];
    expect_broken(&app, &john_but("email", "a".repeat(255)), &rules).await;
}

#[tokio::test]
async fn fields_of_another_type_are_no_strings() {
    let app = TestApp::start().await;
    for value in [json!(1), json!(1.5), json!(true), json!([]), json!(["a"]), json!({}), json!({"a": "b"})] {
        let body = json!({"name": value, "email": value, "password": value});
        let rule = "must be a string";
        expect_broken(&app, &body, &[("name", rule), ("email", rule), ("password", rule)]).await;
    }
    let null = json!({"name": null, "email": null, "password": null});
    expect_broken(&app, &null, &[("name", "is required"), ("email", "is required"), ("password", "is required")]).await;
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn credentials_of_another_type_are_no_strings() {
    let app = TestApp::start().await;
    for (email, password, fields) in [
        (json!(1), json!(PASSWORD), vec!["email"]),
        (json!("a@example.com"), json!(true), vec!["password"]),
        (json!([]), json!({}), vec!["email", "password"]),
    ] {
        let answer = app.post(LOGIN, &json!({"email": email, "password": password})).await;
        let details = answer.expect_refusal(422, "validation_failed");
        assert_eq!(details.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), fields);
    }
}

#[tokio::test]
async fn names_of_one_to_a_hundred_characters_are_kept_as_they_are() {
    let app = TestApp::start().await;
    let longest_wide = "\u{1f600}".repeat(100);
    let longest = "x".repeat(100);
    for (n, name) in ["A", &longest, &longest_wide, "Zoë 李 O'Brien", "a\u{200b}b", "'; DROP TABLE users; --"]
        .into_iter()
        .enumerate()
    {
        let body = json!({"name": name, "email": format!("n{n}@example.com"), "password": PASSWORD});
        assert_eq!(app.register(&body).await.expect_json(201)["data"]["name"], name);
        let stored: String =
            app.db.value("SELECT name FROM users WHERE email = $1", &[&format!("n{n}@example.com")]).await;
        assert_eq!(stored, name);
    }
}

#[tokio::test]
async fn white_space_around_a_name_is_trimmed_before_it_is_counted() {
    let app = TestApp::start().await;
    let name = format!(" \t\u{a0}\u{2003}{}\n ", "y".repeat(100));
    let body = app.register(&john_but("name", name)).await.expect_json(201);
    assert_eq!(body["data"]["name"], "y".repeat(100));
}

#[tokio::test]
async fn names_beyond_the_bounds_are_refused() {
    let app = TestApp::start().await;
    for (name, rule) in [
        (String::new(), "must not be empty"),
        (" \u{3000}\t".to_owned(), "must not be empty"),
        ("x".repeat(101), "must be at most 100 characters long"),
        ("\u{1f600}".repeat(101), "must be at most 100 characters long"),
        ("a\u{0}b".to_owned(), "must not contain control characters"),
        ("a\nb".to_owned(), "must not contain control characters"),
        ("a\u{7f}".to_owned(), "must not contain control characters"),
        ("\u{0}".to_owned(), "must not contain control characters"),
    ] {
        expect_broken(&app, &john_but("name", name), &[("name", rule)]).await;
    }
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn an_email_is_stored_in_lower_case() {
    let app = TestApp::start().await;
    let body = app.register(&john_but("email", "John.DOE+Tag@Example.COM")).await.expect_json(201);
    assert_eq!(body["data"]["email"], "john.doe+tag@example.com");
    app.register(&john_but("email", "JOHN.doe+tag@EXAMPLE.com")).await.expect_refusal(409, "email_taken");
    assert_eq!(app.db.value::<String>("SELECT email FROM users", &[]).await, "john.doe+tag@example.com");
}

#[tokio::test]
async fn emails_within_the_bounds_are_accepted() {
    let app = TestApp::start().await;
    for email in ["a@b.co", "a.b.c@d-e.f1.museum", "a_%+-9@x.yz", "-@a.bc", &email_of_length(254), "a@1.2.3.xn"] {
        assert_eq!(app.register(&john_but("email", email)).await.expect_json(201)["data"]["email"], email);
    }
}

#[tokio::test]
async fn emails_beyond_the_bounds_are_refused() {
    let app = TestApp::start().await;
    for email in [
        "",
        "@",
        "a",
        "a@",
        "@b.com",
        "a@b",
        "a@b.c",
        "a@b.c1",
        "a b@c.com",
        " a@b.com",
        "a@b.com ",
        "a@b.com\n",
        ".a@b.com",
        "a.@b.com",
        "a..b@c.com",
        "a@b..com",
        "a@.com",
        "a@@b.com",
        "a@b@c.com",
        "ä@b.com",
        "a@bü.com",
        "\"a\"@b.com",
        "a@[127.0.0.1]",
        "a\u{0}@b.com",
        "a@b.com.",
        "a/b@c.com",
        "a@b.com\u{0}",
        "a@\u{212a}.com",
        "a'--@b.com",
    ] {
        expect_broken(&app, &john_but("email", email), &[("email", EMAIL_FORM)]).await;
    }
    let too_long = [("email", "must be at most 254 bytes long")];
    expect_broken(&app, &john_but("email", email_of_length(255)), &too_long).await;
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn passwords_within_the_bounds_are_accepted_and_log_in() {
    let app = TestApp::start().await;
    let longest = format!("Aa1{}", "x".repeat(69));
    let longest_wide = format!("Aa1x{}", "\u{1f600}".repeat(17));
    for (n, password) in
        ["Aa1bcdef", &longest, &longest_wide, "ÄÖÜäöü12", "ЖЗИжзи12", " Aa1bcdef ", "Aa1\t\n\u{7f}bc", "Aa1\"\\/bc"]
            .into_iter()
            .enumerate()
    {
        let email = format!("p{n}@example.com");
        app.register(&json!({"name": NAME, "email": email, "password": password})).await.expect_json(201);
        app.login(&email, password).await.expect_json(200);
        app.login(&email, &format!("!{password}")).await.expect_refusal(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn passwords_beyond_the_bounds_are_refused() {
    let app = TestApp::start().await;
    let long = "must be at most 72 bytes long";
    let cases = [
        ("Aa1bcde".to_owned(), "must be at least 8 characters long"),
        ("Aa1\u{1f600}\u{1f600}".to_owned(), "must be at least 8 characters long"),
        (format!("Aa1{}", "x".repeat(70)), long),
        (format!("Aa1{}", "\u{1f600}".repeat(18)), long),
        ("aa1bcdef".to_owned(), "must contain an upper-case letter"),
        ("AA1BCDEF".to_owned(), "must contain a lower-case letter"),
        ("Aaabcdef".to_owned(), "must contain a digit"),
        ("Aa1bcdef\u{0}".to_owned(), "must not contain a NUL character"),
    ];
    for (password, rule) in cases {
        expect_broken(&app, &john_but("password", password), &[("password", rule)]).await;
    }
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn unknown_keys_are_ignored_whatever_they_hold() {
    let app = TestApp::start().await;
    let extra = r#"{"name":"A","email":"a@example.com","password":"SecurePass123","admin":true,"":null,"userId":1,
        "huge":18446744073709551616,"tiny":-1e-400,"deep":[[[[{"a":[{}]}]]]],"Name":"B","created_at":"2000-01-01"}"#;
    let body = app.post_bytes(REGISTER, extra).await.expect_json(201);
    assert_eq!(body["data"]["name"], "A");
    let login = r#"{"email":"a@example.com","password":"SecurePass123","remember":{"me":["yes",1,null]}}"#;
    app.post_bytes(LOGIN, login).await.expect_json(200);
}

#[tokio::test]
async fn escapes_and_white_space_of_json_do_not_matter() {
    let app = TestApp::start().await;
    let text = "\r\n\t {\"n\\u0061me\" : \"A\\u0064\\u0061 \\ud83d\\ude00\",\n\"email\":\"a\\u0040example.com\", \"password\":\"SecurePass123\"}\r\n ";
    let body = app.post_bytes(REGISTER, text).await.expect_json(201);
    assert_eq!(body["data"]["name"], "Ada \u{1f600}");
    assert_eq!(body["data"]["email"], "a@example.com");
}

#[tokio::test]
async fn bodies_that_are_not_json_are_400() {
    let deep = "[".repeat(60_000);
    let deep_in_key = format!("{{\"a\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    expect_unread(
        &[
            b"",
            b" ",
            b"{",
            b"{}x",
            b"{}{}",
            b"{\"a\":1,}",
            b"{a:1}",
            b"{'a':1}",
            b"{\"a\"}",
            b"nul",
            b"NaN",
            b"{\"a\":NaN}",
            b"{\"a\":01}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\\x\"}",
            b"{\"a\":\"\\u12\"}",
            b"// {}",
            b"name=John",
            b"<user/>",
            deep.as_bytes(),
            deep_in_key.as_bytes(),
        ],
        400,
        "malformed_json",
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_not_utf_8_are_400() {
    expect_unread(
        &[
            b"{\"name\":\"\xff\"}",
            b"{\"\xc3\":1}",
            b"\xff\xfe{\x00}\x00",
            b"{\"x\":\"\xed\xa0\x80\"}",
            b"{\"x\":\"\xc0\xaf\"}",
            b"\xef\xbb\xbf{}",
            b"{\"name\":\"\\ud800\"}",
            b"{\"x\":\"\\udc00\"}",
            b"{\"x\":\"\\ud800\\u0041\"}",
        ],
        400,
        "malformed_json",
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_not_objects_are_400() {
    expect_unread(&[b"null", b"true", b"1", b"-0.0", b"\"text\"", b"[]", b"[{}]"], 400, "not_an_object").await;
}

#[tokio::test]
async fn bodies_with_a_key_twice_are_400() {
    expect_unread(
        &[
            br#"{"email":"a@example.com","email":"a@example.com","password":"SecurePass123","name":"A"}"#,
            br#"{"email":"a@example.com","password":"SecurePass123","name":"A","n\u0061me":"B"}"#,
            br#"{"email":"a@example.com","password":"SecurePass123","name":"A","x":{"y":1,"y":1}}"#,
            br#"{"email":"a@example.com","password":"SecurePass123","name":"A","x":[{"y":1,"y":1}]}"#,
        ],
        400,
        "duplicate_key",
    )
    .await;
}

#[tokio::test]
async fn numbers_beyond_all_bounds_are_refused_as_such() {
    let app = TestApp::start().await;
    for number in ["1e999", "-1e999", &"9".repeat(5_000)] {
        let body = format!(r#"{{"name":{number},"email":"a@example.com","password":"SecurePass123"}}"#);
        let answer = app.post_bytes(REGISTER, body).await;
        assert!(answer.status == 400 || answer.status == 422, "{answer:?}");
    }
    assert_eq!(app.db.users().await, 0);
}

#[tokio::test]
async fn logins_with_addresses_that_nobody_can_have_are_401() {
    let app = TestApp::start().await;
    app.register(&john()).await.expect_json(201);
    let long = "a".repeat(10_000);
    for email in ["nobody", "a\u{0}@b.com", "\u{0}", &long, "ä@b.com", "' OR 1=1 --", " john.doe@example.com"] {
        app.login(email, PASSWORD).await.expect_refusal(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn logins_with_passwords_that_nobody_can_have_are_401() {
    let app = TestApp::start().await;
    app.register(&john()).await.expect_json(201);
    let long = "a".repeat(60_000);
    for password in ["", "a", "\u{0}", "SecurePass123\u{0}", "SecurePass123\u{0}x", &long] {
        app.login(crate::harness::EMAIL, password).await.expect_refusal(401, "invalid_credentials");
    }
}
