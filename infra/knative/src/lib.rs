//! infra/knative of Regrove.
