//! Endpoints about the service.

pub mod root;
