//! What clients get, by the reference.
