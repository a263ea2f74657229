//! A provider's whole answer, as the events of its stream.
