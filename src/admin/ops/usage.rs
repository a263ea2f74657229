//! Questions about usage.

use crate::admin::error::OperationResult;
use crate::meter::{self, UsageQuery, UsageRow};

use super::operations::Operations;

impl Operations {
    /// Answers a question about usage, the earliest period first.
    ///
    /// # Errors
    /// Fails if the answer has too many rows, and if the store cannot be read.
    pub fn usage(&self, query: &UsageQuery) -> OperationResult<Vec<UsageRow>> {
        Ok(meter::usage(&self.connection, query)?)
    }
}
