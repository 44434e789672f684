//! The tables of docs/api.md, and what the OpenAPI document repeats, against the service.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::Full;
use hyper::StatusCode;
use rollcall::config::Config;
use rollcall::features::accounts::types::email::Email;

use crate::harness::TestApp;

const API: &str = include_str!("../../docs/api.md");
const CATALOGUE: &str = include_str!("../../src/http/error/catalogue.rs");

/// The rows of the table with this header, as cells.
fn rows(header: &str) -> Vec<Vec<&'static str>> {
    let table =
        API.split_once(&format!("\n{header}\n")).unwrap_or_else(|| panic!("docs/api.md has no table {header}")).1;
    let lines = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_of_refusals_is_the_catalogue() {
    let told: BTreeSet<_> = rows("| status | code | when | what a client does |")
        .iter()
        .map(|row| (row[0].parse::<u16>().unwrap(), quoted(row[1]).next().unwrap()))
        .collect();
    let number = |name: &str| {
        let mut all = (400..600).filter_map(|number| StatusCode::from_u16(number).ok());
        let is_it = |status: &StatusCode| {
            status.canonical_reason().is_some_and(|words| words.to_uppercase().replace([' ', '-'], "_") == name)
        };
        all.find(is_it).unwrap_or_else(|| panic!("{name}")).as_u16()
    };
    let known: BTreeSet<_> = CATALOGUE
        .split("StatusCode::")
        .skip(1)
        .map(|rest| (number(rest.split_once(',').unwrap().0), rest.split('"').nth(1).unwrap()))
        .collect();
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(told, known);
}

#[test]
fn the_table_of_rate_limits_is_the_defaults() {
    let told: BTreeSet<_> = rows("| kind | requests | long-run rate | burst |")
        .iter()
        .map(|row| {
            let (number, unit) = row[2].split_once(" a ").unwrap();
            let unit = if unit == "minute" { Duration::from_mins(1) } else { Duration::from_secs(1) };
            let [number, burst] = [number, row[3]].map(|text| text.replace(',', "").parse::<u32>().unwrap());
            (quoted(row[0]).next().unwrap(), unit / number, burst)
        })
        .collect();
    let defaults = Config::parse("").unwrap();
    let known: BTreeSet<_> =
        defaults.limits.rates.classes.iter().map(|(name, rate)| (*name, rate.period, rate.burst.get())).collect();
    assert_eq!(told, known);
}

#[tokio::test]
async fn the_table_of_paths_is_what_is_served() {
    let app = TestApp::start().await;
    let mut told = BTreeSet::new();
    for row in rows("| path | methods | does |") {
        for path in quoted(row[0]).filter(|path| path.starts_with('/')) {
            told.insert(path);
            let path = path.replace("{file}", "swagger-ui.css");
            let answer = app.send(app.request("OPTIONS", &path).body(Full::default()).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, Some(row[1])), "{path}");
        }
    }
    let document = app.get("/openapi.json").await.expect_json(200);
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(told.contains(path.as_str()), "{path}");
    }
}

/// The service's rule is code, and clients are told a pattern. PostgreSQL reads it as browsers do.
#[tokio::test]
async fn the_pattern_of_an_email_is_the_rule_of_the_service() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect_json(200);
    let schemas = document["components"]["schemas"].as_object().unwrap().values();
    let patterns: BTreeSet<_> =
        schemas.filter_map(|schema| schema["properties"]["email"]["pattern"].as_str()).collect();
    assert_eq!(patterns.len(), 1, "{patterns:?}");
    let locals =
        ["a", "A.b", "a.b.c", "a_%+-9", "", ".a", "a.", "a..b", " a", "a b", "ä", "\"a\"", "a\n", "a@b", "a,b"];
    let domains = [
        "b.co",
        "B.Example.COM",
        "a-b.c9.info",
        "-.co",
        "b",
        "b.c",
        "b.c1",
        "b.co1",
        "b..co",
        ".co",
        "b_.co",
        "b.co.",
        "b.co ",
        "b.co\n",
        "bü.de",
        "b.dü",
        "[127.0.0.1]",
        "b.co@c.de",
        "",
    ];
    let texts: Vec<_> =
        locals.iter().flat_map(|local| domains.iter().map(move |domain| format!("{local}@{domain}"))).collect();
    let sql = "SELECT text, text ~ $2 FROM unnest($1::text[]) AS text";
    let pattern = patterns.first().unwrap();
    let mut good = 0;
    for row in app.db.rows(sql, &[&texts, pattern]).await {
        let (text, matches): (String, bool) = (row.get(0), row.get(1));
        assert_eq!(Email::parse(&text).is_ok(), matches, "{text:?}");
        good += usize::from(matches);
    }
    assert_eq!(good, 4 * 4, "each good part before each good one after");
}
