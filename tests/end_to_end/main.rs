//! Real processes on loopback: the program as people and scripts use it.
//!
//! Ports come from the system, every wait is for a condition and has a bound.

mod admission;
mod backup;
mod bad_input;
mod codes;
mod demo;
mod error_codes;
mod families;
mod files;
mod files_arrive;
mod files_http;
mod files_lasting;
mod folders;
mod gossip;
mod http;
mod http_attacks;
mod identity;
mod joining;
mod members;
mod monitoring;
mod networks;
mod open;
mod output;
mod paths;
mod process;
mod python;
mod records;
mod seen;
mod service;
mod settings;
mod terminal;
mod topics;
mod up;
mod verify;
