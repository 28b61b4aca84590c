//! Scripts of the record store: tables of what one node is given and what it then does. The script plays
//! the routing table, the disk, the other nodes and the clock.

mod checks;
mod concurrent;
mod doors;
mod holder;
mod inspections;
mod pages;
mod pulls;
mod reads;
mod refusals;
mod repairs;
mod samples;
mod script;
mod timers;
mod turns;
mod watches;
mod words;
mod writers;
mod writes;
