//! The orders of operators about targets, as the store has them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::route::{Catalog, TargetRest};

/// The last orders, by the names of targets.
#[derive(Debug, Default)]
pub(in crate::edge) struct RestOrders(ArcSwap<HashMap<String, TargetRest>>);

impl RestOrders {
    /// Takes the orders of the store, and puts them into effect.
    pub(in crate::edge) fn replace(&self, orders: HashMap<String, TargetRest>, catalog: &Catalog) {
        if orders != **self.0.load() {
            self.0.store(Arc::new(orders));
        }
        self.apply(catalog);
    }

    /// Puts the orders into effect for the targets of a catalog.
    pub(in crate::edge) fn apply(&self, catalog: &Catalog) {
        let (orders, now) = (self.0.load(), Instant::now());
        for target in catalog.entries().iter().flat_map(|entry| &entry.targets) {
            let order = if orders.is_empty() { None } else { orders.get(&target.health.id().to_string()) };
            target.health.obey(order, now);
        }
    }
}
