//! Where things are kept on this machine, by the rules of upstream's client and CLI.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::Failure;

/// The folders and files both programs read and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Profiles of every Fluvio client: `$FLV_PROFILE_PATH`, else `~/.fluvio/config`. The client crate knows no other
    /// variable for it, so neither do we.
    pub profiles: PathBuf,
    /// What the cloud's login keeps: `cloud` below `$FLUVIO_DIR`, else below `~/.fluvio`.
    pub cloud: PathBuf,
    /// The cluster on this machine: `local` below `$FLUVIO_DIR`, else below `fluvio` in `$XDG_DATA_HOME`, else below
    /// `~/.fluvio`.
    pub local: PathBuf,
    /// Programs named `fluvio-<name>` that are neither beside ours nor on PATH.
    pub extensions: PathBuf,
}

impl Places {
    /// The places as this process's environment has them.
    pub fn from_env() -> Result<Self, Failure> {
        Self::resolve(|name| env::var_os(name).filter(|value| !value.is_empty()), env::home_dir())
    }

    fn resolve(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Result<Self, Failure> {
        let dot_fluvio = home.filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".fluvio"));
        let base = variable("FLUVIO_DIR").map(PathBuf::from).or_else(|| dot_fluvio.clone());
        let profiles = variable("FLV_PROFILE_PATH")
            .map(PathBuf::from)
            .or_else(|| dot_fluvio.map(|folder| folder.join("config")))
            .ok_or_else(|| homeless("FLV_PROFILE_PATH"))?;
        let base = base.ok_or_else(|| homeless("FLUVIO_DIR"))?;
        // By the XDG base directory specification a relative path there counts for nothing.
        let xdg = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let local = match xdg {
            Some(folder) if variable("FLUVIO_DIR").is_none() => folder.join("fluvio"),
            _ => base.clone(),
        };
        let extensions = variable("FLUVIO_EXTENSIONS_DIR").map(PathBuf::from);
        let extensions = extensions.unwrap_or_else(|| base.join("extensions"));
        Ok(Self { profiles, cloud: base.join("cloud"), local: local.join("local"), extensions })
    }
}

fn homeless(variable: &str) -> Failure {
    Failure::failed("there is no home folder to keep anything in")
        .with_fix(format!("set HOME, or {variable}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn resolve(variables: &[(&str, &str)], home: Option<&str>) -> Result<Places, Failure> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Places::resolve(find, home.map(PathBuf::from))
    }

    fn places(profiles: &str, cloud: &str, extensions: &str) -> Places {
        let local = cloud.replace("/cloud", "/local").into();
        Places { profiles: profiles.into(), cloud: cloud.into(), local, extensions: extensions.into() }
    }

    #[test]
    fn variables_move_exactly_what_upstream_lets_them_move() {
        let home = Some("/home/ada");
        let cases = [
            (
                vec![],
                places("/home/ada/.fluvio/config", "/home/ada/.fluvio/cloud", "/home/ada/.fluvio/extensions"),
            ),
            (
                vec![("FLV_PROFILE_PATH", "/p")],
                places("/p", "/home/ada/.fluvio/cloud", "/home/ada/.fluvio/extensions"),
            ),
            (vec![("FLUVIO_DIR", "/f")], places("/home/ada/.fluvio/config", "/f/cloud", "/f/extensions")),
            (
                vec![("FLUVIO_DIR", "/f"), ("FLUVIO_EXTENSIONS_DIR", "/e")],
                places("/home/ada/.fluvio/config", "/f/cloud", "/e"),
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(resolve(&variables, home).unwrap(), expected, "{variables:?}");
        }
    }

    #[test]
    fn the_local_cluster_is_where_xdg_wants_data_unless_fluvio_dir_says_otherwise() {
        let cases = [
            (vec![], "/home/ada/.fluvio/local"),
            (vec![("XDG_DATA_HOME", "/x")], "/x/fluvio/local"),
            (vec![("XDG_DATA_HOME", "relative")], "/home/ada/.fluvio/local"),
            (vec![("XDG_DATA_HOME", "/x"), ("FLUVIO_DIR", "/f")], "/f/local"),
        ];
        for (variables, expected) in cases {
            assert_eq!(resolve(&variables, Some("/home/ada")).unwrap().local, Path::new(expected));
        }
    }

    #[test]
    fn without_a_home_the_variables_are_enough_and_nothing_else_is() {
        let both = [("FLUVIO_DIR", "/f"), ("FLV_PROFILE_PATH", "/p")];
        assert_eq!(resolve(&both, None).unwrap(), places("/p", "/f/cloud", "/f/extensions"));
        assert!(resolve(&both[..1], None).is_err());
        assert!(resolve(&both[1..], Some("")).is_err());
    }
}
