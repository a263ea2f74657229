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
        let Some(seen) = self.scope.accounts() else { return Ok(meter::usage(&self.connection, query)?) };
        let mut accounts = query.accounts.clone().unwrap_or_else(|| seen.to_vec());
        accounts.retain(|account| self.scope.includes(account));
        Ok(meter::usage(&self.connection, &UsageQuery { accounts: Some(accounts), ..query.clone() })?)
    }
}
