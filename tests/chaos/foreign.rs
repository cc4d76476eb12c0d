//! What other programs have in the same tables. It matches no packet that is sent.

use std::fmt::Write as _;

use crate::kernel::{Backend, FAMILIES, run};
use crate::random::Random;

/// Rules and chains of others: as they were put, which is how they must stay.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Table, chain, rule: in their order, the same for both families.
    rules: Vec<(&'static str, &'static str, String)>,
    added: usize,
}

const CHAINS: [(&str, &str); 3] =
    [("filter", "MY-FIREWALL"), ("nat", "DOCKER-LIKE"), ("mangle", "calico-not-ours")];

/// Kernel's chains that others put rules into.
const HOOKED: [(&str, &str); 7] = [
    ("filter", "INPUT"),
    ("filter", "FORWARD"),
    ("filter", "OUTPUT"),
    ("nat", "PREROUTING"),
    ("nat", "POSTROUTING"),
    ("mangle", "PREROUTING"),
    ("raw", "PREROUTING"),
];

impl Foreign {
    /// For `ipset restore`. One is of a type, and one of a name, that might be taken for ours.
    pub const SETS: &'static str = "create blocklist hash:net family inet\nadd blocklist 192.0.2.0/28\n\
        create calico-like hash:ip,port family inet\nadd calico-like 192.0.2.1,tcp:80\n";

    pub fn new() -> Self {
        let rule = |table, chain, rule: &str| (table, chain, rule.to_owned());
        let mut rules = vec![
            rule("filter", "MY-FIREWALL", "-p 99 -j DROP"),
            rule("filter", "MY-FIREWALL", "-m comment --comment \"not cali:0123456789abcdef\" -j RETURN"),
            rule("filter", "FORWARD", "-j MY-FIREWALL"),
            rule("filter", "INPUT", "-p 99 -m comment --comment \"say \\\"-j cali-INPUT\\\"\" -j DROP"),
            rule("nat", "DOCKER-LIKE", "-p tcp -m tcp --dport 8 -j RETURN"),
            rule("nat", "PREROUTING", "-j DOCKER-LIKE"),
            rule("mangle", "calico-not-ours", "-p 98 -j RETURN"),
            rule("mangle", "PREROUTING", "-j calico-not-ours"),
            rule("raw", "PREROUTING", "-p 97 -j DROP"),
        ];
        rules.push(rule("filter", "OUTPUT", "-p 99 -j DROP"));
        Self { rules, added: 0 }
    }

    /// Puts all of it into the kernel.
    pub fn put(&self, backend: Backend) -> Result<(), String> {
        run(&["ipset", "restore"], Self::SETS)?;
        for tool in FAMILIES {
            let restore = format!("{tool}-{}-restore", backend.name());
            run(&[&restore, "--noflush"], &self.tables())?;
        }
        Ok(())
    }

    /// Another program adds a rule to a chain of the kernel's, before all others or behind them: ours, too.
    pub fn add(&mut self, backend: Backend, random: &mut Random) -> Result<String, String> {
        let (table, chain) = random.of(&HOOKED);
        self.added += 1;
        let rule = format!("-p 97 -m comment --comment \"other's {}\" -j RETURN", self.added);
        let first = random.once_in(2);
        let verb = if first { "-I" } else { "-A" };
        for tool in FAMILIES {
            let restore = format!("{tool}-{}-restore", backend.name());
            run(&[&restore, "--noflush"], &format!("*{table}\n{verb} {chain} {rule}\nCOMMIT\n"))?;
        }
        let at = if first { 0 } else { self.rules.len() };
        self.rules.insert(at, (table, chain, rule));
        Ok(format!("somebody else's rule is put {verb} {table} {chain}"))
    }

    /// For `iptables-restore --noflush` into tables that have none of it.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for table in ["raw", "mangle", "nat", "filter"] {
            let _ = writeln!(text, "*{table}");
            for (_, chain) in CHAINS.iter().filter(|(of, _)| *of == table) {
                let _ = writeln!(text, ":{chain} - [0:0]");
            }
            for (_, chain, rule) in self.rules.iter().filter(|(of, _, _)| *of == table) {
                let _ = writeln!(text, "-A {chain} {rule}");
            }
            text += "COMMIT\n";
        }
        text
    }
}
