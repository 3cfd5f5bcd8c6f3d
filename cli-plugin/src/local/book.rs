//! What the local cluster was made of, as `cluster.json` keeps it from its first start to its deletion:
//!
//! ```json
//! { "version": 1, "tenant": "…", "cluster": "…", "port": 9003, "data": "/home/ada/.fluvio/local/data",
//!   "spus": [{ "id": 5001, "name": "main-0", "port": 9010 }], "generation": 1 }
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place::Place;
use crate::failure::{Failure, OrFail};
use crate::profile;

const VERSION: u32 = 1;

/// The id of the first SPU, by upstream's custom.
const FIRST_SPU: i32 = 5001;

/// SPUs get the first free ports from this far above the SC's: 9010 and on beside upstream's 9003.
const SPUS_ABOVE: u16 = 7;

/// So many ports are looked at for one that is free.
const PORTS_LOOKED_AT: u16 = 200;

/// The SC's port, unless another is asked for; upstream's.
pub const PORT: u16 = 9003;

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    version: u32,
    /// Whose the cluster is: nobody's but this book's.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
    /// The SC's port on loopback.
    pub port: u16,
    /// The folder with the records.
    pub data: PathBuf,
    /// The SPUs.
    pub spus: Vec<Spu>,
    /// Of the settings that were pushed last.
    pub generation: u64,
}

/// One SPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spu {
    /// Its id.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its port on loopback.
    pub port: u16,
}

/// What somebody who starts the cluster asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// How many SPUs.
    pub spus: Option<u8>,
    /// Where the records are to be.
    pub data: Option<PathBuf>,
    /// The SC's port.
    pub port: Option<u16>,
}

impl Book {
    /// What was made, if anything was.
    pub fn read(place: &Place) -> Result<Option<Self>, Failure> {
        let path = place.book();
        let broken = |why: String| {
            Failure::failed(format!("{} cannot be used: {why}", path.display())).with_fix(format!(
                "fluvio cluster shutdown, then look into {} or move it away",
                place.folder().display()
            ))
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        let book: Self = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if book.version == VERSION {
            Ok(Some(book))
        } else {
            Err(broken(format!("it is of version {}, and this program knows {VERSION}", book.version)))
        }
    }

    /// Keeps it.
    pub fn write(&self, place: &Place) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).or_fail("the cluster cannot be written down")?;
        profile::write_private(&place.book(), &text)
    }

    /// The names of all servers, the SC first.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        std::iter::once("sc").chain(self.spus.iter().map(|spu| spu.name.as_str()))
    }

    /// Where clients dial.
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Where a server is dialled.
    pub fn address_of(&self, server: &str) -> String {
        let spu = self.spus.iter().find(|spu| spu.name == server);
        spu.map_or_else(|| self.endpoint(), |spu| format!("localhost:{}", spu.port))
    }
}

/// The cluster that is to run, from the one that was made and what is asked for now. `runs` tells of a server whether it
/// is up; `is_free` of a port whether nobody listens there.
pub fn settle(
    made: Option<Book>,
    asked: &Asked,
    default_data: &Path,
    runs: impl Fn(&str) -> bool,
    is_free: impl Fn(u16) -> bool,
) -> Result<Book, Failure> {
    let mut book = made.unwrap_or_else(|| Book {
        version: VERSION,
        tenant: Uuid::new_v4(),
        cluster: Uuid::new_v4(),
        port: asked.port.unwrap_or(PORT),
        data: asked.data.clone().unwrap_or_else(|| default_data.to_owned()),
        spus: Vec::new(),
        generation: 0,
    });
    refuse_what_cannot_change(&book, asked, runs("sc"))?;
    book.port = asked.port.unwrap_or(book.port);
    let n_spus = usize::from(asked.spus.unwrap_or(1)).max(book.spus.len());
    let mut spus: Vec<Spu> = Vec::with_capacity(n_spus);
    for number in 0..n_spus {
        let kept = book.spus.get(number);
        let stays = kept.filter(|spu| runs(&spu.name) || (spu.port != book.port && is_free(spu.port)));
        let spu = match stays {
            Some(spu) => spu.clone(),
            None => {
                let others: Vec<u16> = spus.iter().chain(&book.spus).map(|spu| spu.port).collect();
                new_spu(number, free_port(book.port, &others, &is_free)?)
            }
        };
        spus.push(spu);
    }
    book.spus = spus;
    Ok(book)
}

/// Records do not move, SPUs are not taken away, and nobody who is connected is cut off.
fn refuse_what_cannot_change(book: &Book, asked: &Asked, sc_runs: bool) -> Result<(), Failure> {
    let Book { port, data, spus, .. } = book;
    if let Some(asked) = asked.data.as_ref().filter(|asked| *asked != data) {
        let what =
            format!("the local cluster has its records in {}, not in {}", data.display(), asked.display());
        return Err(Failure::usage(what).with_fix(
            "leave out --data; or, to lose those records: fluvio cluster delete, then start again",
        ));
    }
    if let Some(asked) = asked.port.filter(|asked| sc_runs && asked != port) {
        return Err(Failure::usage(format!("the local cluster runs on port {port} already"))
            .with_fix(format!("fluvio cluster shutdown, then fluvio cluster start --port {asked}")));
    }
    let n_spus = spus.len();
    if asked.spus.is_some_and(|asked| usize::from(asked) < n_spus) {
        let what = format!("the local cluster has {n_spus} SPUs, and none of them can be taken away");
        let fix =
            format!("fluvio cluster start --spu {n_spus}; or, to lose its records: fluvio cluster delete");
        return Err(Failure::usage(what).with_fix(fix));
    }
    Ok(())
}

fn new_spu(number: usize, port: u16) -> Spu {
    let id = i32::try_from(number).map_or(i32::MAX, |number| FIRST_SPU + number);
    Spu { id, name: format!("main-{number}"), port }
}

fn free_port(sc: u16, others: &[u16], is_free: impl Fn(u16) -> bool) -> Result<u16, Failure> {
    let from = sc.saturating_add(SPUS_ABOVE);
    let mut ports = from..=from.saturating_add(PORTS_LOOKED_AT);
    ports.find(|port| *port != sc && !others.contains(port) && is_free(*port)).ok_or_else(|| {
        Failure::failed(format!("no port from {from} on is free for an SPU"))
            .with_fix("fluvio cluster start --port P, where some ports above P are free")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "/home/ada/.fluvio/local/data";

    fn asked(spus: Option<u8>, data: Option<&str>, port: Option<u16>) -> Asked {
        Asked { spus, data: data.map(PathBuf::from), port }
    }

    fn settled(made: Option<Book>, asked: &Asked, up: &[&str], taken: &[u16]) -> Result<Book, String> {
        let runs = |server: &str| up.contains(&server);
        let is_free = |port: u16| !taken.contains(&port);
        settle(made, asked, Path::new(DATA), runs, is_free).map_err(|failure| format!("{failure:?}"))
    }

    fn ports(book: &Book) -> Vec<u16> {
        book.spus.iter().map(|spu| spu.port).collect()
    }

    #[test]
    fn a_first_start_has_upstreams_ports_and_goes_around_those_that_are_taken() {
        let first = settled(None, &Asked::default(), &[], &[]).unwrap();
        assert_eq!((first.port, ports(&first), first.data.to_str()), (9003, vec![9010], Some(DATA)));
        assert_eq!((first.spus[0].id, first.spus[0].name.as_str()), (5001, "main-0"));
        let three = settled(None, &asked(Some(3), None, None), &[], &[9011]).unwrap();
        assert_eq!(ports(&three), [9010, 9012, 9013]);
        let elsewhere = settled(None, &asked(None, Some("/d"), Some(7000)), &[], &[]).unwrap();
        assert_eq!(
            (elsewhere.port, ports(&elsewhere), elsewhere.data.to_str()),
            (7000, vec![7007], Some("/d"))
        );
        let last = settled(None, &asked(Some(1), None, Some(65_535)), &[], &[]);
        assert!(last.unwrap_err().contains("no port from 65535 on is free"));
    }

    #[test]
    fn a_later_start_changes_only_what_is_asked_for_or_in_the_way() {
        let made = settled(None, &asked(Some(2), None, None), &[], &[]).unwrap();
        assert_eq!(settled(Some(made.clone()), &Asked::default(), &[], &[]).unwrap(), made);
        let more =
            settled(Some(made.clone()), &asked(Some(3), None, None), &["sc", "main-0"], &[9010]).unwrap();
        assert_eq!(ports(&more), [9010, 9011, 9012]);
        assert_eq!(more.spus[..2], made.spus[..]);
        // Its own SPU holds 9010, somebody else 9011.
        let moved = settled(Some(made.clone()), &Asked::default(), &["sc", "main-0"], &[9010, 9011]).unwrap();
        assert_eq!(ports(&moved), [9010, 9012]);
        assert_eq!((moved.spus[1].id, moved.cluster), (5002, made.cluster));
        let port = settled(Some(made.clone()), &asked(None, None, Some(9010)), &[], &[]).unwrap();
        assert_eq!((port.port, ports(&port)), (9010, vec![9017, 9011]));
    }

    #[test]
    fn what_would_lose_records_or_cut_clients_off_is_refused_with_a_way_out() {
        let made = settled(None, &asked(Some(2), None, None), &[], &[]).unwrap();
        for (asked, up, words) in [
            (asked(Some(1), None, None), vec![], "none of them can be taken away"),
            (asked(None, Some("/other"), None), vec![], "has its records in"),
            (asked(None, None, Some(9100)), vec!["sc"], "runs on port 9003 already"),
        ] {
            let refused = settled(Some(made.clone()), &asked, &up, &[]).unwrap_err();
            assert!(refused.contains(words) && refused.contains("fix: Some"), "{refused}");
        }
        assert!(settled(Some(made.clone()), &asked(Some(2), Some(DATA), Some(9003)), &["sc"], &[]).is_ok());
    }

    #[test]
    fn a_book_of_another_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let places = crate::places::Places {
            profiles: folder.path().join("config"),
            cloud: folder.path().join("cloud"),
            local: folder.path().join("local"),
            extensions: folder.path().join("extensions"),
        };
        let place = Place::of(&places).unwrap();
        place.make().unwrap();
        assert_eq!(Book::read(&place).unwrap(), None);
        let mut book = settled(None, &Asked::default(), &[], &[]).unwrap();
        book.write(&place).unwrap();
        assert_eq!(Book::read(&place).unwrap().as_ref(), Some(&book));
        book.version = 2;
        book.write(&place).unwrap();
        assert!(Book::read(&place).unwrap_err().to_string().contains("version 2"));
    }
}
