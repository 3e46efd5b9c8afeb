//! Fit and predict times of the reference workloads, beside scikit-learn's in the same run. See `README.md` here.

#![expect(clippy::print_stdout, reason = "a table is what this command makes")]

mod curve;
mod memory;
mod ours;
mod peer;
mod workload;

use std::path::PathBuf;

use clap::Parser;

use workload::Workload;

/// Times of the forest library in CPU seconds, with ratios to scikit-learn where a Python with it is given.
#[derive(Debug, Parser)]
struct Args {
    /// Workloads to run.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "a,b")]
    workloads: Vec<Workload>,
    /// A Python interpreter with scikit-learn 1.9; without it only our own times are printed.
    #[arg(long, env = "REGROVE_BENCH_PYTHON")]
    python: Option<PathBuf>,
    /// Repetitions; the median is printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Trees that scikit-learn grows per fit; the time is scaled linearly to all trees.
    #[arg(long, default_value_t = 20)]
    peer_trees: u32,
    /// Print fit time and memory by the number of rows instead, up to so many.
    #[arg(long, num_args = 0..=1, default_missing_value = "10000000", value_name = "ROWS")]
    curve: Option<u32>,
    /// Measure one point of the curve.
    #[arg(long, hide = true)]
    point: Option<u32>,
}

/// What was measured, as scikit-learn's side reports it too. Microseconds are CPU time per row.
#[derive(Debug, Clone, serde::Deserialize)]
struct Times {
    /// CPU seconds of a fit on one thread.
    fit: f64,
    one_row: f64,
    thousand_rows: f64,
    all_rows: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(rows) = args.point {
        return curve::point(rows);
    }
    if let Some(rows_max) = args.curve {
        return curve::print(rows_max);
    }
    for workload in &args.workloads {
        let ours = ours::measure(*workload, args.repeats)?;
        let times = &ours.times;
        println!("workload {workload:?}: {} trees on {} rows", workload.params().n_estimators, ours.n_train);
        println!(
            "  model file {} bytes; loaded in {:.0} µs with its hash, {:.0} µs without",
            ours.file_len, ours.load_micros, ours.load_verified_micros
        );
        println!(
            "  fit, two threads: {:.4} s wall, {:.2} × one thread's {:.4} s wall",
            ours.fit_wall_two,
            ours.fit_wall_one / ours.fit_wall_two,
            ours.fit_wall_one
        );
        println!("  fit, peak memory of the process: {:.2} × the float32 data", ours.peak);
        let peer = args.python.as_deref().map(|python| peer::measure(python, *workload, args.repeats, args.peer_trees));
        let peer = peer.transpose()?;
        print_row("fit, CPU s", times.fit, peer.as_ref().map(|peer| peer.fit));
        print_row("predict 1 row, CPU µs", times.one_row, peer.as_ref().map(|peer| peer.one_row));
        print_row("predict 1,000 rows, CPU µs/row", times.thousand_rows, peer.as_ref().map(|peer| peer.thousand_rows));
        print_row("predict all rows, CPU µs/row", times.all_rows, peer.as_ref().map(|peer| peer.all_rows));
    }
    Ok(())
}

fn print_row(name: &str, ours: f64, peer: Option<f64>) {
    match peer {
        None => println!("  {name:32} {ours:10.4}"),
        Some(peer) => println!("  {name:32} {ours:10.4}   scikit-learn {peer:10.4}   ratio {:7.1}", peer / ours),
    }
}
