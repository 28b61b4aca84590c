mod hostile;
mod net;
mod script;
mod spread;

use super::*;
