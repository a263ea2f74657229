//! A count of the bytes that are read and copied for a document, so that tests can compare it with the document's
//! size.

#[cfg(test)]
std::thread_local! {
    static WORK: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts bytes that were read or copied. It does nothing outside of tests.
#[inline(always)]
pub(super) fn visited(bytes: usize) {
    #[cfg(test)]
    WORK.set(WORK.get() + bytes);
    #[cfg(not(test))]
    let _ = bytes;
}

/// Runs `this` and returns the number of bytes that the thread has read or copied meanwhile.
#[cfg(test)]
pub(crate) fn of<T>(this: impl FnOnce() -> T) -> (T, usize) {
    let before = WORK.get();
    let result = this();
    (result, WORK.get() - before)
}
