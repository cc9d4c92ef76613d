//! Placeholder while the skeleton compiles.
pub mod config;
pub mod init;
pub mod keys_file;
pub mod storage;
