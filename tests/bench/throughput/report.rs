//! The figures, as the report gives them, and whether they are what is wanted.

use std::fmt::Write as _;

use crate::iperf::Measured;
use crate::link::Link;
use crate::paths::{Path, Way};
use crate::world::{Mode, TUNNEL_MTU};

/// What plain containers keep of host to host, with a policy in force. The field report's kept 0.93.
const PLAIN: f64 = 0.97;

/// What the tunnel keeps of plain, in segments that both carry.
const TUNNEL: f64 = 0.95;

/// Of what the shaped link may carry, host to host must carry this for the ratios to say something: headers are a
/// twentieth.
const CARRIED: f64 = 0.9;

struct Row {
    path: Path,
    median: Measured,
}

/// `measured`: by path, all rounds.
pub fn of(link: Link, paths: &[Path], measured: &[Vec<Measured>]) -> String {
    let rows: Vec<Row> = paths
        .iter()
        .zip(measured)
        .map(|(path, rounds)| Row { path: *path, median: median_of_each(rounds) })
        .collect();
    let targets = match link {
        Link::Unshaped => String::new(),
        Link::Shaped(rate) => targets(&rows, rate),
    };
    table(&rows) + &targets
}

fn table(rows: &[Row]) -> String {
    let mut table = "\
| path | rules | segments | Gbit/s | of host to host | retransmits | CPU s per Gbit |
| --- | --- | --- | --- | --- | --- | --- |
"
    .to_owned();
    for Row { path, median } in rows {
        let Measured { gigabits_per_second, retransmits, seconds_per_gigabit } = median;
        let ratio = rows
            .iter()
            .find(|row| row.path == path_of_hosts(path))
            .map(|hosts| of_other(median, &hosts.median));
        let ratio = ratio.unwrap_or(f64::NAN);
        let _ = writeln!(
            table,
            "| {path} | {gigabits_per_second:.3} | {ratio:.3} | {retransmits} | {seconds_per_gigabit:.3} |"
        );
    }
    table
}

/// Of the shaped link: the worst of the rows counts.
fn targets(rows: &[Row], rate: u32) -> String {
    let mut targets = "\n".to_owned();
    let plain = rows.iter().filter(|row| row.path.is_by(Mode::Plain));
    let plain = worst(rows, plain, path_of_hosts);
    let _ = writeln!(targets, "plain, policy in force, of host to host: {}", said(plain, PLAIN));
    let is_equal = |row: &&Row| row.path.is_by(Mode::Tunnel) && row.path.segment.is_some();
    let tunnel = worst(rows, rows.iter().filter(is_equal), plain_path);
    let _ = writeln!(targets, "IPIP of plain, both -M {TUNNEL_MTU}: {}", said(tunnel, TUNNEL));
    let hosts = rows.iter().filter(|row| row.path.way == Way::Hosts);
    let carried = hosts.map(|row| row.median.gigabits_per_second * 1000.0 / f64::from(rate));
    if carried.fold(1.0, f64::min) < CARRIED {
        targets +=
            "but host to host does not carry what the link would: it is the machine that is measured\n";
    }
    targets
}

/// The lowest ratio of these rows to others, each to its own.
fn worst<'a>(all: &[Row], rows: impl Iterator<Item = &'a Row>, other: impl Fn(&Path) -> Path) -> Option<f64> {
    let ratios = rows.filter_map(|row| {
        let other = all.iter().find(|found| found.path == other(&row.path))?;
        Some(of_other(&row.median, &other.median))
    });
    ratios.reduce(f64::min)
}

fn said(ratio: Option<f64>, wanted: f64) -> String {
    match ratio {
        None => "not measured here: this kernel has no tunl0".to_owned(),
        Some(ratio) if ratio >= wanted => format!("at least {ratio:.3}; wanted {wanted:.2}: met"),
        Some(ratio) => format!("only {ratio:.3}; wanted {wanted:.2}: not met"),
    }
}

impl Path {
    fn is_by(&self, wanted: Mode) -> bool {
        matches!(self.way, Way::Containers { mode, .. } if mode == wanted)
    }
}

fn path_of_hosts(path: &Path) -> Path {
    Path { way: Way::Hosts, segment: path.segment }
}

fn plain_path(path: &Path) -> Path {
    let way = match path.way {
        Way::Containers { mode: _, rules } => Way::Containers { mode: Mode::Plain, rules },
        Way::Bare | Way::Hosts => path.way,
    };
    Path { way, segment: path.segment }
}

fn of_other(one: &Measured, other: &Measured) -> f64 {
    one.gigabits_per_second / other.gigabits_per_second
}

fn median_of_each(rounds: &[Measured]) -> Measured {
    Measured {
        gigabits_per_second: median(rounds, |round| round.gigabits_per_second),
        retransmits: median(rounds, |round| round.retransmits as f64) as u64,
        seconds_per_gigabit: median(rounds, |round| round.seconds_per_gigabit),
    }
}

fn median(rounds: &[Measured], figure: impl Fn(&Measured) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
