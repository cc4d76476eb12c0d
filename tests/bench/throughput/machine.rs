//! What the figures were taken on.

use std::fs;

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

/// KVM offers a guest its clock.
fn is_imitated() -> bool {
    read("/sys/devices/system/clocksource/clocksource0/available_clocksource")
        .is_ok_and(|clocks| !clocks.contains("kvm-clock"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}
