//! Certificates and keys: good ones, bad ones, and changed ones.

use std::fs;

use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use rollcall::config::Config;
use rustix::process::Signal;
use rustls::version::TLS13;
use time::{Duration, OffsetDateTime};

use crate::harness::tls::{Authority, Files, Signed, shown, try_connect};
use crate::harness::{Home, TestApp, TestDatabase, Wire, until};
use crate::metrics::sample;

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const LOADED: &str = "rollcall_tls_certificate_loads_total{outcome=\"loaded\"}";
const FAILED: &str = "rollcall_tls_certificate_loads_total{outcome=\"failed\"}";
const EXPIRY: &str = "rollcall_tls_certificate_expiry_timestamp_seconds";
const WATCH: (&str, &str) = ("server.tls_watch_ms", "20");

async fn why_it_does_not_start(db: &TestDatabase, overrides: &[(&str, &str)]) -> String {
    TestApp::try_start(db, overrides).await.expect_err("a refusal").to_string()
}

/// Whether new connections are shown this certificate.
async fn is_shown(app: &TestApp, authority: &Authority, signed: &Signed) -> bool {
    shown(&try_connect(app.addr, authority.client(&[])).await.unwrap()) == signed.der()
}

#[tokio::test]
async fn what_can_not_be_used_is_refused_in_one_line_with_key_file_and_mend() {
    let (db, authority) = (TestDatabase::empty().await, Authority::new());
    let (good, other) = (authority.sign(), authority.sign());
    let now = OffsetDateTime::now_utc();
    let old = authority.sign_from_to(now - Duration::days(2), now - Duration::days(1));
    let new = authority.sign_from_to(now + Duration::days(1), now + Duration::days(2));
    let with = |certificate: &str, key: &str| Signed { certificate: certificate.to_owned(), key: key.to_owned() };
    let body_of = |pem: &str| pem.lines().nth(1).unwrap().to_owned();
    let cut = good.certificate.replace(&body_of(&good.certificate), "AAAA");
    let garbage_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let (certificate_key, key_key) = ("server.tls_cert_file", "server.tls_key_file");
    for (signed, key, words) in [
        (with("", &good.key), certificate_key, "is empty; give a PEM file"),
        (with("garbage", &good.key), certificate_key, "holds no certificate"),
        (with(&good.key, &good.key), certificate_key, "holds no certificate"),
        (with(&cut, &good.key), certificate_key, "certificate that is broken"),
        (with(good.certificate.split("-----END").next().unwrap(), &good.key), certificate_key, "broken"),
        (with(&good.certificate, " \n"), key_key, "is empty; give a PEM file"),
        (with(&good.certificate, "garbage"), key_key, "holds no private key"),
        (with(&good.certificate, &good.certificate), key_key, "holds no private key"),
        (with(&good.certificate, garbage_key), key_key, "broken or of an unknown kind"),
        (with(&good.certificate, encrypted), key_key, "decrypt it with `openssl pkey`"),
        (with(&good.certificate, &other.key), key_key, "give the two that belong together"),
        (with(&format!("{}{}", authority.pem, good.certificate), &good.key), key_key, "the first certificate"),
        (old, certificate_key, "expired at"),
        (new, certificate_key, "is valid from"),
    ] {
        let files = Files::of(&signed);
        let said = why_it_does_not_start(&db, &files.overrides()).await;
        let path = if key == key_key { &files.key } else { &files.certificate };
        assert!(said.starts_with(&format!("{key} {} ", path.display())), "{words}: {said}");
        assert!(said.contains(words) && said.contains(';') && !said.contains('\n'), "{words}: {said}");
        assert!(!said.contains(&body_of(&good.key)), "the key is told: {said}");
    }
}

#[tokio::test]
async fn a_file_that_can_not_be_read_is_refused() {
    let (db, files) = (TestDatabase::empty().await, Files::of(&Authority::new().sign()));
    let dir = files.key.parent().unwrap().to_str().unwrap().to_owned();
    for (index, key) in ["server.tls_cert_file", "server.tls_key_file"].into_iter().enumerate() {
        for (path, cause) in [(dir.as_str(), "directory"), ("/nowhere/at/all.pem", "No such file")] {
            let mut overrides = files.overrides();
            overrides[index].1 = path;
            let said = why_it_does_not_start(&db, &overrides).await;
            assert!(said.starts_with(&format!("{key} {path} cannot be read: ")), "{said}");
            assert!(said.contains(cause) && said.contains("may read"), "{said}");
        }
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let files = [("server.tls_cert_file", "a.pem"), ("server.tls_key_file", "b.pem")];
    let domains = ("server.acme_domains", "login.example.com");
    for (overrides, key, mend) in [
        (vec![files[0]], "server.tls_key_file", "private key beside it"),
        (vec![files[1]], "server.tls_cert_file", "certificate beside it"),
        (vec![files[0], files[1], domains], "server.acme_domains", "empty one of the two"),
        (vec![("server.redirect_addr", "127.0.0.1:0")], "server.redirect_addr", "needs HTTPS"),
        (vec![files[0], files[1], ("server.redirect_addr", "80")], "server.redirect_addr", "must be ADDRESS:PORT"),
        (vec![("server.acme_domains", "*.example.com")], "server.acme_domains", "no wildcards"),
        (vec![("server.acme_domains", "192.0.2.1")], "server.acme_domains", "must be host names"),
        (vec![domains, ("server.acme_contact", "nobody")], "server.acme_contact", "must be an email address"),
        (vec![domains, ("server.acme_directory_url", "http://a/")], "server.acme_directory_url", "https://"),
        (vec![domains, ("server.acme_challenge", "dns-01")], "server.acme_challenge", "tls-alpn-01 or http-01"),
        (vec![domains, ("server.acme_challenge", "http-01")], "server.acme_challenge", "server.redirect_addr"),
        (vec![("server.hsts_max_age_s", "63072001")], "server.hsts_max_age_s", "from 0 to 63072000"),
        (vec![("server.handshake_timeout_ms", "0")], "server.handshake_timeout_ms", "from 1 to"),
        (vec![("server.max_connections_per_address", "0")], "server.max_connections_per_address", "from 1 to"),
    ] {
        let said = Config::with(&overrides).unwrap_err().to_string();
        assert!(said.starts_with(key) && said.contains(mend), "{said}");
    }
}

#[tokio::test]
async fn an_authority_that_can_not_be_trusted_is_refused() {
    let (home, db) = (Home::new(), TestDatabase::empty().await);
    let empty = home.write("empty.pem", "");
    for (path, cause) in [(empty.to_str().unwrap(), "it is empty"), ("/nowhere/at/all.pem", "")] {
        let data = home.data();
        let overrides = [
            ("data_dir", data.to_str().unwrap()),
            ("server.acme_domains", "login.example.com"),
            ("server.acme_ca_file", path),
        ];
        let said = why_it_does_not_start(&db, &overrides).await;
        assert!(said.starts_with("server.acme_ca_file") && said.contains(path) && said.contains(cause), "{said}");
    }
}

#[tokio::test]
async fn without_its_authority_it_starts_and_tells_of_it() {
    let (home, db, authority) = (Home::new(), TestDatabase::migrated().await, Authority::new());
    let ca = home.write("ca.pem", &authority.pem);
    let start = home
        .serve_on(&db)
        .env("ROLLCALL__SERVER__ACME_DOMAINS", "login.example.com")
        .env("ROLLCALL__SERVER__ACME_CA_FILE", ca.to_str().unwrap())
        // Nobody listens there.
        .env("ROLLCALL__SERVER__ACME_DIRECTORY_URL", "https://127.0.0.1:1/directory");
    let mut service = start.ready().await;
    service.program.logged("no new certificate from https://127.0.0.1:1/directory").await;
    assert!(try_connect(service.addr, authority.client(&[])).await.is_err(), "there is no certificate yet");
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn the_program_says_it_in_one_line() {
    let (home, db, authority) = (Home::new(), TestDatabase::empty().await, Authority::new());
    let now = OffsetDateTime::now_utc();
    let files = Files::of(&authority.sign_from_to(now - Duration::days(2), now - Duration::days(1)));
    for args in [["serve"], ["check"]] {
        let program = home
            .program(&args)
            .env("DATABASE_URL", &db.url())
            .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
            .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
            .env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "off")
            .env("ROLLCALL__SERVER__PORT", "0");
        let exit = program.env("JWT_SECRET", crate::harness::SECRET).run().await;
        assert_eq!(exit.code, Some(1), "{exit:?}");
        let said: Vec<_> = exit.stderr.lines().filter(|line| !line.starts_with('{')).collect();
        assert!(
            said.len() == 1 && said[0].contains("server.tls_cert_file") && said[0].contains("renew it"),
            "{exit:?}"
        );
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        text.extend((0..=group.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63])));
        text.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    text
}

/// The key in the older form that its kind has, which PKCS#8 wraps.
fn unwrapped(key: &KeyPair, label: &str) -> String {
    let (_, parsed) = x509_parser::der_parser::parse_der(key.serialized_der()).unwrap();
    let inner = base64(parsed.as_sequence().unwrap()[2].as_slice().unwrap());
    let lines: Vec<_> = inner.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label} PRIVATE KEY-----\n{}\n-----END {label} PRIVATE KEY-----\n", lines.join("\n"))
}

#[tokio::test]
async fn keys_of_every_usual_kind_and_form_are_served_with() {
    let authority = Authority::new();
    let ecdsa = KeyPair::generate().unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    for (key, form) in [
        (&ecdsa, ecdsa.serialize_pem()),
        (&ecdsa, unwrapped(&ecdsa, "EC")),
        (&p384, p384.serialize_pem()),
        (&p384, unwrapped(&p384, "EC")),
        (&ed25519, ed25519.serialize_pem()),
        (&rsa, rsa.serialize_pem()),
        (&rsa, unwrapped(&rsa, "RSA")),
    ] {
        let signed = Signed { key: form.clone(), ..authority.sign_key(key) };
        let chain = Signed { certificate: format!("{}{}", signed.certificate, authority.pem), ..signed.clone() };
        let app = TestApp::with(&Files::of(&chain).overrides()).await;
        let stream = try_connect(app.addr, authority.client_of(&[&TLS13], &[])).await.unwrap();
        assert_eq!(shown(&stream), signed.der(), "{}", form.lines().next().unwrap());
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap().len(), 2, "the whole chain is shown");
    }
}

#[tokio::test]
async fn changed_files_serve_new_connections_and_cut_none_off() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(), authority.sign());
    let files = Files::of(&first);
    let app = TestApp::with(&[&files.overrides()[..], &[WATCH]].concat()).await;
    let admin = app.admin();
    let stream = try_connect(app.addr, authority.client(&["http/1.1"])).await.unwrap();
    assert_eq!(shown(&stream), first.der());
    let mut old = Wire::over(stream);
    files.write(&second);
    until("the new certificate", async || is_shown(&app, &authority, &second).await).await;
    old.send(GET).await;
    old.answer().await.expect_json(200);
    assert_eq!((sample(&admin, LOADED).await, sample(&admin, FAILED).await), (2, 0));
}

#[tokio::test]
async fn a_broken_pair_stays_out_of_service_until_it_is_mended() {
    let authority = Authority::new();
    let (first, second) = (authority.sign(), authority.sign());
    let now = OffsetDateTime::now_utc();
    let old = authority.sign_from_to(now - Duration::days(2), now - Duration::days(1));
    let files = Files::of(&first);
    let app = TestApp::with(&[&files.overrides()[..], &[WATCH]].concat()).await;
    let admin = app.admin();
    let expiry = sample(&admin, EXPIRY).await;
    let mut failures = 0;
    for broken in [
        Signed { certificate: "garbage".to_owned(), ..second.clone() },
        Signed { key: first.key.clone(), ..second.clone() },
        old,
    ] {
        files.write(&broken);
        failures += 1;
        until("the complaint", async || sample(&admin, FAILED).await == failures).await;
        assert!(is_shown(&app, &authority, &first).await);
    }
    fs::remove_file(&files.key).unwrap();
    until("the complaint", async || sample(&admin, FAILED).await == failures + 1).await;
    assert!(is_shown(&app, &authority, &first).await);
    assert_eq!(sample(&admin, EXPIRY).await, expiry);
    files.write(&second);
    until("the mended pair", async || is_shown(&app, &authority, &second).await).await;
    assert_eq!((sample(&admin, LOADED).await, sample(&admin, FAILED).await), (2, failures + 1), "each is told once");
}

#[tokio::test]
async fn the_metric_tells_when_the_certificate_expires() {
    let authority = Authority::new();
    let end = OffsetDateTime::now_utc() + Duration::days(3);
    let files = Files::of(&authority.sign_from_to(OffsetDateTime::now_utc() - Duration::days(1), end));
    let app = TestApp::with(&files.overrides()).await;
    assert_eq!(sample(&app.admin(), EXPIRY).await, u64::try_from(end.unix_timestamp()).unwrap());
}

#[tokio::test]
async fn sighup_has_the_files_read_again_and_their_flaws_told() {
    let (home, db, authority) = (Home::new(), TestDatabase::migrated().await, Authority::new());
    let (first, second) = (authority.sign(), authority.sign());
    let files = Files::of(&first);
    let start = home
        .serve_on(&db)
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_WATCH_MS", "86400000")
        .env("ROLLCALL__TELEMETRY__LOG_FILTER", "trace");
    let mut service = start.ready().await;
    files.write(&Signed { certificate: second.certificate.clone(), key: first.key.clone() });
    service.program.signal(Signal::HUP);
    service.program.logged("the certificate in service stays: server.tls_key_file").await;
    files.write(&second);
    service.program.signal(Signal::HUP);
    let addr = service.addr;
    until("the new certificate", async || {
        shown(&try_connect(addr, authority.client(&[])).await.unwrap()) == second.der()
    })
    .await;
    let exit = service.stop().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.stderr.matches("the certificate in service stays").count(), 1);
    for signed in [first, second] {
        for line in signed.key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!exit.stderr.contains(line), "the log tells the key");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_expires_in_service_is_told_of_and_goes_on_to_be_served() {
    let (home, db, authority) = (Home::new(), TestDatabase::migrated().await, Authority::new());
    let now = OffsetDateTime::now_utc();
    let files = Files::of(&authority.sign_from_to(now - Duration::hours(1), now + Duration::seconds(12)));
    let start = home
        .serve_on(&db)
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_WATCH_MS", "50");
    let mut service = start.ready().await;
    let mut wire = Wire::over(try_connect(service.addr, authority.client(&["http/1.1"])).await.unwrap());
    service.program.logged("the certificate in service has expired").await;
    wire.send(GET).await;
    wire.answer().await.expect_json(200);
    // It is the client that refuses; its clock knows whole seconds.
    until("a client that refuses", async || {
        let refused = try_connect(service.addr, authority.client(&[])).await.err();
        refused.is_some_and(|refused| refused.to_string().contains("xpired"))
    })
    .await;
    // What comes instead is taken.
    files.write(&authority.sign());
    until("a new certificate", async || try_connect(service.addr, authority.client(&[])).await.is_ok()).await;
    let exit = service.stop().await;
    assert_eq!(exit.stderr.matches("has expired").count(), 1, "{exit:?}");
}

#[tokio::test]
async fn check_tells_until_when_the_certificate_holds() {
    let (home, db, authority) = (Home::new(), TestDatabase::migrated().await, Authority::new());
    let end = OffsetDateTime::now_utc() + Duration::days(3);
    let files = Files::of(&authority.sign_from_to(OffsetDateTime::now_utc() - Duration::days(1), end));
    let program = home
        .program(&["check"])
        .env("API_PORT", "0")
        .env("ROLLCALL__TELEMETRY__ADMIN_ADDR", "off")
        .env("DATABASE_URL", &db.url())
        .env("JWT_SECRET", crate::harness::SECRET)
        .env("ROLLCALL__HASHING__COST", "4")
        .env("ROLLCALL__SERVER__TLS_CERT_FILE", files.certificate.to_str().unwrap())
        .env("ROLLCALL__SERVER__TLS_KEY_FILE", files.key.to_str().unwrap());
    let exit = program.run().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.stdout.contains(&format!("certificate: good (until {}", end.date())), "{exit:?}");
}
