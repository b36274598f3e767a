//! Journeys through the whole crate, over real sockets and real files.

mod sdk;
