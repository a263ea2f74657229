//! Options of the command line and the environment that go before the configuration file.

use crate::located::Located;

use super::{AdminSettings, ListenerSettings, Settings};

/// Options that go before a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The addresses for clients, without TLS, instead of the file's; empty: the file's.
    pub listen: Vec<String>,
    /// The address for operators, or `off`, instead of the file's. The file's token and hosts stay in force.
    pub admin: Option<String>,
    /// Whether only the form of references to secrets and key files is checked. Such a configuration cannot be run.
    pub without_secrets: bool,
}

impl LoadOptions {
    /// Replaces settings by options.
    pub(super) fn apply(&self, settings: &mut Settings) {
        if !self.listen.is_empty() {
            let listener = |address: &String| ListenerSettings { address: address.clone().into(), tls: None };
            settings.listen = Some(self.listen.iter().map(listener).collect());
        }
        if let Some(address) = &self.admin {
            let admin = settings.admin.get_or_insert_with(|| Located::from(AdminSettings::default()));
            admin.value.0.address = Some(address.clone().into());
        }
    }
}
