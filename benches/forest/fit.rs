//! Fits of the reference workloads: ours on one thread and on two, and other programs' on one.

mod ours;
mod peers;

use anyhow::Result;
use regrove_forest::Frame;
use regrove_forest::datasets::Synthetic;
use regrove_forest::model_selection::hold_out;
use serde_json::{Value, json};

use crate::Args;
use crate::clock::median;
use crate::workload::Workload;
use ours::Ours;
use peers::{Peer, Peers};

/// Measures and prints one workload.
pub(crate) fn print(args: &Args, workload: Workload) -> Result<()> {
    let train = {
        let frame = Synthetic::parse(&workload.uri())?.frame()?;
        hold_out(&frame, 0.2, 0)?.0
    };
    let mut ours = Ours::new(&train, workload.params())?;
    let n_train = train.n_samples();
    let mut peers = match &args.python {
        Some(python) => Some(Peers::start(python, workload, &args.fit_peers, args.peer_trees)?),
        None => None,
    };
    let mut rounds: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..args.repeats {
        ours.round(&train);
        if let Some(peers) = &mut peers {
            peers.measure(|name, seconds| match rounds.iter_mut().find(|(known, _)| known == name) {
                Some((_, times)) => times.push(seconds),
                None => rounds.push((name.to_owned(), vec![seconds])),
            })?;
        }
    }
    let report = peers.map(|peers| peers.report).unwrap_or_default();
    if args.json {
        println!("{}", to_json(workload, &train, &ours, &rounds));
        return Ok(());
    }
    println!("fit of workload {workload:?}: {} trees on {n_train} rows", workload.params().n_estimators);
    println!("  {:14} {:>9.4} CPU s", "Regrove", ours.cpu());
    println!(
        "  {:14} {:>9.4} s wall on two threads, {:.2} × one thread's {:.4} s; peak memory {:.2} × the float32 data",
        "",
        ours.wall_two(),
        ours.gain(),
        ours.wall_one(),
        ours.peak
    );
    for (name, times) in &rounds {
        let known = report.get(name).map(Peer::describe).unwrap_or_default();
        println!("  {name:14} {:>9.4} CPU s, {:.1} × ours{known}", median(times.clone()), ours.ratio(times));
    }
    for (name, peer) in &report {
        if let Peer::Failed { error } = peer {
            println!("  {name}: {error}");
        }
    }
    Ok(())
}

fn to_json(workload: Workload, train: &Frame, ours: &Ours, rounds: &[(String, Vec<f64>)]) -> Value {
    let peers: Vec<Value> = rounds
        .iter()
        .map(|(name, times)| json!({"program": name, "cpu_seconds": median(times.clone()), "ratio": ours.ratio(times)}))
        .collect();
    json!({
        "fit": format!("{workload:?}"),
        "n_samples": train.n_samples(),
        "cpu_seconds": ours.cpu(),
        "two_threads": ours.gain(),
        "peak_by_data": ours.peak,
        "peers": peers,
    })
}
