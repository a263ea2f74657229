//! The metrics of operators, accounts and keys.

use std::collections::HashSet;

use crate::edge::gateway::Gateway;
use crate::observe::AdminAuthFailure;

impl Gateway {
    /// Returns the most accounts that have metrics of their own.
    pub(in crate::edge) fn account_series(&self) -> usize {
        self.0.snapshot.load().metrics_settings.accounts
    }

    /// Whether some accounts have no metrics of their own.
    pub(in crate::edge) fn has_more_accounts_than_series(&self) -> bool {
        let keys = self.0.key_table.keys();
        let accounts: HashSet<_> = keys.iter().map(|key| key.account.as_str()).collect();
        let settings = self.0.snapshot.load().metrics_settings;
        settings.counts_tenants() && accounts.len() > settings.accounts
    }

    /// Sets the accounts that have spent most in this month.
    pub(in crate::edge) fn rank_accounts(&self, accounts: Vec<String>) {
        self.0.metrics.rank_accounts(accounts.into_iter());
    }

    /// Counts an operator's request whose credential was not accepted.
    pub(in crate::edge) fn note_auth_failure(&self, reason: AdminAuthFailure) {
        self.0.metrics.operators.refused(reason);
    }

    /// Counts a request to the admin API that is over.
    pub(in crate::edge) fn note_admin_request(&self, operation: &'static str, status: u16) {
        self.0.metrics.operators.request(operation, status);
    }
}
