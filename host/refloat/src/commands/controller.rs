//! `refloat controller`: the host in a cluster.
//!
//! In: arguments. Out: nothing until it is told to stop. Everything that it does is in `policy-controller`.

use crate::args::ControllerArgs;
use crate::exit::{CannotRun, Ended};

pub(crate) fn run(args: &ControllerArgs) -> Ended {
    let _ = args;
    Err(CannotRun::new("the controller is not part of this build", ""))
}
