//! The import rule, read off the source: who may use which module, and where each heavy crate is at home.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that panics has said what it had to say")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules that it may use. Arrows point down: `main → cli → app → http → actors → {hashing, database} →
/// domain`. Configuration and telemetry are beside: all who act may read the one and count in the other.
const MODULES: [(&str, &[&str]); 9] = [
    ("cli", &["app", "http", "hashing", "database", "domain", "config", "telemetry"]),
    ("app", &["http", "actors", "hashing", "database", "domain", "config", "telemetry"]),
    ("http", &["actors", "domain", "config", "telemetry"]),
    ("actors", &["hashing", "database", "domain", "config", "telemetry"]),
    ("hashing", &["domain", "config", "telemetry"]),
    ("database", &["domain", "config", "telemetry"]),
    ("telemetry", &["domain", "config"]),
    // The range and the type of a cost are hashing's to say.
    ("config", &["domain", "hashing"]),
    ("domain", &[]),
];

/// Crates, and the files that may name them, each by the beginning of its path.
const HOMES: [(&[&str], &[&str]); 13] = [
    (&["hyper", "hyper_util", "http_body_util", "matchit", "utoipa", "utoipa_swagger_ui", "aide", "flate2"], &["http"]),
    (
        &["ractor"],
        &[
            "actors", // Holds the supervisor's cell, to stop it.
            "app.rs",
        ],
    ),
    (&["tokio_postgres"], &["database", "actors/user", "actors/attempts", "actors/audit"]),
    (
        &["deadpool_postgres"],
        &[
            "database",
            "actors/user",
            "actors/attempts",
            "actors/audit",
            // The pool on its way to the actors.
            "app.rs",
            "actors.rs",
            // The pool whose state the admin listener tells.
            "http/admin.rs",
        ],
    ),
    (&["jsonwebtoken"], &["actors/token"]),
    (&["bcrypt"], &["hashing"]),
    (&["tokio_rustls", "rustls_acme", "x509_parser"], &["http/tls"]),
    (
        &["rustls"],
        &[
            "http/tls", // To PostgreSQL.
            "database/tls",
        ],
    ),
    (&["socket2"], &["http/unsent"]),
    (&["prometheus"], &["telemetry"]),
    (&["strsim", "toml"], &["config"]),
    (&["governor"], &["http/limits/local"]),
    (
        &["redis"],
        &[
            "http/limits/shared", // Which URLs its client understands is the client's to say.
            "config/limits",
        ],
    ),
];

/// Who may read the environment: configuration, and the search for the server's binaries.
const ENVIRONMENT: [&str; 2] = ["config", "database/local"];

/// Where statements are written.
const SQL: [&str; 4] = ["database", "actors/user/store", "actors/attempts/store", "actors/audit/store"];

/// Every file below `src` with its path there.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, code(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
    assert!(found.len() > 40, "the sources are found");
    found
}

/// The text without comments and string literals on one line, and without the tests at its end, which may use anything.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut code = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        // Odd pieces between quotes are literals.
        for piece in line.split('"').step_by(2) {
            code.push_str(piece.split(" // ").next().unwrap());
            code.push(' ');
        }
        code.push('\n');
    }
    code
}

/// The module at the top that a file belongs to.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn is_below(file: &str, home: &str) -> bool {
    file == home || file.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Every name that stands directly before `::` and not itself after one.
fn roots(code: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = code.get(..at).unwrap();
        let name = before.rsplit(|c| !is_name(c)).next().unwrap();
        let rest = before.strip_suffix(name).unwrap();
        if !rest.ends_with("::") {
            found.insert(name);
        }
    }
    found
}

/// The modules that a file names by `crate::`, alone or in a group.
fn used(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        if code.get(..at).unwrap().ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code.get(at + matched.len()..).unwrap();
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut name = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        name.push(c);
                    }
                }
                found.extend(
                    name.split(',').map(|item| first_name(item.trim()).to_owned()).filter(|name| !name.is_empty()),
                );
            }
            None => drop(found.insert(first_name(rest).to_owned())),
        }
    }
    found
}

fn first_name(text: &str) -> &str {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut broken = Vec::new();
    for (file, code) in sources() {
        let own = module(&file);
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == own) else {
            assert!(["main", "lib"].contains(&own), "src/{file} has no place in the table");
            continue;
        };
        for name in used(&code) {
            if name != own && !allowed.contains(&name.as_str()) {
                broken.push(format!("src/{file} uses crate::{name}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn heavy_crates_stay_at_home() {
    let mut broken = Vec::new();
    for (file, code) in sources() {
        for root in roots(&code) {
            let home = HOMES.iter().find(|(crates, _)| crates.contains(&root));
            // A module of the same name is no crate: `crate::hashing::…` is told apart above, `use http::…` by its home.
            if let Some((_, homes)) = home
                && !homes.iter().any(|home| is_below(&file, home.trim_end_matches(".rs")) || file == *home)
            {
                broken.push(format!("src/{file} uses {root}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let reads = |code: &str| {
        ["env::var", "env::vars", "env::set_var", "env::remove_var", "env::args", "env::temp_dir", "env::current_dir"]
            .iter()
            .any(|name| code.contains(name))
    };
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|(file, code)| reads(code) && !ENVIRONMENT.iter().any(|home| is_below(file, home)))
        .map(|(file, _)| file)
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Files that start tasks, and how many in each place. A task that must live is a loop that `Part::keep_running` starts again;
/// the others work for one batch, one connection or one request, whose caller sees that they are gone.
const SPAWNS: [(&str, usize); 10] = [
    ("actors/attempts.rs", 3),
    ("actors/token.rs", 1),
    ("actors/user.rs", 4),
    ("app.rs", 4),
    ("app/front.rs", 4),
    ("database/cancel.rs", 1),
    ("database/hosts.rs", 1),
    ("database/local/keeper.rs", 1),
    ("http/admin.rs", 1),
    ("http/handlers/login.rs", 2),
];

#[test]
fn tasks_are_started_where_somebody_sees_their_end() {
    let mut found: Vec<_> = sources()
        .into_iter()
        .map(|(file, code)| (file, code.matches("tokio::spawn(").count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    found.sort();
    let found: Vec<_> = found.iter().map(|(file, count)| (file.as_str(), *count)).collect();
    assert_eq!(found, SPAWNS, "is the new task watched? a loop belongs in a Part");
}

#[test]
fn status_codes_are_known_to_http_alone() {
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|(file, code)| code.contains("StatusCode") && module(file) != "http")
        .map(|(file, _)| file)
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn sql_is_written_where_the_database_is_at_home() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let broken: Vec<_> = sources()
        .into_iter()
        .map(|(file, _)| file)
        .filter(|file| !SQL.iter().any(|home| is_below(file, home)))
        .filter(|file| {
            let text = fs::read_to_string(root.join(file)).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            ["\"SELECT ", "\"INSERT INTO ", "\"UPDATE ", "\"DELETE FROM "].iter().any(|verb| text.contains(verb))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn modules_are_files_beside_their_directories() {
    let broken: Vec<_> = sources().into_iter().map(|(file, _)| file).filter(|file| file.ends_with("mod.rs")).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_checks_see_what_they_are_for() {
    let text = "use crate::http::error;\nuse crate::{actors::Handles, config};\n// crate::cli\nlet x = crate::app::X; \"crate::main\"\nmy_crate::domain";
    let seen: Vec<_> = used(&code(text)).into_iter().collect();
    assert_eq!(seen, ["actors", "app", "config", "http"]);
    let text = "use hyper::body;\nuse super::body::hyper::x;\nlet y = tokio_postgres::NoTls; // bcrypt::x";
    let code = code(text);
    let seen: Vec<_> = roots(&code).into_iter().filter(|name| !["super"].contains(name)).collect();
    assert_eq!(seen, ["hyper", "tokio_postgres"]);
    assert!(is_below("actors/user/store.rs", "actors/user") && is_below("actors/user.rs", "actors/user"));
    assert!(!is_below("actors/user_store.rs", "actors/user") && !is_below("http.rs", "actors"));
}
