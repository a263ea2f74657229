//! Reading what is readable of a broken document.

use super::scan::{Member, members};

/// Iterators over the parts of a document that may turn out to be malformed.
pub trait Lenient: Iterator + Sized {
    /// Yields the parts before the first error. The rest of a broken document counts as absent: whoever relays it passes
    /// its bytes on, and the receiver judges them.
    fn lenient(self) -> LenientIter<Self> {
        LenientIter(self)
    }
}

impl<I: Iterator<Item = Result<T, E>>, T, E> Lenient for I {}

/// The iterator that [`Lenient::lenient`] returns.
#[derive(Clone, Debug)]
pub struct LenientIter<I>(I);

impl<I: Iterator<Item = Result<T, E>>, T, E> Iterator for LenientIter<I> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next()?.ok()
    }
}

/// The first member of an object with this name, if there is one before anything that is wrong.
#[must_use]
pub fn find_member<'a>(object: &'a [u8], name: &str) -> Option<Member<'a>> {
    members(object).lenient().find(|member| member.is(name))
}
