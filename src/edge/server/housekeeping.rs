//! The task that removes old rows of the store, a few at a time, on a connection of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::edge::gateway::Gateway;
use crate::meter::{self, PrunePlace, UsageRetention};
use crate::repeated::RepeatedLine;
use crate::store::{self, StoreError};

/// Removes old rows again and again.
pub(in crate::edge) async fn run(gateway: Gateway, data: PathBuf) {
    loop {
        let (folder, keep) = (data.clone(), gateway.retention());
        let done = tokio::task::spawn_blocking(move || walk(&folder, keep)).await;
        if let Ok(Err(error)) = done {
            UNWRITABLE.write(log::Level::Warn, format_args!("old rows of the store: {error}"));
        }
        sleep(WALK_INTERVAL).await;
    }
}

/// Goes through the store once. Between two transactions, others may write.
fn walk(folder: &Path, keep: UsageRetention) -> Result<(), StoreError> {
    let mut connection = store::open(folder)?;
    let mut place = Some(PrunePlace::default());
    while let Some(at) = place {
        place = meter::prune(&mut connection, folder, keep, at, store::now())?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The interval at which the store is gone through.
const WALK_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// The pause between two transactions.
const PAUSE: Duration = Duration::from_millis(20);

/// The line about rows that cannot be removed.
static UNWRITABLE: RepeatedLine = RepeatedLine::new();
