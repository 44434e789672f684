//! The HTTP front end: raw hyper, from the socket to the actors and back.
//!
//! [`listener`] accepts connections, [`server`] serves them, [`router`] finds the endpoint of a request, the endpoint's handler answers it, and [`reply`] and
//! [`error`] say how an answer and a refusal look. Features bring the endpoints; nothing here names one.

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
pub mod listener;
pub mod metrics;
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
