//! Medians and ratios.

use std::collections::BTreeMap;
use std::fmt;

use regrove_forest::Forest;
use serde_json::{Value, json};

use super::ours::{Loads, Ours};
use super::peers::{Peer, Peers};
use crate::clock::median;
use crate::workload::Workload;

/// What was measured on one workload: microseconds of CPU time per row, by program and rows per call, a number per round.
pub(crate) struct Table {
    title: String,
    names: Vec<String>,
    peers: BTreeMap<String, Peer>,
    micros: BTreeMap<(String, usize), Vec<f64>>,
    loads: Vec<Loads>,
}

impl Table {
    pub(crate) fn new(workload: Workload, forest: &Forest, ours: &Ours, peers: Option<&Peers>) -> Self {
        let title = format!(
            "predictions of workload {workload:?}: {} trees, {} nodes, file {} bytes",
            forest.trees().len(),
            forest.trees().iter().map(regrove_forest::Tree::node_count).sum::<usize>(),
            ours.file_len()
        );
        let names = ours.models.iter().map(|(name, _)| name.clone()).collect();
        let peers = peers.map(|peers| peers.report.clone()).unwrap_or_default();
        Self { title, names, peers, micros: BTreeMap::new(), loads: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &str, rows_per_call: usize, micros: f64) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        self.micros.entry((name.to_owned(), rows_per_call)).or_default().push(micros);
    }

    pub(crate) fn add_loads(&mut self, loads: Loads) {
        self.loads.push(loads);
    }

    fn rows_per_call(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.micros.keys().map(|(_, rows)| *rows).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Median of a program's times.
    fn median(&self, name: &str, rows: usize) -> f64 {
        median(self.rounds(name, rows).to_vec())
    }

    fn rounds(&self, name: &str, rows: usize) -> &[f64] {
        self.micros.get(&(name.to_owned(), rows)).map_or(&[], Vec::as_slice)
    }

    /// Median over the rounds of how many times longer a program takes than our widest level in the same round.
    fn ratio(&self, name: &str, rows: usize) -> f64 {
        let ours = self.names.first().map_or(&[][..], |name| self.rounds(name, rows));
        median(self.rounds(name, rows).iter().zip(ours).map(|(peer, ours)| peer / ours).collect())
    }

    fn loads(&self) -> (f64, f64) {
        let part = |number: fn(&Loads) -> f64| median(self.loads.iter().map(number).collect());
        (part(|loads| loads.checked), part(|loads| loads.hashed))
    }

    pub(crate) fn to_json(&self) -> Value {
        let (checked, hashed) = self.loads();
        let cell = |name: &String, rows| {
            json!({"program": name, "rows_per_call": rows,
            "cpu_micros_per_row": self.median(name, rows), "ratio": self.ratio(name, rows)})
        };
        let cells: Vec<Value> = self
            .names
            .iter()
            .flat_map(|name| self.rows_per_call().into_iter().map(move |rows| cell(name, rows)))
            .collect();
        json!({"workload": self.title, "load_micros": checked, "load_micros_with_sha256": hashed, "predict": cells, "peers": self.peers})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (checked, hashed) = self.loads();
        writeln!(f, "{}; loaded in {checked:.0} µs, with its SHA-256 in {hashed:.0} µs", self.title)?;
        write!(f, "{:20}", "CPU µs/row (ratio)")?;
        for rows in self.rows_per_call() {
            write!(f, "{:>20}", format!("{rows} per call"))?;
        }
        writeln!(f)?;
        for name in &self.names {
            write!(f, "{name:20}")?;
            for rows in self.rows_per_call() {
                write!(f, "{:>20}", format!("{:.2} ({:.2})", self.median(name, rows), self.ratio(name, rows)))?;
            }
            match self.peers.get(name) {
                Some(Peer::Ready { version, difference, prepared }) => {
                    writeln!(f, "   {version}; differs by {difference:.1e}; ready after {prepared:.1} s")?;
                }
                _ => writeln!(f)?,
            }
        }
        for (name, peer) in &self.peers {
            if let Peer::Failed { error } = peer {
                writeln!(f, "{name}: {error}")?;
            }
        }
        Ok(())
    }
}
