//! The task that reads the figures of wallets and budgets. No scrape waits for the store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::sleep;

use crate::edge::gateway::Gateway;
use crate::meter::MoneyFigures;
use crate::repeated::RepeatedLine;
use crate::store::{self, StoreError};

/// Reads the figures of wallets and budgets again and again.
pub(in crate::edge) async fn watch(gateway: Gateway, data: PathBuf) {
    let mut connection = None;
    loop {
        let (folder, kept) = (data.clone(), connection.take());
        let read = tokio::task::spawn_blocking(move || read(kept, &folder)).await;
        match read {
            Ok(Ok((figures, kept))) => {
                gateway.metrics().money.set(&figures);
                connection = Some(kept);
            }
            Ok(Err(error)) => {
                UNREADABLE.write(log::Level::Warn, format_args!("wallets and budgets: {error}"));
            }
            // Its panic was told when it happened.
            Err(_) => {}
        }
        sleep(REFRESH_INTERVAL).await;
    }
}

fn read(connection: Option<Connection>, folder: &Path) -> Result<(MoneyFigures, Connection), StoreError> {
    let connection = connection.map_or_else(|| store::open_to_read(folder), Ok)?;
    Ok((MoneyFigures::read(&connection, store::now())?, connection))
}

/// The interval at which the figures are read.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);

/// The line about figures that cannot be read.
static UNREADABLE: RepeatedLine = RepeatedLine::new();
