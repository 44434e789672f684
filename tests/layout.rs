//! The layout rules, read off the source: which room may use which, what features may know of each other, where each heavy
//! crate is at home, and what is built in from others.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that panics has said what it had to say")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A room, and the rooms that it may use. Arrows point down: `main → cli → app → features → {http, actors, database, hashing} →
/// {config, telemetry, crypto, domain}`.
const ROOMS: [(&str, &[&str]); 12] = [
    ("cli", &["app", "features", "http", "hashing", "database", "crypto", "domain", "config", "telemetry", "terminal"]),
    ("app", &["features", "http", "actors", "hashing", "database", "crypto", "domain", "config", "telemetry"]),
    ("features", &["http", "actors", "hashing", "database", "crypto", "domain", "config", "telemetry", "terminal"]),
    ("http", &["crypto", "domain", "config", "telemetry"]),
    ("actors", &["telemetry"]),
    ("hashing", &["config", "telemetry"]),
    ("database", &["crypto", "domain", "config", "telemetry"]),
    ("telemetry", &["domain", "config"]),
    // The range and the type of a cost are hashing's to say; the form of a key is crypto's.
    ("config", &["crypto", "domain", "hashing"]),
    ("crypto", &["domain"]),
    ("domain", &[]),
    ("terminal", &[]),
];

/// What a feature may name of another one.
const SHARED: [&str; 2] = ["handle", "types"];

/// Crates, and the files that may name them, each by the beginning of its path; `*` is any feature.
const HOMES: [(&[&str], &[&str]); 13] = [
    (&["hyper_util", "http_body_util", "matchit", "utoipa_swagger_ui", "aide", "flate2"], &["http"]),
    // An endpoint says its statuses, its headers and its types.
    (&["hyper", "utoipa"], &["http", "features/*/api", "features/*/types"]),
    (&["ractor"], &["actors", "features/*/actor", "features/*/pool", "features/*/queue", "app/running"]),
    (&["tokio_postgres"], &["database", "features/*/store", "features/*/actor"]),
    (&["deadpool", "deadpool_postgres"], &["database"]),
    (&["jsonwebtoken"], &["features/tokens"]),
    (&["bcrypt"], &["hashing"]),
    (&["tokio_rustls", "rustls_acme", "x509_parser"], &["http/tls"]),
    (&["rustls"], &["http/tls", "database/tls", "crypto/authorities"]),
    (&["socket2"], &["http/send_buffer"]),
    (&["prometheus"], &["telemetry"]),
    (&["strsim", "toml"], &["config"]),
    // Which URLs Redis's client understands is the client's to say.
    (&["governor", "redis"], &["http/limits", "config/limits"]),
];

/// Who may read the environment: configuration, and the search for the server's binaries.
const ENVIRONMENT: [&str; 2] = ["config", "database/local"];

/// Where statements are written.
const SQL: [&str; 2] = ["database", "features/*/store"];

/// Where statuses are known.
const STATUSES: [&str; 2] = ["http", "features/*/api"];

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

/// The module that a file is: `features/login/store.rs` is `features::login::store`.
fn module(file: &str) -> Vec<String> {
    file.trim_end_matches(".rs").split('/').map(str::to_owned).collect()
}

/// Whether `file` is `home`, or lies below it; `*` in `home` is any name.
fn is_below(file: &str, home: &str) -> bool {
    let (file, home) = (module(file), module(home));
    file.len() >= home.len() && file.iter().zip(&home).all(|(part, home)| home == "*" || part == home)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every name that stands directly before `::` and not itself after one.
fn roots(code: &str) -> BTreeSet<&str> {
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

/// The paths in the crate that a file names, by `crate::` or `super::`, alone or in groups, from the crate's root on.
fn used(file: &str, code: &str) -> BTreeSet<Vec<String>> {
    let own = module(file);
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let before = code.get(..at).unwrap();
            // Within a name or a path it begins none.
            if before.ends_with(|c: char| is_name(c) || c == ':') {
                continue;
            }
            expand(&mut code.get(at..).unwrap().chars().peekable(), Vec::new(), &mut found);
        }
    }
    found.into_iter().map(|path| absolute(&own, &path)).collect()
}

/// Reads a path with its groups, from its first name on.
fn expand(
    text: &mut std::iter::Peekable<std::str::Chars<'_>>,
    mut path: Vec<String>,
    found: &mut BTreeSet<Vec<String>>,
) {
    loop {
        let mut name = String::new();
        while let Some(c) = text.next_if(|c| is_name(*c)) {
            name.push(c);
        }
        if !name.is_empty() {
            path.push(name);
        }
        if text.next_if_eq(&':').is_none() || text.next_if_eq(&':').is_none() {
            found.insert(path);
            return;
        }
        if text.next_if_eq(&'{').is_some() {
            loop {
                while text.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
                if text.next_if_eq(&'}').is_some() {
                    return;
                }
                expand(text, path.clone(), found);
                // `as other` and generics, up to the next name.
                while text.next_if(|c| !",}".contains(*c)).is_some() {}
                if text.peek().is_none() {
                    return;
                }
            }
        }
    }
}

/// A path from the crate's root on, as `module` writes it.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    let mut whole = if ups == 0 { Vec::new() } else { module.get(..module.len() - ups).unwrap().to_vec() };
    whole.extend(path.iter().filter(|name| !["super", "crate", "self"].contains(&name.as_str())).cloned());
    whole
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut broken = Vec::new();
    for (file, code) in sources() {
        let own = module(&file).remove(0);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == own) else {
            assert!(["main", "lib"].contains(&own.as_str()), "src/{file} has no place in the table");
            continue;
        };
        for path in used(&file, &code) {
            if let Some(room) = path.first()
                && ROOMS.iter().any(|(name, _)| name == room)
                && *room != own
                && !allowed.contains(&room.as_str())
            {
                broken.push(format!("src/{file} uses {}", path.join("::")));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The star stays: only endpoints and what builds a feature join others, and they see handles and types alone.
#[test]
fn features_know_only_handles_and_types_of_each_other() {
    let mut broken = Vec::new();
    for (file, code) in sources() {
        let own = module(&file);
        let (Some("features"), Some(feature)) = (own.first().map(String::as_str), own.get(1)) else { continue };
        let may_join = own.len() == 2 || own.get(2).is_some_and(|part| part == "api");
        for path in used(&file, &code) {
            let (Some("features"), Some(other)) = (path.first().map(String::as_str), path.get(1)) else { continue };
            // What `features.rs` itself has is everybody's.
            let is_feature = Path::new("src/features").join(format!("{other}.rs")).exists();
            if other == feature || !is_feature {
                continue;
            }
            let is_shared = path.get(2).is_some_and(|part| SHARED.contains(&part.as_str()));
            if !may_join || !is_shared {
                broken.push(format!("src/{file} uses {}", path.join("::")));
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
            if let Some((_, homes)) = home
                && !homes.iter().any(|home| is_below(&file, home))
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
const SPAWNS: [(&str, usize); 9] = [
    ("actors/batcher.rs", 3),
    ("app.rs", 4),
    ("app/front.rs", 4),
    ("database/cancel.rs", 1),
    ("database/hosts.rs", 1),
    ("database/local/keeper.rs", 1),
    ("features/login/api/login.rs", 2),
    ("features/tokens/actor.rs", 1),
    ("http/admin.rs", 1),
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
fn status_codes_are_known_to_endpoints_alone() {
    let broken: Vec<_> = sources()
        .into_iter()
        .filter(|(file, code)| code.contains("StatusCode") && !STATUSES.iter().any(|home| is_below(file, home)))
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

/// Crates that there is another choice for: TLS and cryptography are rustls and aws-lc-rs.
const UNWANTED: [&str; 4] = ["openssl", "openssl-sys", "native-tls", "ring"];

/// Licences that ask for no more than to be named.
const PERMISSIVE: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "LLVM-exception",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Name and licence of every crate that is built here, for the program, its build or its tests. The lock file and `cargo
/// metadata` name others too: those of other systems, which may not be at hand, and those of features that are off, such as
/// ring for rustls-webpki.
fn built() -> Vec<(String, String)> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "-e", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    let crates: Vec<_> =
        lines.map(|(name, licence)| (name.split(' ').next().unwrap().to_owned(), licence.to_owned())).collect();
    assert!(crates.iter().any(|(name, _)| name == "rustls-webpki"), "crates of crates are told too");
    crates
}

#[test]
fn there_is_one_tls_and_one_cryptography() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    // Named for a feature that is off; the next check is the one that counts.
    let locked: Vec<_> = UNWANTED.iter().filter(|name| lock.contains(&format!("name = \"{name}\"\n"))).collect();
    assert!(locked.iter().all(|name| **name == "ring"), "{locked:?} in Cargo.lock");
    let found: BTreeSet<_> = built().into_iter().map(|(name, _)| name).collect();
    let found: Vec<_> = UNWANTED.iter().filter(|name| found.contains(**name)).collect();
    assert!(found.is_empty(), "{found:?} is built");
}

#[test]
fn licences_are_permissive() {
    let broken: BTreeSet<_> = built()
        .into_iter()
        .filter(|(_, licence)| {
            let mut names = licence.split(|c: char| " /()".contains(c)).filter(|word| !word.is_empty()).peekable();
            names.peek().is_none()
                || names.any(|name| !["AND", "OR", "WITH"].contains(&name) && !PERMISSIVE.contains(&name))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (mut section, mut seen, mut silent) = ("", 0, Vec::new());
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") {
            seen += 1;
            if line.split_once(" # ").is_none_or(|(_, reason)| reason.trim().is_empty()) {
                silent.push(line);
            }
        }
    }
    assert!(seen > 40, "the dependencies are found");
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn the_checks_see_what_they_are_for() {
    let text = "use crate::http::error;\nuse crate::{actors::Call, config::{self, A as B}};\n// crate::cli\nlet x = crate::app::X; \
                \"crate::main\"\nmy_crate::domain\nuse super::store::{Row, inner::Deep};\nlet y = super::super::accounts::handle::H;";
    let seen: Vec<_> = used("features/login/lease.rs", &code(text)).iter().map(|path| path.join("::")).collect();
    let expected = [
        "actors::Call",
        "app::X",
        "config",
        "config::A",
        "features::accounts::handle::H",
        "features::login::store::Row",
        "features::login::store::inner::Deep",
        "http::error",
    ];
    assert_eq!(seen, expected);
    let text = "use hyper::body;\nuse super::body::hyper::x;\nlet y = tokio_postgres::NoTls; // bcrypt::x";
    let code = code(text);
    let seen: Vec<_> = roots(&code).into_iter().filter(|name| !["super"].contains(name)).collect();
    assert_eq!(seen, ["hyper", "tokio_postgres"]);
    assert!(
        is_below("features/a/store.rs", "features/*/store") && is_below("features/a/store/b.rs", "features/*/store")
    );
    assert!(!is_below("features/a/storehouse.rs", "features/*/store") && !is_below("http.rs", "actors"));
}
