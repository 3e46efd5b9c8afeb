//! Trees as ONNX tells them to trees that know one test only: a value is at most a float32 threshold.
//!
//! `x < t` is `x ≤` the float32 below `t`; greater-than tests swap the children. A test for membership becomes comparisons
//! with both ends of every member, and what follows it is repeated for every range of values between members; on a
//! path that has fixed a feature to a range, later tests for membership of that feature are decided without a node.

use std::collections::VecDeque;

use super::error::{Budget, ImportError, Limits};
use crate::model_file::Packer;
use crate::model_file::nodes::{Node, leaf};
use crate::model_file::round_down;

/// A node of a tree as read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// Number of the leaf in [`Trees::leaves`].
    Leaf(u32),
    Split {
        feature: u32,
        test: Test,
        /// Node when the test holds, counted over all trees.
        yes: u32,
        no: u32,
        /// Whether a missing value counts as `yes`.
        missing_yes: bool,
    },
}

/// A question about a float32 value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    AtMost(f32),
    /// Sorted, distinct.
    Member(Vec<f32>),
}

/// The comparisons of ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
    Member,
}

impl Mode {
    /// The split that such a comparison makes; `members` are the thresholds, one but for [`Mode::Member`].
    pub(super) fn split(self, feature: u32, members: &[f64], ids: (u32, u32), missing_true: bool) -> Source {
        let (true_id, false_id) = ids;
        let threshold = members.first().copied().unwrap_or(f64::NAN);
        let (test, swapped) = match self {
            Self::Leq => (Test::AtMost(at_most(threshold)), false),
            Self::Lt => (Test::AtMost(below(threshold)), false),
            Self::Gt => (Test::AtMost(at_most(threshold)), true),
            Self::Gte => (Test::AtMost(below(threshold)), true),
            Self::Eq | Self::Member => (Test::Member(float32s(members)), false),
            Self::Neq => (Test::Member(float32s(members)), true),
        };
        // A missing value fails every comparison but "not equal".
        let missing_true = missing_true || self == Self::Neq;
        let (yes, no) = if swapped { (false_id, true_id) } else { (true_id, false_id) };
        Source::Split { feature, test, yes, no, missing_yes: missing_true != swapped }
    }
}

/// The largest float32 that is at most `threshold`; none is at most NaN.
fn at_most(threshold: f64) -> f32 {
    if threshold.is_nan() { f32::NEG_INFINITY } else { round_down(threshold) }
}

/// The largest float32 that is less than `threshold`.
fn below(threshold: f64) -> f32 {
    let nearest = at_most(threshold);
    if f64::from(nearest) < threshold || nearest.is_infinite() && nearest < 0.0 { nearest } else { nearest.next_down() }
}

/// The members that a float32 can equal, sorted.
#[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "a member that is no float32 equals none")]
fn float32s(members: &[f64]) -> Vec<f32> {
    let exact = members.iter().filter(|member| f64::from(**member as f32) == **member && member.is_finite());
    // Both zeros are equal to each other.
    let mut members: Vec<f32> = exact.map(|member| *member as f32 + 0.0).collect();
    members.sort_by(f32::total_cmp);
    members.dedup();
    members
}

/// All trees as read.
#[derive(Debug, Default)]
pub(super) struct Trees {
    pub(super) nodes: Vec<Source>,
    /// Root of each tree, and the tree's id for messages.
    pub(super) roots: Vec<(u32, i64)>,
    /// Values of each leaf, `(target, weight)`; the weights of a target add up.
    pub(super) leaves: Vec<Vec<(u32, f64)>>,
    /// Ids of the nodes for messages.
    pub(super) ids: Vec<i64>,
}

/// What a path has fixed about one feature.
#[derive(Debug, Clone, Copy)]
struct Known {
    feature: u32,
    /// Values are above this,
    low: f32,
    /// and at most this; none at all if that is no greater.
    high: f32,
    /// Whether the value may be missing.
    missing: bool,
    /// What the path had fixed before.
    before: Option<u32>,
}

/// A place in the new tree that still needs its node.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: u32,
    known: Option<u32>,
    depth: usize,
}

impl Trees {
    /// Writes the trees, whose leaves have `width` numbers.
    pub(super) fn pack(&self, width: usize, limits: &Limits) -> Result<Packer, ImportError> {
        self.check_paths()?;
        let mut growth = Growth::new(self, width, limits);
        for (root, _) in &self.roots {
            let nodes = growth.grow(*root)?;
            growth.packer.push_nodes(&nodes).map_err(|error| ImportError::Graph(error.to_string()))?;
        }
        Ok(growth.packer)
    }

    /// Nodes and members as read.
    fn size(&self) -> usize {
        let members = |node: &Source| match node {
            Source::Split { test: Test::Member(members), .. } => members.len(),
            _ => 0,
        };
        self.nodes.iter().map(members).fold(self.nodes.len(), usize::saturating_add)
    }

    /// Every node is reached from its root, no path comes back to where it was.
    fn check_paths(&self) -> Result<(), ImportError> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            OnPath,
            Done,
        }
        let mut states = vec![State::New; self.nodes.len()];
        for (root, tree) in &self.roots {
            // A node to enter, or, with the flag, to leave.
            let mut path = vec![(*root, false)];
            while let Some((node, leave)) = path.pop() {
                let at = node as usize;
                if leave {
                    states[at] = State::Done;
                    continue;
                }
                match states[at] {
                    State::Done => continue,
                    State::OnPath => {
                        return Err(ImportError::Node { tree: *tree, node: self.ids[at], reason: "it is on a cycle" });
                    }
                    State::New => states[at] = State::OnPath,
                }
                path.push((node, true));
                if let Source::Split { yes, no, .. } = self.nodes[at] {
                    path.extend([(yes, false), (no, false)]);
                }
            }
        }
        match states.iter().position(|state| *state != State::Done) {
            None => Ok(()),
            Some(at) => {
                let tree = self.roots.iter().rfind(|(root, _)| *root as usize <= at).map_or(0, |(_, tree)| *tree);
                Err(ImportError::Node { tree, node: self.ids[at], reason: "no path leads to it" })
            }
        }
    }
}

/// Trees on their way from source nodes to nodes of the native form, one after another.
struct Growth<'a> {
    trees: &'a Trees,
    limits: &'a Limits,
    width: usize,
    packer: Packer,
    known: Vec<Known>,
    /// By number of a leaf, the row of its value, once it is written.
    rows: Vec<Option<u32>>,
    nodes_left: Budget,
    steps_left: Budget,
    leaf_numbers_left: Budget,
}

/// What a place turns out to be.
enum Outcome {
    Leaf(u32),
    Split { feature: u32, threshold: f32, missing_right: bool, left: Place, right: Place },
}

impl<'a> Growth<'a> {
    fn new(trees: &'a Trees, width: usize, limits: &'a Limits) -> Self {
        let nodes_max = limits.nodes_max.min(trees.size().saturating_mul(limits.expansion_max));
        Self {
            trees,
            limits,
            width,
            packer: Packer::default(),
            known: Vec::new(),
            rows: vec![None; trees.leaves.len()],
            nodes_left: Budget::new("tree nodes", nodes_max),
            steps_left: Budget::new("steps through tests for membership", limits.steps_max),
            leaf_numbers_left: Budget::new("numbers in leaves", limits.leaf_work_max),
        }
    }

    /// The nodes, breadth first.
    fn grow(&mut self, root: u32) -> Result<Vec<Node>, ImportError> {
        let mut nodes = Vec::new();
        let mut places = VecDeque::from([Place { source: root, known: None, depth: 0 }]);
        self.known.clear();
        self.nodes_left.spend(1)?;
        while let Some(place) = places.pop_front() {
            if place.depth > self.limits.depth_max {
                return Err(ImportError::TooMany { what: "levels of a tree", max: self.limits.depth_max });
            }
            let at = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            let node = match self.settle(place)? {
                Outcome::Leaf(number) => leaf(at, self.value(number)?),
                Outcome::Split { feature, threshold, missing_right, left, right } => {
                    self.nodes_left.spend(2)?;
                    let child = u32::try_from(nodes.len() + places.len() + 1).unwrap_or(u32::MAX);
                    places.extend([left, right]);
                    Node { threshold: threshold.to_bits(), feature, missing_right, child, value: 0 }
                }
            };
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// The row of a leaf's value.
    fn value(&mut self, number: u32) -> Result<u32, ImportError> {
        if let Some(place) = self.rows[number as usize] {
            return Ok(place);
        }
        self.leaf_numbers_left.spend(self.width)?;
        let mut row = vec![0.0; self.width];
        for (target, weight) in &self.trees.leaves[number as usize] {
            row[*target as usize] += weight;
        }
        let place = self.packer.place(&row).map_err(|error| ImportError::Graph(error.to_string()))?;
        if self.packer.n_leaf_numbers() > self.limits.leaf_numbers_max {
            return Err(ImportError::TooMany { what: "numbers in leaf values", max: self.limits.leaf_numbers_max });
        }
        self.rows[number as usize] = Some(place);
        Ok(place)
    }

    /// Follows what is decided already to the next leaf or open question.
    fn settle(&mut self, mut place: Place) -> Result<Outcome, ImportError> {
        let trees = self.trees;
        loop {
            let (feature, test, yes, no, missing_yes) = match &trees.nodes[place.source as usize] {
                Source::Leaf(number) => return Ok(Outcome::Leaf(*number)),
                Source::Split { feature, test, yes, no, missing_yes } => (*feature, test, *yes, *no, *missing_yes),
            };
            let members = match test {
                Test::AtMost(threshold) => {
                    let child = |source| Place { source, depth: place.depth + 1, ..place };
                    return Ok(Outcome::Split {
                        feature,
                        threshold: *threshold,
                        missing_right: !missing_yes,
                        left: child(yes),
                        right: child(no),
                    });
                }
                Test::Member(members) => members,
            };
            let known = self.about(feature, place.known)?;
            let sure = |yes_here: bool| if yes_here { yes } else { no };
            if let Some(cut) = middle_cut(members, &known) {
                return Ok(self.divide(place, known, cut));
            }
            if known.low >= known.high {
                place.source = sure(missing_yes);
                continue;
            }
            let above = members.partition_point(|member| *member <= known.low);
            let here = members.get(above).is_some_and(|member| *member <= known.high);
            if known.missing && here != missing_yes {
                return Ok(self.divide(place, known, f32::INFINITY));
            }
            place.source = sure(here);
        }
    }

    /// A node that divides what is known about a feature in two; the question stays. Missing values go right.
    fn divide(&mut self, place: Place, known: Known, cut: f32) -> Outcome {
        let mut side = |low: f32, high: f32, missing: bool| {
            let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
            self.known.push(Known { feature: known.feature, low, high, missing, before: place.known });
            Place { source: place.source, known: Some(number), depth: place.depth + 1 }
        };
        Outcome::Split {
            feature: known.feature,
            threshold: cut,
            missing_right: true,
            left: side(known.low, cut.min(known.high), false),
            right: side(cut, known.high, known.missing),
        }
    }

    /// What a path has fixed about a feature last.
    fn about(&mut self, feature: u32, mut known: Option<u32>) -> Result<Known, ImportError> {
        self.steps_left.spend(1)?;
        while let Some(number) = known {
            let fact = self.known[number as usize];
            if fact.feature == feature {
                return Ok(fact);
            }
            self.steps_left.spend(1)?;
            known = fact.before;
        }
        Ok(Known { feature, low: f32::NEG_INFINITY, high: f32::INFINITY, missing: true, before: None })
    }
}

/// The middle one of the cuts inside a range that divide it by membership: the float32s below and at each member.
fn middle_cut(members: &[f32], known: &Known) -> Option<f32> {
    let cuts = |before: &dyn Fn(f32) -> bool| {
        members.partition_point(|member| before(member.next_down())) + members.partition_point(|member| before(*member))
    };
    let (first, last) = (cuts(&|cut| cut <= known.low), cuts(&|cut| cut < known.high));
    let middle = first + last.checked_sub(first).filter(|n| *n > 0)? / 2;
    let member = members[middle / 2];
    Some(if middle.is_multiple_of(2) { member.next_down() } else { member })
}

impl Trees {
    /// One more than the largest feature that a test looks at.
    pub(super) fn n_features(&self) -> usize {
        let feature = |node: &Source| match node {
            Source::Leaf(_) => 0,
            Source::Split { feature, .. } => *feature as usize + 1,
        };
        self.nodes.iter().map(feature).max().unwrap_or(0)
    }

    /// Renames features to columns of the input.
    pub(super) fn map_features(&mut self, columns: &[usize]) -> Result<(), ImportError> {
        for node in &mut self.nodes {
            if let Source::Split { feature, .. } = node {
                let Some(column) = columns.get(*feature as usize) else {
                    let n = columns.len();
                    return Err(ImportError::Graph(format!(
                        "the trees look at feature {feature}, their input has {n}"
                    )));
                };
                *feature = u32::try_from(*column).unwrap_or(u32::MAX);
            }
        }
        Ok(())
    }

    /// Whether some leaf has a weight for a target.
    pub(super) fn has_target(&self, target: u32) -> bool {
        self.leaves.iter().flatten().any(|(of, _)| *of == target)
    }

    pub(super) fn has_negative_weight(&self) -> bool {
        self.leaves.iter().flatten().any(|(_, weight)| *weight < 0.0)
    }
}
