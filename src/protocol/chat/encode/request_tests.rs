//! What providers get, by the reference.
