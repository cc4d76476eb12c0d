//! Many small independent pieces of work on all cores.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most pieces handed out at once.
const BATCH: usize = 16;

/// Batches that make for an even share of the work.
const BATCHES: usize = 64;

/// Pieces that pay for a thread, and for the memory that its allocator keeps.
const WORTH_A_THREAD: usize = 500;

/// `function` of each item, in the order of the items whatever thread did it.
pub(super) fn map<'a, T: Sync, R: Send>(items: &'a [T], function: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    let batches: Vec<&[T]> = items.chunks(items.len().div_ceil(BATCHES).clamp(1, BATCH)).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len() / WORTH_A_THREAD);
    if threads <= 1 {
        return items.iter().map(function).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(batch) = batches.get(index)
        {
            done.push((index, batch.iter().map(&function).collect::<Vec<R>>()));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_items() {
        for length in [0, 1, BATCH, BATCHES + 1, 5000] {
            let items: Vec<usize> = (0..length).collect();
            let expected: Vec<usize> = items.iter().map(|item| item * 2).collect();
            assert_eq!(map(&items, |item| item * 2), expected);
        }
    }
}
