//! The amount of work for reading and changing a document, for tests that hold it against its size.

#[cfg(test)]
std::thread_local! {
    static WORK: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// So many bytes were read or copied. Nothing but tests count them.
#[inline(always)]
pub(super) fn visited(bytes: usize) {
    #[cfg(test)]
    WORK.set(WORK.get() + bytes);
    #[cfg(not(test))]
    let _ = bytes;
}

/// The bytes that this thread has read or copied while it did `this`.
#[cfg(test)]
pub(crate) fn of<T>(this: impl FnOnce() -> T) -> (T, usize) {
    let before = WORK.get();
    let result = this();
    (result, WORK.get() - before)
}
