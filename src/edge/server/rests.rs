//! The task that looks after the store: it follows the orders about targets, which other gateways and commands write, and
//! removes what is too old from the audit log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::admin::{OperationError, OperationResult, Operations};
use crate::edge::gateway::Gateway;

/// Puts the orders of the store into effect.
///
/// # Errors
/// Fails if the store cannot be read.
pub(in crate::edge) fn follow_once(gateway: &Gateway, operations: &Operations) -> OperationResult<()> {
    gateway.obey(operations.rested_targets()?);
    Ok(())
}

/// Puts the orders of the store into effect before the first call.
///
/// # Errors
/// Fails if the store cannot be read.
pub(in crate::edge) fn follow_first(gateway: &Gateway, data: &Path) -> OperationResult<()> {
    follow_once(gateway, &Operations::open(data)?)
}

/// Puts the orders of the store into effect until the process ends.
pub(in crate::edge) async fn follow(gateway: Gateway, data: PathBuf) {
    let mut idle = None;
    // One line tells that the store fails, however long it does.
    let mut is_failing = false;
    let mut looks = 0_u32;
    loop {
        sleep(INTERVAL).await;
        let is_pruning = looks.is_multiple_of(LOOKS_PER_PRUNING);
        looks = looks.wrapping_add(1);
        let (gateway, data, operations) = (gateway.clone(), data.clone(), idle.take());
        let look = move || {
            let operations = match operations {
                Some(operations) => operations,
                None => Operations::open(&data)?,
            };
            follow_once(&gateway, &operations)?;
            if is_pruning {
                operations.prune_audit(gateway.audit_days())?;
            }
            Ok(operations)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(operations)) => (idle, is_failing) = (Some(operations), false),
            Ok(Err(OperationError { message, .. })) => {
                if !is_failing {
                    log::error!("the store cannot be looked at: {message}");
                }
                is_failing = true;
            }
            Err(_) => {}
        }
    }
}

/// The interval at which the store is looked at. All gateways of a store have to follow within a second.
const INTERVAL: Duration = Duration::from_millis(500);

/// The looks after each of which some old rows of the audit log are removed: a minute.
const LOOKS_PER_PRUNING: u32 = 120;
