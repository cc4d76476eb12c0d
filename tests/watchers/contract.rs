//! What every source must keep. A source's file has one line for all of it: `contract!(MySource::new())`.

use tokio::runtime::Handle;
use tokio::time::{Duration, sleep};

use crate::Source;
use crate::seen::Seen;

/// The tests of the contract for a source that `$new` makes, empty and readable.
macro_rules! contract {
    ($new:expr) => {
        crate::contract::contract!($new;
            all_that_is_there_comes_first,
            changes_are_told,
            a_lost_source_changes_nothing,
            nothing_is_in_sync_before_it_can_be_read,
            a_slow_reader_gets_few_batches,
            it_ends_when_nobody_listens
        );
    };
    ($new:expr; $($name:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            crate::contract::$name(&$new).await;
        }
    )+};
}
pub(crate) use contract;

pub async fn all_that_is_there_comes_first(source: &impl Source) {
    source.put("a", 1);
    source.put("b", 2);
    let mut seen = Seen::new(source.follow());
    let batch = seen.next().await;
    assert_eq!(batch.len(), 3, "{batch:?}");
    assert_eq!(batch.last().map(String::as_str), Some("in sync"));
    assert_eq!(seen.state.values(), ["1", "2"]);
    assert!(seen.is_quiet().await);
}

pub async fn changes_are_told(source: &impl Source) {
    let mut seen = Seen::new(source.follow());
    assert_eq!(seen.next().await, ["in sync"]);
    source.put("a", 1);
    source.put("b", 2);
    seen.until_values(&["1", "2"]).await;
    source.put("a", 3);
    seen.until_values(&["3", "2"]).await;
    assert_eq!((seen.state.puts, seen.state.deletes), (3, 0), "what did not change is not said again");
    source.delete("a");
    seen.until_values(&["2"]).await;
    source.delete("b");
    seen.until_values(&[]).await;
    source.put("a", 4);
    seen.until_values(&["4"]).await;
    assert_eq!((seen.state.puts, seen.state.deletes, seen.state.losses), (4, 2, 0));
    assert!(seen.state.unreadable.is_empty());
    assert!(seen.is_quiet().await);
}

pub async fn a_lost_source_changes_nothing(source: &impl Source) {
    for (object, value) in [("a", 1), ("b", 2), ("c", 3)] {
        source.put(object, value);
    }
    let mut seen = Seen::new(source.follow());
    seen.next().await;
    for round in 1..=2 {
        source.take_away();
        seen.until(|state| state.is_lost).await;
        assert!(!seen.state.unreadable.is_empty(), "the reason is said");
        assert!(seen.is_quiet().await, "once");
        source.put("a", 10 * round);
        source.delete("b");
        source.put("b", 20 * round);
        source.bring_back();
        let mut batches = Vec::new();
        while seen.state.is_lost {
            batches.extend(seen.next().await);
        }
        assert_eq!(seen.state.values(), [&*(10 * round).to_string(), &*(20 * round).to_string(), "3"]);
        assert!(seen.state.unreadable.is_empty());
        let [.., readable, in_sync] = batches.as_slice() else { panic!("{batches:?}") };
        assert!(readable.starts_with("readable") && in_sync == "in sync", "{batches:?}");
    }
    assert_eq!((seen.state.deletes, seen.state.losses), (0, 2));
}

pub async fn nothing_is_in_sync_before_it_can_be_read(source: &impl Source) {
    source.put("a", 1);
    source.take_away();
    let mut seen = Seen::new(source.follow());
    seen.until(|state| state.is_lost).await;
    assert!(!seen.state.is_in_sync && !seen.state.unreadable.is_empty());
    assert!(seen.is_quiet().await);
    source.put("b", 2);
    source.bring_back();
    seen.until(|state| state.is_in_sync).await;
    assert_eq!(seen.state.values(), ["1", "2"]);
    assert!(seen.state.unreadable.is_empty());
}

pub async fn a_slow_reader_gets_few_batches(source: &impl Source) {
    source.put("a", 0);
    let mut seen = Seen::new(source.follow());
    seen.next().await;
    for value in 1..=200 {
        source.put("a", value);
        source.put(&format!("b{value:03}"), value);
        // So that a source that does not sum up has the time to say each.
        sleep(Duration::from_millis(1)).await;
    }
    seen.until(|state| state.entries.len() == 201 && state.values().first() == Some(&"200")).await;
    assert!(seen.batches <= 12, "{} batches", seen.batches);
}

pub async fn it_ends_when_nobody_listens(source: &impl Source) {
    source.put("a", 1);
    let before = Handle::current().metrics().num_alive_tasks();
    let mut seen = Seen::new(source.follow());
    seen.next().await;
    assert!(seen.is_quiet().await);
    assert!(Handle::current().metrics().num_alive_tasks() > before);
    drop(seen);
    // Less than what a source takes that looks now and then.
    for _ in 0..2000 {
        if Handle::current().metrics().num_alive_tasks() <= before {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("a task is left");
}
