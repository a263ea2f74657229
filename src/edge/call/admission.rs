//! The place of a call in all that goes on, with the room that its bytes take.

use std::sync::Arc;

use crate::auth::Grant;
use crate::failure::Result;
use crate::limit::{CallSlot, EntryRefusal, LimitOwner, Load, Shed, Weight};
use crate::observe::LimitRefusal;

/// The place of a call among all calls, once it is let in, or the reason for which it was not.
#[derive(Debug, Default)]
pub(in crate::edge) struct Admission {
    slot: Option<CallSlot>,
    shed: Option<Shed>,
    /// The limit of its key or account by which the call was refused.
    limit: Option<LimitRefusal>,
}

impl Admission {
    /// Lets the call in.
    ///
    /// # Errors
    /// Returns 503 or 429 when there are too many.
    pub(in crate::edge) fn enter(&mut self, load: &Arc<Load>, grant: &Grant, most: Weight) -> Result<()> {
        let slot = load.enter(grant, most).map_err(|refusal| {
            match refusal {
                EntryRefusal::Shed(shed) => self.shed = Some(shed),
                EntryRefusal::KeyIsFull(_) => self.limit = Some(LimitRefusal::Concurrent(LimitOwner::Key)),
                EntryRefusal::AccountIsFull(_) => {
                    self.limit = Some(LimitRefusal::Concurrent(LimitOwner::Account));
                }
            }
            refusal.failure()
        });
        self.slot = Some(slot?);
        Ok(())
    }

    /// Checks that there is room for a body of so many bytes.
    ///
    /// # Errors
    /// Returns 503 or 429 when there is none.
    pub(in crate::edge) fn has_room(&mut self, bytes: usize) -> Result<()> {
        let room = self.slot.as_ref().map_or(Ok(()), |slot| slot.has_room(bytes));
        self.noting(room)
    }

    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// Returns 503 or 429 when there is none.
    pub(in crate::edge) fn hold(&mut self, bytes: usize) -> Result<()> {
        let held = self.slot.as_mut().map_or(Ok(()), |slot| slot.hold(bytes));
        self.noting(held)
    }

    /// Takes room for all that is kept of the request, now that it is written.
    ///
    /// # Errors
    /// Returns 503 or 429 when there is none.
    pub(in crate::edge) fn fit(&mut self, held: usize) -> Result<()> {
        let fits = self.slot.as_mut().map_or(Ok(()), |slot| slot.fit(held));
        self.noting(fits)
    }

    /// Returns the capacity for request bytes that are no longer in memory.
    pub(in crate::edge) fn keep(&mut self, held: usize) {
        if let Some(slot) = &mut self.slot {
            slot.keep(held);
        }
    }

    /// The limit of its key or account by which the call was refused.
    pub(in crate::edge) fn refused_by(&self) -> Option<LimitRefusal> {
        self.limit
    }

    /// The reason for which the call was refused by load shedding.
    pub(in crate::edge) fn shed(&self) -> Option<Shed> {
        self.shed
    }

    fn noting<T>(&mut self, result: std::result::Result<T, Shed>) -> Result<T> {
        result.map_err(|shed| {
            self.shed = Some(shed);
            shed.failure()
        })
    }
}
