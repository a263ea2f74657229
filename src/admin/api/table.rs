//! The table of all routes.

use super::gateway_routes;
use super::routes::{self, Route};

/// Returns all routes: the router, and the source of the document.
pub(super) fn all_routes() -> impl Iterator<Item = &'static Route> {
    routes::ROUTES.iter().chain(gateway_routes::ROUTES)
}
