//! Whom a request counts for: the peer, or whom a trusted proxy names. Never whom a client names.

use std::net::{IpAddr, Ipv4Addr};

use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use rollcall::domain::network::Network;
use rollcall::http::client::Proxies;
use rollcall::http::client::forwarded::{Hop, hops, x_hops};

use crate::harness::{Answer, Home, TestApp, TestDatabase};

/// One request at a time, and no other for a minute.
const STRICT: [(&str, &str); 2] = [("limits.other_per_second", "0"), ("limits.register_per_minute", "1")];

/// A service where each client may register once.
async fn strict(trusted: &str) -> TestApp {
    let mut keys = STRICT.to_vec();
    keys.extend([("limits.register_burst", "1"), ("server.trusted_proxies", trusted)]);
    TestApp::with(&keys).await
}

async fn register(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.request("POST", "/api/users/register").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Full::from("{}")).unwrap()).await
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_count_one_by_one() {
    let app = strict("127.0.0.0/8").await;
    for n in 0..20 {
        for header in [("x-forwarded-for", format!("198.51.100.{n}")), ("forwarded", format!("for=203.0.113.{n}"))] {
            let header = (header.0, header.1.as_str());
            register(&app, &[header]).await.expect_refusal(422, "validation_failed");
            register(&app, &[header]).await.expect_refusal(429, "rate_limited");
        }
    }
}

#[tokio::test]
async fn clients_cannot_choose_their_address_without_a_trusted_proxy() {
    let app = strict("192.0.2.0/24").await;
    register(&app, &[]).await.expect_refusal(422, "validation_failed");
    for n in 0..5 {
        register(&app, &[("x-forwarded-for", &format!("198.51.100.{n}"))]).await.expect_refusal(429, "rate_limited");
        register(&app, &[("forwarded", &format!("for=198.51.100.{n}"))]).await.expect_refusal(429, "rate_limited");
    }
}

#[tokio::test]
async fn clients_cannot_choose_their_address_behind_a_trusted_proxy() {
    let app = strict("127.0.0.1, 10.0.0.0/8").await;
    register(&app, &[("x-forwarded-for", "198.51.100.7")]).await.expect_refusal(422, "validation_failed");
    for n in 0..5 {
        for line in [format!("203.0.113.{n}, 198.51.100.7"), format!("203.0.113.{n}, 198.51.100.7, 10.1.2.3")] {
            register(&app, &[("x-forwarded-for", &line)]).await.expect_refusal(429, "rate_limited");
        }
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")];
        register(&app, &lines).await.expect_refusal(429, "rate_limited");
    }
    // Headers that contradict each other: the proxy itself, whatever they say.
    let liar = |n| [("forwarded", format!("for=203.0.113.{n}")), ("x-forwarded-for", "198.51.100.7".to_owned())];
    for (n, status) in [(1, 422), (2, 429), (3, 429)] {
        let lines = liar(n);
        let lines = [(lines[0].0, lines[0].1.as_str()), (lines[1].0, lines[1].1.as_str())];
        assert_eq!(register(&app, &lines).await.status, status);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_told_of_once() {
    let (home, db) = (Home::new(), TestDatabase::migrated().await);
    let mut service = home.serve_on(&db).ready().await;
    for n in 0..3 {
        let request = service.request("GET", "/").header("x-forwarded-for", format!("198.51.100.{n}"));
        assert_eq!(service.send(request.body(Full::default()).unwrap()).await.status, 200);
    }
    service.program.logged("server.trusted_proxies").await;
    let exit = service.stop().await;
    assert_eq!(exit.stderr.matches("server.trusted_proxies").count(), 1, "{}", exit.stderr);
    assert!(!exit.stderr.contains("198.51.100"), "{}", exit.stderr);
}

#[tokio::test]
async fn nonsense_in_the_list_of_proxies_is_an_error() {
    let home = Home::new();
    for (value, words) in [
        ("10.0.0.0/8, proxy.example.com", "\"proxy.example.com\""),
        ("10.0.0.0/33", "\"10.0.0.0/33\""),
        ("10.0.0", "\"10.0.0\""),
        ("0.0.0.0/0", "must not be 0.0.0.0/0"),
        ("10.0.0.1, ::/0", "must not be ::/0"),
    ] {
        let exit = home.serve().env("ROLLCALL__SERVER__TRUSTED_PROXIES", value).run().await;
        exit.expect_failure(&["server.trusted_proxies", "ROLLCALL__SERVER__TRUSTED_PROXIES in the environment", words]);
    }
}

const XFF: HeaderName = HeaderName::from_static("x-forwarded-for");
const FWD: HeaderName = HeaderName::from_static("forwarded");

fn proxies() -> Proxies {
    Proxies::new(vec!["10.0.0.0/8".parse().unwrap()])
}

/// What an attacker may send: nonsense, and what is nearly right.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~\t]{0,60}",
        "(for=|For=|by=|\"|\\\\|;|,|=|\\[|\\]|:|_|unknown|10\\.0\\.0\\.1|198\\.51\\.100\\.7|2001:db8::1|80| ){0,20}",
    ]
}

proptest! {
    #[test]
    fn any_line_is_read_without_a_panic(line in any::<String>(), near in hostile()) {
        for text in [&line, &near] {
            prop_assert!(!hops(text).is_empty());
            prop_assert_eq!(x_hops(text).len(), text.split(',').count());
        }
    }

    #[test]
    fn what_a_proxy_writes_is_read_back(addr in any::<IpAddr>(), port in any::<u16>(), quoted in any::<bool>()) {
        let expected = [Hop::Address(addr.to_canonical())];
        let node = match addr {
            IpAddr::V4(addr) => format!("{addr}:{port}"),
            IpAddr::V6(addr) => format!("[{addr}]:{port}"),
        };
        let value = if quoted { format!("\"{node}\"") } else { node.clone() };
        prop_assert_eq!(hops(&format!("proto=https;FOR={value};by=_me")), expected);
        prop_assert_eq!(x_hops(&node), expected);
        prop_assert_eq!(x_hops(&addr.to_string()), expected);
    }

    #[test]
    fn no_client_chooses_its_address(lines in vec(hostile(), 0..4), other in vec(hostile(), 0..3), own in any::<u32>(), same_line in any::<bool>(), v6 in any::<bool>()) {
        let own: IpAddr = Ipv4Addr::from_bits(own).into();
        prop_assume!(!"10.0.0.0/8".parse::<ipnet::IpNet>().unwrap().contains(&own));
        let peer: IpAddr = "10.0.0.2".parse().unwrap();
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        for (name, told) in [(&XFF, own.to_string()), (&FWD, if v6 { format!("for=\"{own}\";by=\"[::1]\"") } else { format!("for={own}") })] {
            let mut headers = HeaderMap::new();
            let mut written = lines.clone();
            match written.last_mut().filter(|_| same_line) {
                Some(line) => { line.push_str(", "); line.push_str(&told); }
                None => written.push(told),
            }
            for line in &written {
                headers.append(name, HeaderValue::from_str(line).unwrap());
            }
            for line in &other {
                headers.append(if *name == XFF { FWD } else { XFF }, HeaderValue::from_str(line).unwrap());
            }
            let client = proxies().client(peer, &headers).network;
            let honest = [own, peer, proxy].map(Network::of);
            prop_assert!(honest.contains(&client), "{headers:?} leads to {client}");
            if other.is_empty() && (*name == XFF || !same_line || lines.is_empty()) {
                prop_assert_eq!(client, Network::of(own), "{:?}", headers);
            }
        }
    }
}
