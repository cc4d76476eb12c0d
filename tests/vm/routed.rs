//! Daemons make the network, and nothing else does.

use std::thread;
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::evidence;
use crate::lab::Lab;
use crate::manifests::{POLICY, network, pool};
use crate::netns::Backend;
use crate::probe::{self, Answer};
use crate::throughput;
use crate::world::{CABLES, Mode, TUNNEL_MTU, UPLINK, container_address, host_address, tunnel_of_block};
use crate::{Case, Verdict};

pub const CASES: &[Case] = &[
    ("routed::modes_change_under_a_connection", modes_change_under_a_connection),
    ("routed::a_tunnel_that_others_would_change_or_use", a_tunnel_that_others_would_change_or_use),
];

/// The field report from its beginning to its figures, on daemons that live through it.
fn modes_change_under_a_connection() -> Verdict {
    let lab = Lab::new(Backend::Nft)?;
    // The daemon is to load it.
    lab.world.host(0).run(&["modprobe", "-r", "ipip"], "")?;
    lab.put("network", &network())?;
    lab.put("pool", &pool(Mode::Tunnel))?;
    let mut daemons = lab.daemons()?;
    until(|| evidence::routes(&lab.world, Mode::Tunnel))?;
    evidence::ping(&lab.world, Answer::Blocked).map_err(|found| format!("without a policy: {found}"))?;
    lab.change(&mut daemons, |lab| lab.put("policy", POLICY))?;
    until(|| tunnel(&lab, true))?;
    evidence::wire(&lab.world, Mode::Tunnel)?;

    let failed = |e| format!("the connection: {e}");
    probe::answer_in(lab.world.container(0)).map_err(failed)?;
    let port = probe::TCP_PORTS[0];
    let mut stream = probe::connection(lab.world.container(1), container_address(0), port).map_err(failed)?;
    let mut paths = vec![throughput::host_to_host(&lab)?];
    for mode in [Mode::Plain, Mode::Tunnel] {
        lab.put("pool", &pool(mode))?;
        until(|| evidence::routes(&lab.world, mode))?;
        until(|| tunnel(&lab, mode == Mode::Tunnel))?;
        if !probe::says_back(&mut stream, Answer::Passes.patience()).map_err(failed)? {
            return Err(format!("the connection does not go on in {mode:?} mode"));
        }
        evidence::wire(&lab.world, mode)?;
        paths.push(throughput::between_containers(&lab, mode)?);
    }
    println!("{}", throughput::table(&paths));
    Ok(())
}

fn a_tunnel_that_others_would_change_or_use() -> Verdict {
    let lab = Lab::new(Backend::Nft)?;
    lab.put("network", &(network() + POLICY))?;
    lab.put("pool", &pool(Mode::Tunnel))?;
    let _daemon = lab.daemon()?;
    the_tunnel_is_kept(&lab)?;
    strangers_have_no_tunnel(&lab)
}

/// Whoever changes it, it is as it was.
fn the_tunnel_is_kept(lab: &Lab) -> Verdict {
    let sound = || {
        evidence::routes_of(&lab.world, 0, Mode::Tunnel)?;
        tunnel(lab, true)
    };
    until(sound)?;
    // Not too many, as who goes on is given way to for a while. The address that is in no pool is somebody's.
    for change in [
        "link set tunl0 mtu 1400\naddress add 10.11.12.13/32 dev tunl0\n",
        "link set tunl0 down\naddress flush dev tunl0 to 192.168.0.0/16\n",
        "address add 192.168.41.99/32 dev tunl0\n",
    ] {
        lab.world.host(0).ip(change)?;
        until(sound).map_err(|found| format!("after ip {change}{found}"))?;
    }
    match tunnel_says(lab)? {
        said if said.contains("10.11.12.13/32") => Ok(()),
        said => Err(format!("somebody's address is gone: {said}")),
    }
}

/// A packet within a packet that comes from no host's address.
fn strangers_have_no_tunnel(lab: &Lab) -> Verdict {
    let other = lab.world.host(1);
    let stranger = "172.17.8.200";
    other.ip(&format!("address add {stranger}/24 dev {UPLINK}\n"))?;
    for (local, arrives) in [(host_address(1).to_string(), true), (stranger.to_owned(), false)] {
        let (remote, to) = (host_address(0), container_address(0));
        other.ip(&format!(
            "link add stranger type ipip local {local} remote {remote}\n\
             link set stranger up\n\
             route replace {to}/32 dev stranger src {local}\n"
        ))?;
        let mut capture = Capture::on(lab.world.host(0), CABLES[0])?;
        let mut uplink = Capture::on(lab.world.host(0), UPLINK)?;
        let patience = Answer::Blocked.patience();
        other.within(|| probe::send(to, probe::Kind::Icmp, patience)).map_err(|e| e.to_string())?;
        other.ip("link delete stranger\n")?;
        let request = format!("IP {local} > {to}: ICMP echo request");
        let sent = format!("IP {local} > {remote}: {request}");
        let (heard, before) = (capture.lines()?, uplink.lines()?);
        if heard.contains(&request) != arrives || !before.contains(&sent) {
            return Err(format!("from {local}: on the uplink {before:?}, to the container {heard:?}"));
        }
    }
    Ok(())
}

/// The first host's tunl0: as the tunnel needs it, or there without an address of a pool's.
fn tunnel(lab: &Lab, wanted: bool) -> Verdict {
    let said = tunnel_says(lab)?;
    let address = format!("inet {}/32", tunnel_of_block(0));
    let of_pools = said.matches("inet 192.168.").count();
    let sound = if wanted {
        said.contains(&address)
            && of_pools == 1
            && said.contains(",UP")
            && said.contains(&format!("mtu {TUNNEL_MTU} "))
    } else {
        of_pools == 0
    };
    if sound { Ok(()) } else { Err(format!("tunl0, wanted: {wanted}: {said}")) }
}

fn tunnel_says(lab: &Lab) -> Result<String, String> {
    lab.world.host(0).run(&["ip", "address", "show", "dev", "tunl0"], "")
}

fn until(mut good: impl FnMut() -> Verdict) -> Verdict {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match good() {
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => thread::sleep(Duration::from_millis(250)),
            Ok(()) => return Ok(()),
        }
    }
}
