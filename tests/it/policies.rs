//! The built-in policies against their cases, as components in the engine: what ships is what is tested.
//! Every YAML file under `tests/cases/policies/NAME/` is played twice; both answers must be the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use policy_engine::{Compiler, Engine, Limits, Policy};
use policy_tests::policy_case::{PolicyCase, Subject};
use policy_tests::stage_play::refloat;

fn engine() -> anyhow::Result<(Engine, tempfile::TempDir)> {
    let cache = tempfile::tempdir()?;
    let compiler = Compiler::new(refloat()?, ["compile-component".to_owned()]);
    Ok((Engine::new(&Limits::default(), &compiler, cache.path())?, cache))
}

fn cases() -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/policies");
    let mut cases: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for folder in std::fs::read_dir(&root)? {
        let folder = folder?.path();
        let name = folder.file_name().context("a folder's name")?.to_string_lossy().into_owned();
        for file in std::fs::read_dir(&folder)? {
            cases.entry(name.clone()).or_default().push(file?.path());
        }
    }
    cases.values_mut().for_each(|files| files.sort());
    Ok(cases)
}

fn play(policy: &Policy, file: &Path) -> Result<(), String> {
    let decide = |context: &_, proposed: Option<&_>| {
        let (first, second) = (policy.decide(context, proposed), policy.decide(context, proposed));
        if (&first.result, first.fuel_used) != (&second.result, second.fuel_used) {
            return Err("two equal calls had different answers or fuel".to_owned());
        }
        first.result.map_err(|fault| fault.message)
    };
    let validate = |settings: &_| match policy.validate(settings).result {
        Ok(problems) if problems.is_empty() => Ok(()),
        Ok(problems) => Err(problems),
        Err(fault) => panic!("validate ended with {fault:?}"),
    };
    let case = PolicyCase::read(file)?;
    case.check(&Subject {
        settings_schema: &policy.manifest().settings_schema,
        validate: &validate,
        decide: &decide,
    })
}

#[test]
fn every_built_in_policy_answers_its_cases() -> anyhow::Result<()> {
    let (engine, _cache) = engine()?;
    let cases = cases()?;
    let builtins = policy_source::builtins();
    ensure!(
        !builtins.is_empty(),
        "no built-in policies in this build\nhelp: run `make builtins` and build again"
    );
    for name in &builtins {
        ensure!(cases.contains_key(*name), "`{name}` has no cases under tests/cases/policies/{name}");
    }
    let mut failures = Vec::new();
    for (name, files) in &cases {
        let policy = engine.load(&policy_source::builtin(name)?.bytes)?;
        failures.extend(files.iter().filter_map(|file| {
            play(&policy, file).err().map(|difference| format!("{}:\n{difference}", file.display()))
        }));
    }
    ensure!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}
