//! What the figures were taken on.

use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::iperf;

/// What others may take of a processor, at most, for the figures to be those of the network.
const OTHERS: f64 = 0.1;

pub fn description(in_guest: bool) -> Result<String, String> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let processors = read("/proc/cpuinfo")?;
    let values = |name: &str| {
        let lines = processors.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let count = values("processor").len();
    let model = values("model name").first().copied().unwrap_or("unknown");
    let is_virtual = values("flags").iter().any(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let place = match (in_guest, is_virtual) {
        (true, _) if is_imitated() => "in the guest of tests/vm, whose processors are imitated",
        (true, _) => "in the guest of tests/vm",
        (false, true) => "in a virtual machine",
        (false, false) => "on bare metal",
    };
    Ok(format!("Linux {}, {count} × {model}, {place}\n", release.trim()))
}

/// What others do here, before anything is measured: they change the figures, the guest's above all.
pub fn others() -> Result<String, String> {
    let (began, before) = (Instant::now(), iperf::busy_seconds()?);
    thread::sleep(Duration::from_secs(2));
    let busy = (iperf::busy_seconds()? - before) / began.elapsed().as_secs_f64();
    let verdict = if busy > OTHERS { "too many: measure again where it is quiet" } else { "few enough" };
    Ok(format!("Processors busy with other things: {busy:.2}, {verdict}\n"))
}

/// KVM offers a guest its clock.
fn is_imitated() -> bool {
    read("/sys/devices/system/clocksource/clocksource0/available_clocksource")
        .is_ok_and(|clocks| !clocks.contains("kvm-clock"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}
