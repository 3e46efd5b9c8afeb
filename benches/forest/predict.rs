//! Predictions of the reference workloads beside other programs' that predict with the same trees.

mod folder;
mod ours;
mod peers;
mod table;

use anyhow::Result;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{datasets::Synthetic, fit};

use crate::Args;
use crate::workload::Workload;
use ours::Ours;
use peers::Peers;
use table::Table;

/// Measures and prints one workload.
pub(crate) fn print(args: &Args, workload: Workload) -> Result<()> {
    let frame = Synthetic::parse(&workload.uri())?.frame()?;
    let (train, _) = train_test_split_stratified(&frame, 0.2, 0)?;
    let forest = fit(&train, &workload.params())?;
    let ours = Ours::new(&forest, &frame, args.rows.iter().copied().max().unwrap_or(1))?;
    let folder = folder::write(&forest, &ours)?;
    let peers = args.python.as_deref().map(|python| Peers::start(python, folder.path(), &args.predict_peers));
    let mut peers = peers.transpose()?;
    let mut table = Table::new(workload, &forest, &ours, peers.as_ref());
    for _ in 0..args.repeats {
        for rows_per_call in &args.rows {
            for (name, model) in &ours.models {
                table.add(name, *rows_per_call, ours.measure(model, *rows_per_call));
            }
            if let Some(peers) = &mut peers {
                peers.measure(*rows_per_call, |name, micros| table.add(name, *rows_per_call, micros))?;
            }
        }
        table.add_loads(ours.load()?);
    }
    if args.json {
        println!("{}", serde_json::to_string(&table.to_json())?);
    } else {
        println!("{table}");
    }
    Ok(())
}
