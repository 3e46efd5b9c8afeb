//! infra/mlflow of Regrove.
