//! What clients may ask about the service.

pub mod root;
