//! Rollcall: user registration and authentication over HTTP. This page is the map of the code.
//!
//! # Three requests
//!
//! ```text
//! register: body → NewUser::parse → hasher.hash → users.insert (UNIQUE decides) → 201
//! login:    body → attempts.reserve, users.find_by_email → hasher.verify (found hash or decoy) → attempts.resolve
//!           → tokens.sign → 200
//! me:       bearer → tokens.verify → users.find_by_id → 200
//! ```
//!
//! A connection is accepted in [`http::server`], a request passes [`http::gate`] with its rate limits, is routed in
//! [`http::service`] and answered by one file below [`http::handlers`]. The handlers are the only place where steps are
//! joined: data flows as a star, and actors never call each other. No database connection, permit or lock is held across
//! a hash or a slow client.
//!
//! # The supervision tree
//!
//! ```text
//! Supervisor ─ user       lookups gather beside its mailbox, writes behind it; both leave in batches
//!            ├ attempts   who may try now, and who waits for it; the counters are the database's
//!            ├ hasher     a factory: bounded queue, deadline, shedding, priorities
//!            │  └ hasher ×N   holds one job at a time, computed on an engine's thread
//!            ├ token      owns the key ring; answers in microseconds
//!            └ audit      chains the events that others wrote
//! ```
//!
//! An actor that dies is replaced ([`actors::supervisor`]); whoever waited for it gets 503, nobody hangs. The loops beside them
//! (accepting, the admin listener, upkeep of limits, certificate and pool) are started again where they panic
//! ([`telemetry::Part::keep_running`]). Both have the restart budget of [`telemetry::Health`], which `/livez` and `/readyz` ask.
//!
//! # The import rule
//!
//! Arrows only point down: `main → cli → app → http → actors → {hashing, database} → domain`. [`config`] and [`telemetry`]
//! are beside: everyone may read settings and count. Every heavy crate has one home: hyper and its kin in `http`, rustls in
//! `http::tls` and `database::tls`, governor and redis in `http::limits`, ractor in `actors`, tokio-postgres and deadpool in
//! `database`, `actors::{user, attempts, audit}`, jsonwebtoken in `actors::token`, bcrypt in `hashing`, prometheus in
//! `telemetry`. A status code never appears below `http`, a message enum never above `actors`. `tests/layout.rs` enforces it.

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
