//! What the decoders make of requests and answers, by the reference.
