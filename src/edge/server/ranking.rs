//! The task that finds the accounts that have metrics of their own, if there are too many.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::edge::gateway::Gateway;
use crate::meter::Books;
use crate::repeated::RepeatedLine;

/// Ranks the accounts of a store by what they have spent, until the process ends.
pub(in crate::edge) async fn rank_accounts(gateway: Gateway, folder: PathBuf) {
    let mut ticks = tokio::time::interval(RANKING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !gateway.has_more_accounts_than_series() {
            continue;
        }
        let (folder, most) = (folder.clone(), gateway.account_series());
        // The store may wait for a disk.
        let read = move || Books::open_to_read(&folder)?.biggest_spenders(most);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(accounts)) => gateway.rank_accounts(accounts),
            Ok(Err(error)) => UNREAD.write(log::Level::Warn, format_args!("metrics: {error}")),
            Err(error) => UNREAD.write(log::Level::Warn, format_args!("metrics: {error}")),
        }
    }
}

/// The time between two looks at the store. A chosen value: a scrape comes about as often.
const RANKING_INTERVAL: Duration = Duration::from_secs(15);

/// The line about a store that cannot be read.
static UNREAD: RepeatedLine = RepeatedLine::new();
