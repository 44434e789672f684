//! The HTTP front end: raw hyper, from the socket to the actors and back.
//!
//! [`server`] accepts connections, [`router`] finds what a request wants, one file below [`handlers`] answers it, and
//! [`reply`] and [`error`] say how an answer and a refusal look. Status codes are known here and nowhere below.

pub mod admin;
pub mod bearer;
pub mod body;
pub mod client;
mod clock;
pub mod cors;
pub mod docs;
pub mod endpoint;
pub mod error;
pub(crate) mod etag;
pub mod gate;
pub mod limits;
pub mod networks;
pub mod redirect;
pub mod reply;
mod request_id;
mod route_metrics;
pub mod router;
mod security;
mod send_buffer;
pub mod server;
pub mod service;
pub mod tls;
pub mod wire;
mod write_deadline;
