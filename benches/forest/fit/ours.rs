//! Our side.

use anyhow::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use regrove_forest::{Frame, RandomForestParams, fit};

use crate::clock::{median, timed};
use crate::memory;

/// Wall seconds that a round's fits on as many threads take together at least: short ones are repeated.
const ROUND_MIN: f64 = 0.25;

pub(crate) struct Ours {
    params: RandomForestParams,
    one: ThreadPool,
    two: ThreadPool,
    /// CPU and wall seconds of each round's fit on one thread.
    on_one: Vec<(f64, f64)>,
    /// The same on two threads.
    on_two: Vec<(f64, f64)>,
    /// Most memory of the process during a fit on one thread, in parts of the float32 data that is fitted.
    pub(crate) peak: f64,
}

impl Ours {
    /// Fits once, for the memory.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    pub(crate) fn new(train: &Frame, params: RandomForestParams) -> Result<Self> {
        let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build();
        let (one, two) = (pool(1)?, pool(2)?);
        let (forest, peak) = memory::peak(|| one.install(|| fit(train, &params)))?;
        drop(forest?);
        let peak = peak as f64 / size_of_val(train.columns()) as f64;
        Ok(Self { params, one, two, on_one: Vec::new(), on_two: Vec::new(), peak })
    }

    /// Fits on one thread, and on two.
    pub(crate) fn round(&mut self, train: &Frame) {
        let params = &self.params;
        self.on_one.push(repeated(|| self.one.install(|| timed(|| fit(train, params)))));
        self.on_two.push(repeated(|| timed(|| self.two.install(|| fit(train, params)))));
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.on_one.iter().map(|(cpu, _)| *cpu).collect())
    }

    pub(crate) fn wall_one(&self) -> f64 {
        median(self.on_one.iter().map(|(_, wall)| *wall).collect())
    }

    pub(crate) fn wall_two(&self) -> f64 {
        median(self.on_two.iter().map(|(_, wall)| *wall).collect())
    }

    /// How many times faster two threads are, by the clock on the wall: meaningful on a quiet machine only.
    pub(crate) fn gain(&self) -> f64 {
        median(self.on_one.iter().zip(&self.on_two).map(|((_, one), (_, two))| one / two).collect())
    }

    /// Median over the rounds of how many times longer another program took than we did in the same round.
    pub(crate) fn ratio(&self, peer: &[f64]) -> f64 {
        median(peer.iter().zip(&self.on_one).map(|(peer, (cpu, _))| peer / cpu).collect())
    }
}

/// Median CPU and wall seconds of what takes [`ROUND_MIN`] together.
fn repeated(mut fit: impl FnMut() -> (f64, f64)) -> (f64, f64) {
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    while wall.iter().sum::<f64>() < ROUND_MIN {
        let (on_cpu, on_wall) = fit();
        cpu.push(on_cpu);
        wall.push(on_wall);
    }
    (median(cpu), median(wall))
}
