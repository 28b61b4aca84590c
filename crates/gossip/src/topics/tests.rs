mod contacts;
mod hostile;
mod links;
mod mixing;
mod net;
mod script;
mod spread;
mod tree;
mod trust;

use super::*;
