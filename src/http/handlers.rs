//! One endpoint a file: parse, await the actors in turn, reply.

pub mod jwks;
pub mod login;
pub mod me;
pub mod register;
pub mod root;
