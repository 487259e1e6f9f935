//! The tables: what each server did, how many times as much that is, and what it should be.

use std::time::Duration;

use super::load::Run;

/// One line.
pub struct Row {
    what: String,
    weir: String,
    other: String,
    ratio: f64,
    target: Option<f64>,
    /// What an operation costs the servers' processes.
    processor: Option<[Duration; 2]>,
}

/// Before the lines of one kind.
pub fn heading(text: &str) {
    println!("\n{text}\n");
    println!(
        "{:<34} {:>13} {:>16} {:>8} {:>8}        processor time each, both",
        "", "weir", "docker-registry", "ratio", "target"
    );
}

impl Row {
    /// Operations per second: more is better.
    pub fn rate(what: impl Into<String>, runs: [Run; 2], target: Option<f64>) -> Self {
        Self::runs(what.into(), runs, target, runs.map(|run| run.per_second()), |rate| format!("{rate:.0}/s"))
    }

    /// Bytes per second: more is better.
    pub fn throughput(what: impl Into<String>, runs: [Run; 2], target: Option<f64>) -> Self {
        let shown = |rate: f64| format!("{:.0} MB/s", rate / 1e6);
        Self::runs(what.into(), runs, target, runs.map(|run| run.bytes_per_second()), shown)
    }

    /// Something of which less is better: the ratio says how many times as much the other has.
    pub fn less(what: impl Into<String>, values: [f64; 2], target: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        let ratio = values[1] / values[0];
        Self { what: what.into(), weir: show(values[0]), other: show(values[1]), ratio, target, processor: None }
    }

    fn runs(what: String, runs: [Run; 2], target: Option<f64>, rates: [f64; 2], show: impl Fn(f64) -> String) -> Self {
        let processor = Some(runs.map(|run| run.processor_each()));
        Self { what, weir: show(rates[0]), other: show(rates[1]), ratio: rates[0] / rates[1], target, processor }
    }

    pub fn print(&self) {
        let (target, verdict) = match self.target {
            Some(target) => (format!("≥ {target}×"), if self.ratio < target { "SHORT" } else { "" }),
            None => (String::new(), ""),
        };
        let processor = self.processor.map(|[weir, other]| format!("{} : {}", shown(weir), shown(other)));
        println!(
            "{:<34} {:>13} {:>16} {:>7.2}× {target:>8}  {verdict:<5} {}",
            self.what,
            self.weir,
            self.other,
            self.ratio,
            processor.unwrap_or_default()
        );
    }
}

fn shown(time: Duration) -> String {
    match time.as_micros() {
        0..10_000 => format!("{} µs", time.as_micros()),
        _ => format!("{} ms", time.as_millis()),
    }
}
