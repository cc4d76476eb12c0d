//! The texts of `iptables-restore` and `ipset restore`, and of the `save` that answers them, as far as a comparison
//! of what was asked for with what is there needs them.

use std::collections::{BTreeMap, BTreeSet};

/// Chains by name; of each rule, in order, the hash in its comment.
pub type Chains = BTreeMap<String, Vec<Option<String>>>;

/// The chains of each table. A chain of the kernel's own is there only where it has a rule.
pub fn tables(text: &str) -> Result<BTreeMap<String, Chains>, String> {
    let mut tables = BTreeMap::<String, Chains>::new();
    let mut current = None;
    for line in lines(text) {
        let not_understood = || format!("not understood: {line}");
        if let Some(name) = line.strip_prefix('*') {
            current = Some(tables.entry(name.to_owned()).or_default());
            continue;
        }
        let chains = current.as_mut().ok_or_else(not_understood)?;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, word.strip_prefix(':')) {
            ("COMMIT", _) => current = None,
            ("-A", _) => chain_of(chains, rest).push(hash(rest)),
            ("-I", _) => chain_of(chains, rest).insert(0, hash(rest)),
            // Ours have no policy, and are emptied where they exist; the kernel's have one.
            (_, Some(chain)) if rest.starts_with('-') => drop(chains.insert(chain.to_owned(), Vec::new())),
            (_, Some(_)) => {}
            (_, None) => return Err(not_understood()),
        }
    }
    match current {
        None => Ok(tables),
        Some(_) => Err("a table without COMMIT".to_owned()),
    }
}

/// An IP set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// `hash:net`
    pub set_type: String,
    pub family: String,
    pub max_elements: String,
    pub members: BTreeSet<String>,
}

/// IP sets by name.
pub fn sets(text: &str) -> Result<BTreeMap<String, Set>, String> {
    let mut sets = BTreeMap::<String, Set>::new();
    for line in lines(text) {
        let not_understood = || format!("not understood: {line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["create", name, set_type, options @ ..] => {
                let option = |name, default: &str| {
                    let found = options.chunks(2).find(|pair| pair.first() == Some(&name));
                    found.and_then(|pair| pair.get(1)).map_or(default, |value| *value).to_owned()
                };
                let set = Set {
                    set_type: (*set_type).to_owned(),
                    family: option("family", "inet"),
                    max_elements: option("maxelem", "65536"),
                    members: BTreeSet::new(),
                };
                sets.insert((*name).to_owned(), set);
            }
            ["add", name, member @ ..] => {
                let set = sets.get_mut(*name).ok_or_else(not_understood)?;
                if !set.members.insert(member.join(" ")) {
                    return Err(format!("twice: {line}"));
                }
            }
            ["COMMIT"] => {}
            _ => return Err(not_understood()),
        }
    }
    Ok(sets)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn chain_of<'c>(chains: &'c mut Chains, rule: &str) -> &'c mut Vec<Option<String>> {
    let name = rule.split(' ').next().unwrap_or_default();
    chains.entry(name.to_owned()).or_default()
}

/// What stands behind `cali:` in the first such comment.
fn hash(rule: &str) -> Option<String> {
    let mut comments = rule.split("--comment ").skip(1);
    let hash = comments.find_map(|rest| rest.trim_start_matches('"').strip_prefix("cali:"))?;
    let end = hash.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(hash.len());
    Some(hash[..end].to_owned())
}
