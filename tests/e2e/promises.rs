use std::collections::HashSet;

use anyhow::Context;
use e2e::programs;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promises {
    invariant: Vec<Promise>,
    bad_input: Vec<Promise>,
    hardening: Vec<Promise>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    #[serde(default)]
    id: String,
    promise: String,
    tests: Vec<String>,
}

fn read() -> anyhow::Result<Promises> {
    let path = programs::tests_folder().join("promises.toml");
    Ok(toml::from_str(&std::fs::read_to_string(path)?)?)
}

#[test]
fn every_promise_names_tests_that_exist() -> anyhow::Result<()> {
    let promises = read()?;
    let tree = programs::tree()?;
    let mut missing = Vec::new();
    let all = promises.invariant.iter().chain(&promises.bad_input).chain(&promises.hardening);
    for promise in all {
        assert!(!promise.tests.is_empty(), "nothing tests: {}", promise.promise);
        for test in &promise.tests {
            let (file, name) =
                test.split_once("::").with_context(|| format!("{test} is not file::function"))?;
            let source = std::fs::read_to_string(tree.join(file)).unwrap_or_default();
            let place = source.find(&format!("fn {name}("));
            // An attribute of the test kind stands within a few lines above; proptest's own macro has it once for all.
            let is_test = place.is_some_and(|at| {
                let above: String = source[..at].lines().rev().take(6).collect();
                above.contains("test") || source.contains("proptest!")
            });
            if !is_test {
                missing.push(format!("{test}  ({})", promise.promise));
            }
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
    Ok(())
}

#[test]
fn no_promise_is_forgotten_or_made_twice() -> anyhow::Result<()> {
    let promises = read()?;
    assert_eq!(promises.invariant.len(), 7, "the invariants are seven");
    assert_eq!(promises.bad_input.len(), 17, "the kinds of bad input are seventeen");
    let ids: HashSet<&str> = promises.hardening.iter().map(|each| each.id.as_str()).collect();
    assert_eq!(ids.len(), promises.hardening.len(), "a row stands twice or has no number");
    assert!(!ids.contains(""), "a row has no number");
    Ok(())
}
