//! What fitting and predicting cost, beside other programs in the same run. See `README.md` here.

#![expect(clippy::print_stdout, reason = "tables are what this command makes")]

mod accuracy;
mod clock;
mod conversation;
mod curve;
mod fit;
mod memory;
mod predict;
mod workload;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use workload::Workload;

/// Fit and predict times of the forest library, CPU of one thread, with ratios to other programs.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  \
    bench-forest --python target/bench-venv/bin/python --workloads a,b\n\n\
    `cargo xtask bench` makes the Python environment, builds this program and runs it.")]
struct Args {
    /// Workloads to run; without it fits are measured on all, predictions on a and b.
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Option<Vec<Workload>>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fit,predict")]
    measure: Vec<Measure>,
    /// A Python interpreter with the packages of `peers/requirements.txt`; without it only our own times are printed.
    #[arg(long, env = "REGROVE_BENCH_PYTHON")]
    python: Option<PathBuf>,
    /// Rounds, in each of which everything is measured once; medians are printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Programs to fit with; `ranger` needs Rscript and Debian's r-cran-ranger.
    #[arg(long, value_delimiter = ',', default_value = "scikit-learn,LightGBM,ranger")]
    fit_peers: Vec<String>,
    /// Trees that other programs grow at most on all workloads but a and a450; their times are scaled linearly to all trees.
    #[arg(long, default_value_t = 10)]
    peer_trees: u32,
    /// Programs to predict with.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "scikit-learn,onnxruntime,treelite GTIL,tl2cgen (from C),LightGBM,lleaves"
    )]
    predict_peers: Vec<String>,
    /// Rows per call of a prediction.
    #[arg(long, value_delimiter = ',', default_value = "1,1000,100000")]
    rows: Vec<usize>,
    /// Print JSON, one line per table, instead of tables.
    #[arg(long)]
    json: bool,
    /// Print how exact cuts and those of a histogram compare in accuracy on held-out rows, and nothing else.
    #[arg(long)]
    accuracy: bool,
    /// Print fit time and memory by the number of rows, up to so many, and nothing else.
    #[arg(long, num_args = 0..=1, default_missing_value = "10000000", value_name = "ROWS")]
    curve: Option<u32>,
    #[command(flatten)]
    fits: curve::Fits,
    /// Measure one point of the curve.
    #[arg(long, hide = true)]
    point: Option<u32>,
}

/// One of the two halves of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    Fit,
    Predict,
}

impl Measure {
    /// What is measured when nothing is said. Predictions of c are not: tl2cgen takes nine minutes to compile b alone.
    fn workloads(self) -> &'static [Workload] {
        match self {
            Self::Fit => Workload::value_variants(),
            Self::Predict => &[Workload::A, Workload::B],
        }
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(rows) = args.point {
        return curve::point(rows, &args.fits);
    }
    if let Some(rows_max) = args.curve {
        return curve::print(rows_max, &args.fits);
    }
    if args.accuracy {
        return accuracy::print(args.repeats);
    }
    for workload in Workload::value_variants() {
        for measure in &args.measure {
            let workloads = args.workloads.as_deref().unwrap_or_else(|| measure.workloads());
            match measure {
                _ if !workloads.contains(workload) => {}
                Measure::Fit => fit::print(&args, *workload)?,
                Measure::Predict => predict::print(&args, *workload)?,
            }
        }
    }
    Ok(())
}
