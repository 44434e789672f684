//! What clients may ask about the service.

pub mod echo;
pub mod root;
