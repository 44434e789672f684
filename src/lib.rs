//! Rollcall: user registration and authentication over HTTP. This page is the map of the code.
//!
//! # Three requests
//!
//! ```text
//! register: body → name, email and password parsed → hasher.hash → users.insert (UNIQUE decides) → 201
//! login:    body → attempts.reserve, users.find_by_email → hasher.verify (found hash or decoy) → attempts.resolve
//!           → tokens.sign → 200
//! me:       bearer → tokens.verify → users.find_by_id → 200
//! ```
//!
//! A connection is accepted in [`http::listener`], a request passes [`http::gate`] with its rate limits, finds its endpoint in
//! [`http::service`] and is answered by one file below `features/*/api`. Endpoints are the only place where steps are joined:
//! data flows as a star, and actors never call each other. No database connection, permit or lock is held across a hash or a
//! slow client.
//!
//! # The supervision tree
//!
//! ```text
//! Supervisor ─ user       lookups and writes gather beside it, and leave in batches
//!            ├ attempts   logins gather beside it in lines, their ends too; the counters are the database's
//!            ├ hasher     a factory: bounded queue, deadline, shedding, priorities
//!            │  └ hasher ×N   holds one job at a time, computed on an engine's thread
//!            ├ token      keeps the key ring fresh; signing and verifying read a snapshot of it in the caller's task
//!            └ audit      chains the events that others wrote
//! ```
//!
//! An actor that dies is replaced ([`actors::supervisor`]); its callers get 503, nobody hangs. The loops beside the
//! actors (accepting, the admin listener, upkeep of limits, certificate and pool) are restarted when they panic
//! ([`telemetry::Part::keep_running`]). Both have the restart budget of [`telemetry::Health`], which `/livez` and
//! `/readyz` report.
//!
//! # Features over rooms
//!
//! A capability is a folder in [`features`], with the same file names in each: `api` (one endpoint a file), `handle`
//! (what others may call), `actor` or `pool`, `store` (all SQL), `types`, `metrics`, `cli` (its subcommand). Its
//! [`features::Manifest`] names its migrations, audit events and checks; building it gives a [`features::Feature`] with
//! its endpoints, actors, reports and readiness. The rooms below know no feature: [`http`], [`actors`], [`database`],
//! [`hashing`]. [`app::features`] builds the features, in the order in which they need each other. [`terminal`] is what
//! commands print and ask with.
//!
//! # The rules
//!
//! 1. Arrows only point down: `main → cli → app → features → {http, actors, database, hashing} → {config, telemetry, crypto,
//!    domain}`.
//! 2. A feature names another only by its `handle` and its `types`, and only in `api` and where it is built: the star stays.
//! 3. File names decide rights: ractor in `actors`, `actor.rs` and `pool.rs`; SQL in `store.rs`, `store/` and `database`; statuses
//!    in `http` and `api`; hyper in `http` and `api`; jsonwebtoken in `features/tokens`; bcrypt in `hashing`.
//! 4. A body is one struct for parser and document, and one refusal lists all its broken rules.
//! 5. No central list knows all endpoints: router, limits, metrics and documents are built from what features bring.
//!
//! `tests/layout.rs` enforces 1 to 3.

#![cfg_attr(coverage, feature(coverage_attribute))]

pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod database;
pub mod domain;
pub mod features;
pub mod hashing;
pub mod http;
pub mod telemetry;
pub mod terminal;
