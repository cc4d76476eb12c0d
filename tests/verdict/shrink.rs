//! The smallest datastore that still fails.

use serde_json::Value;

/// Takes out documents, then parts of documents, as long as `fails` holds.
pub fn shrink(documents: &[Value], fails: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut smallest = documents.to_vec();
    loop {
        let smaller = candidates(&smallest).find(|candidate| fails(candidate));
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Everything that is one step smaller.
fn candidates(documents: &[Value]) -> impl Iterator<Item = Vec<Value>> {
    let whole = (0..documents.len()).map(move |at| without(documents, at));
    let parts = (0..documents.len()).flat_map(move |at| {
        smaller(&documents[at]).into_iter().map(move |document| {
            let mut documents = documents.to_vec();
            documents[at] = document;
            documents
        })
    });
    whole.chain(parts)
}

/// The value with one element or entry less, anywhere in it.
fn smaller(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => {
            let shorter = (0..items.len()).map(|at| Value::Array(without(items, at)));
            let within = (0..items.len()).flat_map(|at| {
                smaller(&items[at]).into_iter().map(move |item| {
                    let mut items = items.clone();
                    items[at] = item;
                    Value::Array(items)
                })
            });
            shorter.chain(within).collect()
        }
        Value::Object(entries) => {
            let keys: Vec<&String> = entries.keys().collect();
            let shorter = keys.iter().map(|key| {
                let mut entries = entries.clone();
                entries.shift_remove(*key);
                Value::Object(entries)
            });
            let within = keys.iter().flat_map(|key| {
                smaller(&entries[*key]).into_iter().map(|item| {
                    let mut entries = entries.clone();
                    entries.insert((*key).clone(), item);
                    Value::Object(entries)
                })
            });
            shorter.chain(within).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn without(items: &[Value], at: usize) -> Vec<Value> {
    let mut items = items.to_vec();
    items.remove(at);
    items
}
