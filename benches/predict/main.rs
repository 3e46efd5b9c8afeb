//! Predict times of the reference workloads beside other programs' that predict with the same trees. See `README.md` here.

#![expect(clippy::print_stdout, reason = "a table is what this command makes")]

mod folder;
mod ours;
mod peers;
mod table;
#[path = "../forest/workload.rs"]
mod workload;

use std::path::PathBuf;

use clap::Parser;
use regrove_forest::model_selection::train_test_split_stratified;
use regrove_forest::{datasets::Synthetic, fit};

use ours::Ours;
use peers::Peers;
use table::Table;
use workload::Workload;

/// CPU time per row of the forest library at every level of instructions the processor has, with ratios to other programs.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  \
    bench-predict --python target/bench-venv/bin/python --workloads a,b\n\n\
    `cargo xtask bench` makes the Python environment, builds this program and runs it.")]
struct Args {
    /// Workloads to run.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "a,b")]
    workloads: Vec<Workload>,
    /// Rows per call.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,100000")]
    rows: Vec<usize>,
    /// A Python interpreter with the packages of `peers/requirements.txt`; without it only our own times are printed.
    #[arg(long, env = "REGROVE_BENCH_PYTHON")]
    python: Option<PathBuf>,
    /// Programs to compare with.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "scikit-learn,onnxruntime,treelite GTIL,tl2cgen (from C),LightGBM,lleaves"
    )]
    peers: Vec<String>,
    /// Rounds, in each of which everything is measured once; medians are printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Print JSON, one line per workload, instead of tables.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    for workload in &args.workloads {
        let frame = Synthetic::parse(&workload.uri())?.frame()?;
        let (train, _) = train_test_split_stratified(&frame, 0.2, 0)?;
        let forest = fit(&train, &workload.params())?;
        let ours = Ours::new(&forest, &frame, args.rows.iter().copied().max().unwrap_or(1))?;
        let folder = folder::write(&forest, &ours)?;
        let mut peers =
            args.python.as_deref().map(|python| Peers::start(python, folder.path(), &args.peers)).transpose()?;
        let mut table = Table::new(*workload, &forest, &ours, peers.as_ref());
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
    }
    Ok(())
}
