//! Runs every case file as a test of its own: `cargo test --test cases -- cli/` runs those of one folder.
//! In: files under `tests/cases/`. Out: passes and differences. See `policy_tests::cases`.

use libtest_mimic::{Arguments, Failed, Trial};
use policy_tests::cases::{self, OnDifference};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::from_args();
    let on_difference = OnDifference::from_environment();
    let trials = cases::all()?.into_iter().map(|case| {
        Trial::test(case.name.clone(), move || cases::check(&case, on_difference).map_err(Failed::from))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit()
}
