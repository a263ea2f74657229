//! Recovery after the death of processes: what they have left undone in this folder is taken over.

use std::path::Path;

use crate::store::StoreError;

use super::journal::{self, Orphan};
use super::vault::{Loss, Statement, Vault};

/// Takes over everything that no living process owns.
///
/// # Errors
/// Fails if the store or a journal cannot be read or written. What was taken over before then stays so.
pub(super) fn all(vault: &mut dyn Vault, journals: &Path) -> Result<(), StoreError> {
    let orphans = Orphan::find(journals)?;
    let records: usize = orphans.iter().map(|orphan| orphan.records.len()).sum();
    if records > 0 {
        log::info!("ledger: {records} records of {} processes that are gone are taken over", orphans.len());
    }
    for orphan in orphans {
        let Orphan { epoch, records, .. } = &orphan;
        tell(vault.restate(&Statement { epoch: *epoch, records })?);
        orphan.remove()?;
    }
    // An epoch has a journal before it has anything to give back.
    let seen = vault.epochs()?;
    let living = journal::epochs(journals)?;
    for seen in seen.iter().filter(|seen| !living.contains(&seen.epoch)) {
        if vault.fence(seen)? {
            tell(vault.forget(seen.epoch)?);
        }
    }
    Ok(())
}

fn tell(Loss { calls, estimated }: Loss) {
    if calls > 0 {
        log::warn!("ledger: {calls} calls without a known end were charged {estimated} USD by estimates");
    }
}
