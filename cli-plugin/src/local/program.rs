//! The program that the servers are: `fluvio-cluster`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const NAME: &str = "fluvio-cluster";

/// Finds it beside this program, else on PATH.
pub fn find() -> Result<PathBuf, Failure> {
    let own = env::current_exe().ok().and_then(|program| fs::canonicalize(program).ok());
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    find_in(beside, path)
}

fn find_in(beside: Option<PathBuf>, path: Vec<PathBuf>) -> Result<PathBuf, Failure> {
    // A relative folder of PATH is another one once a server has its own working directory.
    let found = beside.iter().chain(&path).filter_map(|folder| fs::canonicalize(folder.join(NAME)).ok());
    found.into_iter().find(|file| is_program(file)).ok_or_else(|| {
        let beside = beside.map(|folder| format!("in {} or ", folder.display())).unwrap_or_default();
        Failure::failed(format!("the program {NAME} is not {beside}on PATH")).with_fix(format!(
            "put {NAME} beside fluvio; from a source tree: cargo build --release --workspace --bins"
        ))
    })
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_beside_ours_is_taken_before_those_on_path_and_none_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let place = |name: &str, mode: u32| {
            let folder = root.join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(NAME), "").unwrap();
            fs::set_permissions(folder.join(NAME), fs::Permissions::from_mode(mode)).unwrap();
            folder
        };
        let (data, one, two) = (place("data", 0o644), place("one", 0o755), place("two", 0o755));
        let found = |beside: &Path, path: &[&PathBuf]| {
            find_in(Some(beside.to_owned()), path.iter().map(|folder| (*folder).clone()).collect())
        };
        assert_eq!(found(&one, &[&two]).unwrap(), one.join(NAME));
        assert_eq!(found(&data, &[&data, &two]).unwrap(), two.join(NAME), "what cannot be run is no program");
        let missing = found(&data, &[]).unwrap_err().to_string();
        assert!(missing.contains(data.to_str().unwrap()) && missing.contains("PATH"), "{missing}");
    }
}
