//! Rollcall.
pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod database;
pub mod domain;
pub mod hashing;
pub mod http;
pub mod telemetry;
