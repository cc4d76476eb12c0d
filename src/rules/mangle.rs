//! The mangle table: host endpoints' policy before and behind destination NAT (reference §6.5).

use super::family::Family;
use super::ruleset::{Chain, Hook, Match, Provenance, Rule, Target};
use super::shorthand::{DNAT, ESTABLISHED, HOST_ENDPOINT_ACCEPTED};

pub(super) fn hooks() -> Vec<Hook> {
    vec![Hook::jump("PREROUTING", "cali-PREROUTING"), Hook::jump("POSTROUTING", "cali-POSTROUTING")]
}

pub(super) fn chains(family: &Family<'_>) -> Vec<Chain> {
    vec![
        prerouting(family),
        postrouting(family),
        Chain::fixed("cali-from-host-endpoint", vec![]),
        Chain::fixed("cali-to-host-endpoint", vec![]),
    ]
}

fn prerouting(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let accepted = || Rule::when([Match::marked(family.marks.accept)], family.mangle_allow(), why);
    let rules = vec![
        Rule::when([Match::conntrack(ESTABLISHED)], family.mangle_allow(), why),
        accepted(),
        Rule::always(Target::jump("cali-from-host-endpoint"), why),
        accepted().comment(HOST_ENDPOINT_ACCEPTED),
    ];
    Chain::fixed("cali-PREROUTING", rules)
}

/// What the host itself sends to a service gets its way out only here: filter's OUTPUT still sees the old one.
fn postrouting(family: &Family<'_>) -> Chain {
    let why = &Provenance::Static;
    let accepted = || Rule::when([Match::marked(family.marks.accept)], Target::Return, why);
    let rules = vec![
        accepted(),
        Rule::always(Target::clear_mark(family.marks.all()), why),
        Rule::when([Match::conntrack(DNAT)], Target::jump("cali-to-host-endpoint"), why),
        accepted().comment(HOST_ENDPOINT_ACCEPTED),
    ];
    Chain::fixed("cali-POSTROUTING", rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AllowAction, Config};
    use crate::model::IpVersion;
    use crate::policy::HostPolicy;
    use crate::rules::fixture::{chain_texts, family};

    #[test]
    fn accepted_packets_leave_as_configured() {
        let policy = HostPolicy::default();
        for (mangle_allow_action, allow) in [(AllowAction::Accept, "ACCEPT"), (AllowAction::Return, "RETURN")]
        {
            let config = Config { mangle_allow_action, ..Config::default() };
            let chains = chains(&family(&policy, &config, IpVersion::V4));
            assert_eq!(
                chain_texts(&chains, "cali-PREROUTING"),
                [
                    format!("-m conntrack --ctstate RELATED,ESTABLISHED --jump {allow}"),
                    format!("-m mark --mark 0x8/0x8 --jump {allow}"),
                    "--jump cali-from-host-endpoint".to_owned(),
                    format!(
                        "-m comment --comment \"Host endpoint policy accepted packet.\" -m mark --mark 0x8/0x8 --jump {allow}"
                    ),
                ]
            );
            assert_eq!(
                chain_texts(&chains, "cali-POSTROUTING"),
                [
                    "-m mark --mark 0x8/0x8 --jump RETURN",
                    "--jump MARK --set-mark 0/0x78",
                    "-m conntrack --ctstate DNAT --jump cali-to-host-endpoint",
                    "-m comment --comment \"Host endpoint policy accepted packet.\" -m mark --mark 0x8/0x8 --jump RETURN",
                ]
            );
        }
    }
}
