//! Programs named `fluvio-<name>`, found where upstream's CLI finds them: beside our own, on PATH, and in the
//! extensions folder.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde::Deserialize;

use super::unknown;
use crate::failure::{Failure, Outcome};
use crate::places::Places;

const PREFIX: &str = "fluvio-";

/// Where extensions are looked for, in this order.
#[derive(Debug)]
pub struct Extensions {
    beside: Option<PathBuf>,
    path: Vec<PathBuf>,
    folder: PathBuf,
}

/// What an extension says of itself.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// What a person calls it.
    #[serde(alias = "command")]
    pub title: String,
    /// What it does.
    pub description: String,
    /// Which one it is.
    pub version: String,
}

impl Extensions {
    /// The extensions of this process's environment.
    pub fn of(places: &Places) -> Self {
        let own = env::current_exe().ok().and_then(|program| fs::canonicalize(program).ok());
        let path = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        Self {
            beside: own.and_then(|program| program.parent().map(Path::to_owned)),
            path,
            folder: places.extensions.clone(),
        }
    }

    /// Runs `fluvio-<first word>` with the other words; its exit code is ours.
    pub fn run(&self, words: &[OsString]) -> Outcome {
        let Some((name, arguments)) = words.split_first() else {
            return Err(unknown(""));
        };
        let shown = name.to_string_lossy();
        let program = self.find(name).ok_or_else(|| unknown(&shown))?;
        let status = Command::new(&program).args(arguments).status().map_err(|error| {
            Failure::failed(format!("{} could not be run: {error}", program.display()))
                .with_fix("check the file and its mode")
        })?;
        Ok(code_of(status))
    }

    fn find(&self, name: &OsStr) -> Option<PathBuf> {
        // A name with a slash in it would leave the folders that are searched.
        if name.as_encoded_bytes().contains(&b'/') {
            return None;
        }
        let mut file = OsString::from(PREFIX);
        file.push(name);
        self.folders().map(|folder| folder.join(&file)).find(|file| is_program(file))
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.beside.iter().chain(&self.path).chain([&self.folder])
    }

    /// What `fluvio help` says of the extensions: those beside us and in the extensions folder. PATH is left out: a
    /// program there that merely has such a name would be run for nothing.
    pub fn help(&self) -> String {
        let known = self.known();
        if known.is_empty() {
            return String::new();
        }
        let mut text = "Extensions:".to_owned();
        for (name, metadata) in known {
            let about = metadata.map(|metadata| metadata.description).unwrap_or_default();
            text.push_str(format!("\n  {name:<10} {about}").trim_end());
        }
        text
    }

    /// Extensions by name, with what they say of themselves when asked.
    pub fn known(&self) -> BTreeMap<String, Option<Metadata>> {
        let mut known = BTreeMap::new();
        for folder in self.beside.iter().chain([&self.folder]) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let file = entry.file_name();
                let Some(name) = file.to_str().and_then(|file| file.strip_prefix(PREFIX)) else { continue };
                // A build's folder holds more than programs for people: `.d` files, other binaries of the workspace.
                let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                if !plain || known.contains_key(name) || !is_program(&entry.path()) {
                    continue;
                }
                if let Some(metadata) = ask(&entry.path()) {
                    known.insert(name.to_owned(), Some(metadata));
                } else if folder == &self.folder {
                    known.insert(name.to_owned(), None);
                }
            }
        }
        known
    }
}

/// Asks an extension for its metadata; one that does not know the question has none.
fn ask(program: &Path) -> Option<Metadata> {
    let answer =
        Command::new(program).arg("metadata").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    serde_json::from_slice(&answer.stdout).ok()
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// An exit code as a shell tells it: a signal is 128 and its number.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code & 0xff).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// A script that one test writes while another starts a child could not be run ("text file busy"), so these tests
    /// take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn my_turn() -> MutexGuard<'static, ()> {
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program(folder: &Path, name: &str, script: &str) {
        let file = folder.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn three_folders() -> (tempfile::TempDir, Extensions) {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let extensions = Extensions {
            beside: Some(folder("beside")),
            path: vec![folder("path")],
            folder: folder("extensions"),
        };
        (root, extensions)
    }

    fn run(extensions: &Extensions, words: &[&str]) -> Outcome {
        extensions.run(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_folder_that_has_it_wins() {
        let _turn = my_turn();
        let (root, extensions) = three_folders();
        for (folder, code) in [("extensions", 3), ("path", 2), ("beside", 1)] {
            program(&root.path().join(folder), "fluvio-demo", &format!("exit {code}"));
            assert_eq!(run(&extensions, &["demo"]).unwrap(), code);
        }
    }

    #[test]
    fn arguments_and_exit_codes_pass_through() {
        let _turn = my_turn();
        let (root, extensions) = three_folders();
        program(
            &root.path().join("path"),
            "fluvio-args",
            "test \"$1\" = '--flag=a b' && test $# = 2 || exit 9; exit $2",
        );
        for code in [0, 1, 2, 77, 255] {
            assert_eq!(run(&extensions, &["args", "--flag=a b", &code.to_string()]).unwrap(), code);
        }
        program(&root.path().join("path"), "fluvio-killed", "kill -TERM $$");
        assert_eq!(run(&extensions, &["killed"]).unwrap(), 128 + 15);
    }

    #[test]
    fn what_is_not_there_or_not_a_program_is_wrong_use() {
        let _turn = my_turn();
        let (root, extensions) = three_folders();
        fs::write(root.path().join("path/fluvio-text"), "no program").unwrap();
        fs::create_dir(root.path().join("path/fluvio-folder")).unwrap();
        program(root.path(), "fluvio-outside", "exit 0");
        for name in ["none", "text", "folder", "../outside", ""] {
            assert_eq!(run(&extensions, &[name]).unwrap_err().exit_code(), 2, "{name}");
        }
    }

    #[test]
    fn help_names_the_extensions_that_answer_and_those_in_their_own_folder() {
        let _turn = my_turn();
        let (root, extensions) = three_folders();
        let says = r#"echo '{"title":"Demo","package":null,"description":"Does things","version":"1.2.3"}'"#;
        program(&root.path().join("beside"), "fluvio-demo", says);
        program(&root.path().join("beside"), "fluvio-server", "exit 1");
        program(&root.path().join("extensions"), "fluvio-silent", "exit 1");
        program(&root.path().join("path"), "fluvio-elsewhere", says);
        assert_eq!(extensions.help(), "Extensions:\n  demo       Does things\n  silent");
    }
}
