//! The lock of the windows and of the load.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even one with which a thread has panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
