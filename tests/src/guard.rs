//! What a test starts ends with it, however the test ends: a small shell waits for its standard input to
//! close, which the kernel does even after `kill -9` of the test, and then ends whatever still names the folder.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// SIGTERM to the supervisor first, since it knows how to stop the rest; SIGKILL to what is left after ten seconds.
const SCRIPT: &str = r#"
cat >/dev/null
named() { # pids of the processes whose arguments name the folder, of the program $1 or of any
    for entry in /proc/[0-9]*; do
        line=$(tr '\0' ' ' <"$entry/cmdline" 2>/dev/null) || continue
        case "$line" in *"$GUARDED_FOLDER"*) case "$line" in *"$1"*) echo "${entry#/proc/}" ;; esac ;; esac
    done
}
for pid in $(named "$GUARDED_FIRST"); do kill -TERM "$pid" 2>/dev/null; done
tries=0
while [ $tries -lt 100 ] && [ -n "$(named "$GUARDED_FIRST")" ]; do sleep 0.1; tries=$((tries + 1)); done
tries=0
while [ $tries -lt 30 ]; do
    left=$(named "")
    [ -z "$left" ] && break
    for pid in $left; do kill -KILL "$pid" 2>/dev/null; done
    sleep 0.1
    tries=$((tries + 1))
done
if [ -n "$GUARDED_KEEP" ]; then mkdir -p "$GUARDED_KEEP" && cp -r "$GUARDED_FOLDER"/logs/. "$GUARDED_KEEP"/ 2>/dev/null; fi
rm -rf "$GUARDED_FOLDER"
"#;

/// The same for what one command takes down.
const COMMAND_SCRIPT: &str = r#"
cat >/dev/null
"$GUARDED_COMMAND" --state "$GUARDED_FOLDER"
if [ -n "$GUARDED_KEEP" ]; then mkdir -p "$GUARDED_KEEP" && cp -r "$GUARDED_FOLDER"/log/. "$GUARDED_KEEP"/ 2>/dev/null; fi
rm -rf "$GUARDED_FOLDER"
"#;

/// Ends every process that names a folder, and removes the folder, when it is dropped or its process dies.
#[derive(Debug)]
pub struct Guard {
    folder: PathBuf,
    shell: Child,
}

impl Guard {
    /// `first` is the program that stops the others; `keep` takes the folder's logs before it is removed.
    pub fn over(folder: &Path, first: &str, keep: Option<&Path>) -> anyhow::Result<Guard> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT]).env("GUARDED_FIRST", first);
        Self::start(shell, folder, keep.unwrap_or(Path::new("")))
    }

    /// Has a command end what lives in a folder: `command --state folder`.
    pub fn with(folder: &Path, command: &Path, keep: &Path) -> anyhow::Result<Guard> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", COMMAND_SCRIPT]).env("GUARDED_COMMAND", command);
        Self::start(shell, folder, keep)
    }

    fn start(mut shell: Command, folder: &Path, keep: &Path) -> anyhow::Result<Guard> {
        shell
            .env("GUARDED_FOLDER", folder)
            .env("GUARDED_KEEP", keep)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal is for the tests; the guard comes after them.
            .process_group(0);
        Ok(Guard { folder: folder.to_path_buf(), shell: shell.spawn()? })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if let Some(mut out) = self.shell.stdout.take() {
            let _ = out.read_to_end(&mut Vec::new());
        }
        let _ = self.shell.wait();
    }
}
