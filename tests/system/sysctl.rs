//! Settings of real interfaces.

use std::fs;

use felix_rs::system::sysctl::{Outcome, Sysctls};

use crate::namespace::{ip, run};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("sysctl::a_host", a_host),
    ("sysctl::a_workload", || a_workload("cali1")),
    ("sysctl::dots_in_a_name", || a_workload("eth0.5")),
    ("sysctl::as_in_a_container", as_in_a_container),
    ("sysctl::no_such_interface", no_such_interface),
];

fn a_host() -> Verdict {
    let sysctls = Sysctls::below("/proc/sys");
    ip("link set lo up\n")?;
    let done = sysctls.host(true, true).map_err(|e| e.to_string())?;
    settings(&[
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("netfilter/nf_conntrack_acct", "1"),
    ])?;
    expect_done(&done)?;
    nothing_more(&sysctls.host(true, true).map_err(|e| e.to_string())?)
}

fn a_workload(name: &str) -> Verdict {
    let sysctls = Sysctls::below("/proc/sys");
    ip(&format!("link add {name} type veth peer name other\nlink set {name} up\n"))?;
    let of = |family: &str, setting: &str| format!("{family}/{name}/{setting}");
    for (spoofing, rp_filter) in [(false, "2"), (true, "0")] {
        let done = sysctls.workload(name, true, spoofing, "2").map_err(|e| e.to_string())?;
        expect_done(&done)?;
        settings(&[
            (&of("ipv6/conf", "accept_ra"), "0"),
            (&of("ipv4/conf", "route_localnet"), "1"),
            (&of("ipv4/neigh", "proxy_delay"), "0"),
            (&of("ipv4/conf", "proxy_arp"), "1"),
            (&of("ipv4/conf", "forwarding"), "1"),
            (&of("ipv4/conf", "rp_filter"), rp_filter),
            (&of("ipv6/conf", "proxy_ndp"), "1"),
            (&of("ipv6/conf", "forwarding"), "1"),
            // Others are as they were.
            ("ipv4/conf/other/proxy_arp", "0"),
        ])?;
        nothing_more(&sysctls.workload(name, true, spoofing, "2").map_err(|e| e.to_string())?)?;
    }
    let default = sysctls.default_rp_filter().map_err(|e| e.to_string())?;
    let kernels =
        fs::read_to_string("/proc/sys/net/ipv4/conf/default/rp_filter").map_err(|e| e.to_string())?;
    if default == kernels.trim() { Ok(()) } else { Err(format!("{default:?} for {kernels:?}")) }
}

fn no_such_interface() -> Verdict {
    match Sysctls::below("/proc/sys").workload("cali1", true, false, "0") {
        Err(error) if error.help().contains("is gone") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// With settings that can only be read, in the mounts of this trial alone.
fn as_in_a_container() -> Verdict {
    ip("link add cali1 type veth peer name other\n")?;
    run(&["mount", "--bind", "/proc/sys", "/proc/sys"], "")?;
    run(&["mount", "-o", "remount,bind,ro", "/proc/sys"], "")?;
    match Sysctls::below("/proc/sys").workload("cali1", true, false, "0") {
        Err(error) if error.help().contains("in a container") => {
            let said = error.to_string();
            let want = "/proc/sys/net/ipv4/conf/cali1/route_localnet: writing 1: Read-only file system (os error 30)";
            if said == want { Ok(()) } else { Err(said) }
        }
        other => Err(format!("{other:?}")),
    }
}

fn settings(wanted: &[(&str, &str)]) -> Verdict {
    for (setting, value) in wanted {
        let found = fs::read_to_string(format!("/proc/sys/net/{setting}"));
        let found = found.map_err(|e| format!("{setting}: {e}"))?;
        if found.trim() != *value {
            return Err(format!("{setting} is {found:?}, not {value}"));
        }
    }
    Ok(())
}

fn expect_done(done: &Outcome) -> Verdict {
    if !done.written.is_empty() && done.left.is_empty() { Ok(()) } else { Err(format!("{done:?}")) }
}

fn nothing_more(done: &Outcome) -> Verdict {
    if done.written.is_empty() && done.left.is_empty() { Ok(()) } else { Err(format!("again: {done:?}")) }
}
