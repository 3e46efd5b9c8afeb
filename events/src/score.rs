//! What forests are scored by, by MLflow's names.

/// Metrics of classifiers.
const OF_CLASSIFIERS: [&str; 5] = ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"];
/// Metrics of regressors.
const OF_REGRESSORS: [&str; 4] = ["r2_score", "mean_squared_error", "root_mean_squared_error", "mean_absolute_error"];

/// The metrics of a regressor, or of a classifier.
pub fn metrics_of(regressor: bool) -> &'static [&'static str] {
    if regressor { &OF_REGRESSORS } else { &OF_CLASSIFIERS }
}

/// Those that are measured on the training rows too, which is all there is where no rows are held out.
pub fn metrics_of_training(regressor: bool) -> &'static [&'static str] {
    const OF_TRAINED_CLASSIFIERS: [&str; 2] = ["accuracy", "log_loss"];
    if regressor { &OF_REGRESSORS } else { &OF_TRAINED_CLASSIFIERS }
}

/// What is meant where no metric is named: scikit-learn's `score`.
pub fn usual_metric(regressor: bool) -> &'static str {
    if regressor { OF_REGRESSORS[0] } else { OF_CLASSIFIERS[0] }
}

/// A metric's value as a score, of which the larger is the better: losses and errors count negatively.
pub fn score_of(metric: &str, value: f64) -> f64 {
    if metric.ends_with("loss") || metric.ends_with("error") { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::{metrics_of, metrics_of_training, score_of, usual_metric};

    #[test]
    fn every_metric_is_better_the_larger_its_score() {
        for (metric, better, worse) in [
            ("accuracy", 0.9, 0.8),
            ("log_loss", 0.1, 0.2),
            ("r2_score", 0.5, -3.0),
            ("mean_squared_error", 1.0, 2.0),
            ("root_mean_squared_error", 1.0, 2.0),
            ("mean_absolute_error", 1.0, 2.0),
        ] {
            assert!(score_of(metric, better) > score_of(metric, worse), "{metric}");
            assert!(metrics_of(true).contains(&metric) || metrics_of(false).contains(&metric));
        }
        for regressor in [true, false] {
            assert!(metrics_of_training(regressor).iter().all(|metric| metrics_of(regressor).contains(metric)));
            assert!(metrics_of_training(regressor).contains(&usual_metric(regressor)));
        }
        assert_eq!((usual_metric(false), usual_metric(true)), ("accuracy", "r2_score"));
    }
}
