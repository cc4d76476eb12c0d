//! Others who undo the daemon's work, and leftovers of earlier lives.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::kernel::{Backend, Chains, FAMILIES, Saved, chains_of, run};
use crate::random::Random;

/// What is done to the kernel; some of it leaves packets without a policy for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vandalism {
    FlushChains,
    DeleteChain,
    DeleteHook,
    EditRule,
    InsertRule,
    FlushSet,
    StrangeMember,
    LoseMember,
    DestroySet,
    /// A set of a name of ours and of another type.
    WrongType,
    OldChains,
    OldSets,
}

impl Vandalism {
    pub const ALL: [Self; 12] = [
        Self::FlushChains,
        Self::DeleteChain,
        Self::DeleteHook,
        Self::EditRule,
        Self::InsertRule,
        Self::FlushSet,
        Self::StrangeMember,
        Self::LoseMember,
        Self::DestroySet,
        Self::WrongType,
        Self::OldChains,
        Self::OldSets,
    ];

    /// Does it; whether there was something to do it to.
    pub fn act(self, backend: Backend, random: &mut Random) -> Result<bool, String> {
        let saved = Saved::read(backend)?;
        let chains: Vec<[String; 3]> =
            saved.chains.keys().filter(|[_, _, chain]| chain.starts_with("cali-")).cloned().collect();
        let sets: Vec<String> = saved.sets.keys().filter(|name| is_ours(name)).cloned().collect();
        match self {
            Self::OldChains => return old_chains(backend).map(|()| true),
            Self::OldSets => return old_sets().map(|()| true),
            Self::FlushChains | Self::DeleteChain | Self::DeleteHook | Self::EditRule | Self::InsertRule
                if chains.is_empty() =>
            {
                return Ok(false);
            }
            Self::FlushSet | Self::StrangeMember | Self::LoseMember | Self::DestroySet | Self::WrongType
                if sets.is_empty() =>
            {
                return Ok(false);
            }
            _ => {}
        }
        match self {
            Self::FlushChains => {
                let flushed: BTreeSet<_> = (0..3).map(|_| random.of(&chains)).collect();
                for [tool, table, chain] in flushed {
                    restore(backend, &tool, &table, &format!("-F {chain}\n"))?;
                }
            }
            Self::DeleteChain => {
                let [tool, table, chain] = random.of(&chains);
                let mut lines =
                    without_rules(&saved.chains, &tool, &table, |rule| rule.ends_with(&format!(" {chain}")));
                let _ = write!(lines, "-F {chain}\n-X {chain}\n");
                restore(backend, &tool, &table, &lines)?;
            }
            Self::DeleteHook => {
                let [tool, table, _] = random.of(&chains);
                let lines = without_rules(&saved.chains, &tool, &table, |rule| {
                    is_marked(rule) && !rule.starts_with("cali-")
                });
                restore(backend, &tool, &table, &lines)?;
            }
            Self::EditRule => {
                let [tool, table, chain] = random.of(&chains);
                let rules = saved.chains[&[tool.clone(), table.clone(), chain.clone()]].len();
                if rules == 0 {
                    return Ok(false);
                }
                let number = random.between(1, rules);
                restore(backend, &tool, &table, &format!("-R {chain} {number} -p 97 -j RETURN\n"))?;
            }
            Self::InsertRule => {
                let [tool, table, chain] = random.of(&chains);
                restore(backend, &tool, &table, &format!("-I {chain} -p 97 -j RETURN\n"))?;
            }
            Self::FlushSet => drop(run(&["ipset", "flush", &random.of(&sets)], "")?),
            Self::StrangeMember => {
                let name = random.of(&sets);
                if saved.sets[&name].set_type != "hash:net" || saved.sets[&name].family != "inet" {
                    return Ok(false);
                }
                run(&["ipset", "add", &name, "192.0.2.0/24", "nomatch", "-exist"], "")?;
            }
            Self::LoseMember => {
                let name = random.of(&sets);
                let Some(member) = saved.sets[&name].members.iter().next() else { return Ok(false) };
                run(&["ipset", "del", &name, member], "")?;
            }
            Self::DestroySet => {
                let name = random.of(&sets);
                unname(backend, &saved.chains, &name)?;
                run(&["ipset", "destroy", &name], "")?;
            }
            Self::WrongType => {
                let name = random.of(&sets);
                unname(backend, &saved.chains, &name)?;
                run(&["ipset", "destroy", &name], "")?;
                run(&["ipset", "create", &name, "hash:mac"], "")?;
                // In use, so that it can't just be destroyed.
                let rule = format!("-A cali-of-old -m set --match-set {name} src -j RETURN\n");
                restore(backend, "iptables", "filter", &format!(":cali-of-old - -\n{rule}"))?;
            }
            Self::OldChains | Self::OldSets => {}
        }
        Ok(true)
    }
}

/// What an earlier life left in the backend that is not used any more.
pub fn leave_in_other(backend: Backend) -> Result<(), String> {
    for tool in FAMILIES {
        let lines = ":cali-FORWARD - -\n-A cali-FORWARD -p 97 -j DROP\n-I FORWARD -j cali-FORWARD\n";
        restore(backend.other(), tool, "filter", lines)?;
    }
    Ok(())
}

/// What is still left there.
pub fn left_in_other(backend: Backend) -> Result<Chains, String> {
    let mut chains = chains_of(backend.other())?;
    chains.retain(|_, rules| rules.is_empty() || rules.iter().any(|rule| rule.contains("cali-")));
    Ok(chains)
}

/// Of Felix 2.1, which marked no rules, and of later ones.
fn old_chains(backend: Backend) -> Result<(), String> {
    for tool in FAMILIES {
        let lines = ":felix-FORWARD - -\n:felix-FROM-ENDPOINT - -\n:cali-pi-gone - -\n\
                     -A felix-FORWARD -i cali+ -j felix-FROM-ENDPOINT\n-A felix-FROM-ENDPOINT -p 97 -j DROP\n\
                     -I FORWARD -j felix-FORWARD\n-A INPUT -p 97 -j felix-FROM-ENDPOINT\n\
                     -A FORWARD -p 97 -m comment --comment \"cali:0123456789abcdef\" -j DROP\n";
        restore(backend, tool, "filter", lines)?;
    }
    Ok(())
}

fn old_sets() -> Result<(), String> {
    let lines = "create felix-4-old hash:ip family inet\nadd felix-4-old 10.65.0.1\n\
                 create felix-6-old hash:ip family inet6\ncreate cali4t0 hash:ip family inet\n\
                 create cali40gone hash:net family inet\n";
    run(&["ipset", "restore", "-exist"], lines).map(drop)
}

/// Takes away all rules that name a set.
fn unname(backend: Backend, chains: &Chains, set: &str) -> Result<(), String> {
    for tool in FAMILIES {
        for table in ["raw", "mangle", "nat", "filter"] {
            let names = |rule: &str| rule.contains(&format!("--match-set {set} "));
            restore(backend, tool, table, &without_rules(chains, tool, table, names))?;
        }
    }
    Ok(())
}

/// Lines that delete each such rule; rules begin with the name of their chain.
fn without_rules(chains: &Chains, tool: &str, table: &str, which: impl Fn(&str) -> bool) -> String {
    let of_table = chains.iter().filter(|([a, b, _], _)| a == tool && b == table);
    of_table
        .flat_map(|(_, rules)| rules)
        .filter(|rule| which(rule))
        .map(|rule| format!("-D {rule}\n"))
        .collect()
}

fn restore(backend: Backend, tool: &str, table: &str, lines: &str) -> Result<(), String> {
    if lines.is_empty() {
        return Ok(());
    }
    let tool = format!("{tool}-{}-restore", backend.name());
    run(&[&tool, "--noflush"], &format!("*{table}\n{lines}COMMIT\n")).map(drop)
}

/// A rule of ours, by its first comment.
fn is_marked(rule: &str) -> bool {
    ["--comment cali:", "--comment \"cali:"].iter().any(|mark| rule.contains(mark))
}

fn is_ours(set: &str) -> bool {
    ["cali40", "cali60"].iter().any(|prefix| set.starts_with(prefix))
}
