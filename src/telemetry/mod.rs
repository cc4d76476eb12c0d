//! What the daemon tells about itself, as values: metrics under Felix's names, and health.

pub mod health;
pub mod metrics;
