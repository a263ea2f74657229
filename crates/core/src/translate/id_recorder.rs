//! A recorder of the id under which a provider keeps an answer.

use std::fmt;
use std::sync::Arc;

/// A recorder of the id of one answer.
#[derive(Clone)]
pub struct IdRecorder(Arc<dyn Fn(&str) + Send + Sync>);

impl IdRecorder {
    /// Creates a recorder that passes the id to `record`.
    pub fn new(record: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(record))
    }

    /// Records the id.
    pub(super) fn record(&self, id: &str) {
        (self.0)(id);
    }
}

impl fmt::Debug for IdRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdRecorder")
    }
}
