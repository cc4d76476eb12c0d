//! Chains and sets read as the kernel would: compiled ones, and those that its tools print.

mod asked;
pub mod compiled;
pub mod load;
pub mod loaded;
pub mod machine;
pub mod program;
pub mod saved;
pub mod walk;
