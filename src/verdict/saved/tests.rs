//! Texts as programs.
