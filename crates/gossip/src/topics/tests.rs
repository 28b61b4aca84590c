mod hostile;
mod mixing;
mod net;
mod script;
mod spread;

use super::*;
