//! A write to the disk that many calls share and wait for.
//!
//! Waking a task of another thread costs a system call. So only one of the waiting tasks is woken from outside.
//! The task that finds the write done wakes the others, which mostly run on the same thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

/// One shared write to the disk, which has been made or will be.
#[derive(Debug, Default)]
pub(super) struct GroupCommit(Mutex<CommitState>);

/// The state of a shared write, and the tasks that wait for it.
#[derive(Debug, Default)]
struct CommitState {
    /// Whether the write is on the disk; absent before it was made.
    done: Option<bool>,
    /// The waiting tasks; `None` for a task that has gone.
    waiting: Vec<Option<Waker>>,
}

/// The wait for a shared write: it ends with whether the write is on the disk.
#[derive(Debug)]
pub(super) struct CommitWait {
    commit: Arc<GroupCommit>,
    place: Option<usize>,
}

impl GroupCommit {
    /// Records that the write was made, and whether it is on the disk.
    pub(super) fn finish(&self, on_disk: bool) {
        let mut state = self.0.lock();
        state.done = Some(on_disk);
        let one = state.waiting.iter_mut().find_map(Option::take);
        drop(state);
        if let Some(one) = one {
            one.wake();
        }
    }

    /// Waits for the write.
    pub(super) fn wait(self: Arc<Self>) -> CommitWait {
        CommitWait { commit: self, place: None }
    }
}

impl Future for CommitWait {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let commit = Arc::clone(&self.commit);
        let mut state = commit.0.lock();
        if let Some(done) = state.done {
            wake_all(state);
            return Poll::Ready(done);
        }
        let waker = Some(context.waker().clone());
        let place = *self.place.get_or_insert(state.waiting.len());
        match state.waiting.get_mut(place) {
            Some(mine) => *mine = waker,
            None => state.waiting.push(waker),
        }
        Poll::Pending
    }
}

/// A waiter that is dropped may be the one that was to wake the others, so it passes the wake-up on.
impl Drop for CommitWait {
    fn drop(&mut self) {
        let mut state = self.commit.0.lock();
        if state.done.is_some() {
            wake_all(state);
        } else if let Some(mine) = self.place.and_then(|place| state.waiting.get_mut(place)) {
            *mine = None;
        }
    }
}

fn wake_all(mut state: MutexGuard<'_, CommitState>) {
    let others = std::mem::take(&mut state.waiting);
    drop(state);
    others.into_iter().flatten().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Waiter {
        written: Pin<Box<CommitWait>>,
        woken: Arc<Count>,
    }

    impl Waiter {
        fn on(commit: &Arc<GroupCommit>) -> Self {
            let written = Box::pin(Arc::clone(commit).wait());
            let mut waiter = Self { written, woken: Arc::default() };
            assert_eq!(waiter.poll(), Poll::Pending);
            waiter
        }

        fn poll(&mut self) -> Poll<bool> {
            self.written.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.woken))))
        }
    }

    fn woken(waiters: &[Waiter]) -> Vec<usize> {
        waiters.iter().map(|waiter| waiter.woken.0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn one_is_woken_and_wakes_the_others() {
        let commit = Arc::new(GroupCommit::default());
        let mut waiters = [Waiter::on(&commit), Waiter::on(&commit), Waiter::on(&commit)];
        commit.finish(true);
        assert_eq!(woken(&waiters), [1, 0, 0]);
        assert_eq!(waiters[0].poll(), Poll::Ready(true));
        assert_eq!(woken(&waiters), [1, 1, 1]);
        assert_eq!([waiters[1].poll(), waiters[2].poll()], [Poll::Ready(true); 2]);
    }

    #[test]
    fn nobody_is_forgotten_when_others_go() {
        let commit = Arc::new(GroupCommit::default());
        let mut waiters = [Waiter::on(&commit), Waiter::on(&commit), Waiter::on(&commit)].into_iter();
        // One goes before, one that was woken, before it can tell.
        drop(waiters.next());
        commit.finish(false);
        drop(waiters.next());
        let mut last = waiters.next().unwrap();
        assert_eq!((woken(std::slice::from_ref(&last)), last.poll()), (vec![1], Poll::Ready(false)));
    }
}
