//! A parallel map over a list: as many threads as jobs, results in the list's order.
//!
//! Every item is done, whatever fails, so that what a run says does not depend on the number of jobs.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many jobs the machine can run at once.
#[must_use]
pub(crate) fn available() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Calls `each` for every item. Each thread has a state of its own, made by `start`.
pub(crate) fn map<T: Sync, S, R: Send>(
    jobs: NonZero<usize>,
    items: &[T],
    start: impl Fn() -> S + Sync,
    each: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut state = start();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return done };
            done.push((number, each(&mut state, item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (1..jobs.get().min(items.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for thread in threads {
            // A panic is a bug, and goes on in the thread that reports it.
            done.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
