//! Who is at the other end.

mod forwarded;
