//! What happens when clients mean harm: slow ones, silent ones, floods, bombs and requests of two meanings.
//!
//! Every attack meets the real program while honest clients ask for their profiles. A test checks what the attackers get,
//! that every honest request is answered, and that the service's memory stays within a bound. How long the answers took is
//! only printed among other tests, since a busy machine may say anything about it. `make test-hostile` bounds it and prints
//! the table of all attacks.

mod attackers;
mod bodies;
mod bombs;
mod cores;
mod floods;
mod frames;
mod honest;
mod slow;
mod smuggling;
mod stage;
mod tools;
mod unread;
