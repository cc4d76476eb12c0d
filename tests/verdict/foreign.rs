//! Rules that others write, in forms of theirs: whatever the kernel makes of them, they stay the same rules.

use std::fmt::Write;

use felix_rs::model::IpVersion;
use felix_rs::verdict::chains::saved::{self, Mixture};
use libtest_mimic::{Failed, Trial};

use crate::netns;
use crate::read_back::{BACKENDS, END, said, tool};

const SETS: &str = "create nets4 hash:net timeout 600\nadd nets4 10.0.0.0/8 timeout 500\nadd nets4 10.1.2.3/16\n\
    create hosts4 hash:ip counters comment\nadd hosts4 10.0.0.1-10.0.0.6 comment \"nomatch, or \\ not\"\n\
    create ports4 hash:ip,port\nadd ports4 10.0.0.1,80\nadd ports4 10.0.0.1,udp:53\nadd ports4 10.0.0.1,udplite:7\n\
    create holes4 hash:net\nadd holes4 10.0.0.0/8\nadd holes4 10.1.0.0/16 nomatch\n\
    create icmp4 hash:ip,port\nadd icmp4 10.0.0.1,icmp:echo-request\n\
    create list list:set\nadd list nets4\n\
    create nets6 hash:net family inet6\nadd nets6 fd00::1/8\n\
    create ports6 hash:ip,port family inet6\nadd ports6 fd00::1,sctp:9\n";

/// Table, rule.
const BOTH: &[(&str, &str)] = &[
    ("filter", ""),
    ("filter", "-j mine"),
    ("filter", "-g mine"),
    ("filter", "-i eth+ ! -o lo -j DROP"),
    ("filter", "-i + -j DROP"),
    ("filter", "-p 4 -j ACCEPT"),
    ("filter", "! -p 94 -j ACCEPT"),
    ("filter", "-p gre"),
    ("filter", "-p all -j RETURN"),
    ("filter", "-p tcp --dport 80 -j REJECT --reject-with tcp-reset"),
    ("filter", "-p tcp -m tcp --sport 1024: ! --dport 80:90 -j ACCEPT"),
    ("filter", "-p udp -m udp --sport :53"),
    ("filter", "-p sctp -m sctp --dport 9"),
    ("filter", "-p dccp -m dccp --dport 9"),
    ("filter", "-p tcp -m state --state NEW --dport 22 -j ACCEPT"),
    ("filter", "-p udplite -m multiport ! --ports 1,2:3,4"),
    ("filter", "-p tcp -m multiport --sports 1 -m multiport --dports 2"),
    ("filter", "-m conntrack --ctstate INVALID,UNTRACKED,SNAT,DNAT -j DROP"),
    ("filter", "-m conntrack ! --ctstate related,established"),
    ("filter", "-m mark --mark 16"),
    ("filter", "-m mark ! --mark 0x10/0xf0"),
    ("filter", "-m mark --mark 0/0xf0"),
    ("filter", "-m addrtype --dst-type LOCAL -j DROP"),
    ("filter", "-m addrtype --src-type LOCAL ! --dst-type LOCAL"),
    ("filter", "-m comment --comment \"say \\\"no\\\" to \\\\ 'it'\" -j DROP"),
    ("filter", "-m comment --comment \"\" -m comment --comment -j -j DROP"),
    ("filter", "-m limit --limit 7/minute --limit-burst 9 -j DROP"),
    ("filter", "-m limit --limit 7/s -j DROP"),
    ("filter", "-j LOG --log-prefix \"-j ACCEPT \" --log-level 4"),
    ("filter", "-j NFLOG --nflog-group 3 --nflog-prefix \"x y\""),
    ("mangle", "-j MARK --set-mark 0x110/0xff"),
    ("mangle", "-j MARK --set-xmark 0x110/0xff"),
    ("mangle", "-j MARK --set-mark 7"),
    ("mangle", "-j MARK --and-mark 0xf0"),
    ("mangle", "-j MARK --or-mark 0xf0"),
    ("mangle", "-j MARK --xor-mark 0xf0"),
    ("mangle", "-j CONNMARK --save-mark --nfmask 0xf --ctmask 0xf0"),
    ("mangle", "-j CONNMARK --restore-mark --mask 0xf0"),
    ("mangle", "-j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf0"),
    ("mangle", "-j CONNMARK --restore-mark"),
    ("mangle", "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400"),
    ("mangle", "-j TOS --set-tos 0x10/0x3f"),
    ("raw", "-m rpfilter --invert --validmark -j DROP"),
    ("raw", "-m rpfilter -j DROP"),
    ("raw", "-j NOTRACK"),
    ("raw", "-j CT --notrack"),
    ("nat", "-j MASQUERADE"),
    ("nat", "-p tcp -j MASQUERADE --to-ports 1024-2048 --random-fully"),
];

const V4: &[(&str, &str)] = &[
    ("filter", "-s 10.1.2.3/8 -d 10.0.0.0/255.255.0.0"),
    ("filter", "-s 0.0.0.0/0 ! -d 10.0.0.1"),
    ("filter", "-p icmp --icmp-type echo-request"),
    ("filter", "-p icmp -m icmp ! --icmp-type 3/4 -j DROP"),
    ("filter", "-p icmp -m icmp --icmp-type any"),
    ("filter", "-p icmp -m icmp --icmp-type fragmentation-needed"),
    ("filter", "-j REJECT --reject-with icmp-host-prohibited"),
    ("filter", "-m set --match-set nets4 src -m set ! --match-set hosts4 dst"),
    ("filter", "-m set --match-set ports4 src,dst -j DROP"),
    ("filter", "-m set --match-set holes4 src -m set --match-set list dst"),
    ("nat", "-j SNAT --to-source 10.0.0.1"),
    ("nat", "-p tcp -j SNAT --to-source 10.0.0.1:1024-2048 --random-fully"),
    ("nat", "-j SNAT --to-source 10.0.0.1-10.0.0.9 --persistent"),
];

const V4_ARRIVING: &[(&str, &str)] = &[
    ("nat", "-j DNAT --to-destination 10.0.0.1 --persistent"),
    ("nat", "-p tcp -j DNAT --to-destination 10.0.0.1:80 --random"),
];

const V6: &[(&str, &str)] = &[
    ("filter", "-s fd00::1/8 -d fd00::/ffff::"),
    ("filter", "-s ::/0 ! -d fd00::1"),
    ("filter", "-p icmpv6 --icmpv6-type neighbour-solicitation"),
    ("filter", "-p icmpv6 -m icmp6 ! --icmpv6-type 1/4 -j DROP"),
    ("filter", "-j REJECT --reject-with icmp6-adm-prohibited"),
    ("filter", "-m set --match-set nets6 src -m set --match-set ports6 dst,dst"),
    ("nat", "-p tcp -j SNAT --to-source [fd00::1]:1024-2048"),
    ("nat", "-j SNAT --to-source fd00::1"),
];

const V6_ARRIVING: &[(&str, &str)] =
    &[("nat", "-j DNAT --to-destination fd00::1"), ("nat", "-p tcp -j DNAT --to-destination [fd00::1]:80")];

pub fn trials(skip_kernel: bool) -> Vec<Trial> {
    [IpVersion::V4, IpVersion::V6]
        .into_iter()
        .flat_map(|version| BACKENDS.map(|backend| (version, backend)))
        .map(|(version, backend)| {
            let name = format!("foreign::{}::{backend}", tool(version));
            Trial::test(name, move || same_rules(version, backend)).with_ignored_flag(skip_kernel)
        })
        .collect()
}

fn same_rules(version: IpVersion, backend: &str) -> Result<(), Failed> {
    let given = tables(version);
    let tool = tool(version);
    let script = format!(
        "ipset restore <<'{END}'\n{SETS}{END}\n{tool}-{backend}-restore <<'{END}'\n{given}{END}\n\
        {tool}-{backend}-save -c\nipset save\n"
    );
    let mixture = Mixture::of(&[&netns::run(&script)?]);
    let sets = mixture.sets.as_deref().ok_or("no sets")?;
    let found = mixture.tables(version).ok_or("no tables")?;
    let given = saved::parse(version, &given, Some(SETS)).map_err(said)?;
    let found = saved::parse(version, found, Some(sets)).map_err(said)?;
    let mut differences = String::new();
    for (number, (given_chain, found_chain)) in
        given.program.chains.iter().zip(&found.program.chains).enumerate()
    {
        if given_chain.rules.len() != found_chain.rules.len() {
            let _ = writeln!(differences, "{}: rules are missing", given_chain.name);
        }
        let texts = given.rules[number].iter().zip(&found.rules[number]);
        for ((given, found), (wanted, text)) in given_chain.rules.iter().zip(&found_chain.rules).zip(texts) {
            if given != found {
                let (wanted, text) = (&wanted.text, &text.text);
                let _ = writeln!(differences, "{wanted}\n  {given:?}\n{text}\n  {found:?}\n");
            }
        }
    }
    for (given, found) in given.program.sets.iter().zip(&found.program.sets).filter(|(a, b)| a != b) {
        let _ = writeln!(differences, "{given:?}\n{found:?}\n");
    }
    if differences.is_empty() && given.program == found.program { Ok(()) } else { Err(differences.into()) }
}

fn tables(version: IpVersion) -> String {
    let (own, arriving) = match version {
        IpVersion::V4 => (V4, V4_ARRIVING),
        IpVersion::V6 => (V6, V6_ARRIVING),
    };
    let mut text = String::new();
    for (table, chain) in
        [("raw", "PREROUTING"), ("mangle", "FORWARD"), ("nat", "POSTROUTING"), ("filter", "FORWARD")]
    {
        let of_table = |(of, _): &&(&str, &str)| *of == table;
        let _ = writeln!(text, "*{table}\n:{chain} DROP [0:0]\n:mine - [0:0]");
        for (_, rule) in BOTH.iter().chain(own).filter(of_table) {
            let _ = writeln!(text, "-A {chain} {rule}");
        }
        for (_, rule) in arriving.iter().filter(of_table) {
            let _ = writeln!(text, "-A PREROUTING {rule}");
        }
        text.push_str("COMMIT\n");
    }
    text
}
