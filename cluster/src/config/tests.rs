use super::*;

const NODE: &str = r#"
role_dir_data = "/c/data"
tenant = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01"
cluster = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f02"
[sc]
public = ["unix:/c/run/sc.sock", "tcp:127.0.0.1:0", "tcp+proxy:[::1]:9000"]
control = "unix:/c/run/control.sock"
link = "unix:/c/run/link.sock"
[spu]
name = "main-0"
public = ["unix:/c/run/main-0.sock"]
link = "unix:/c/run/link.sock"
"#;

fn load(text: &str, role: Role) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path, role, None).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let config = load(NODE, Role::Node).unwrap();
    assert_eq!(config.sc_dir(), Path::new("/c/data/sc"));
    assert_eq!(config.sc.unwrap().public[2], ListenAddress::TcpBehindProxy("[::1]:9000".into()));
    assert_eq!(config.host_reserve_bytes, 1 << 30);
    assert_eq!(config.spu.unwrap().scrub, ScrubConfig::default());
    let often = format!("{NODE}[spu.scrub]\nperiod_seconds = 9\n");
    let often = load(&often, Role::Node).unwrap().spu.unwrap().scrub;
    assert_eq!((often.period_seconds, often.bytes_per_second), (9, 8 << 20));
}

#[test]
fn what_is_wrong_is_said() {
    let long = format!("unix:/{}", "x".repeat(107));
    for (from, to, role, expected) in [
        ("[sc]", "[sc]\ncolour = 1", Role::Node, "unknown field `colour`"),
        ("tenant =", "tenent =", Role::Node, "unknown field `tenent`"),
        ("", "", Role::Spu, "[sc] does not belong to an SPU"),
        ("", "", Role::Sc, "[spu] does not belong to an SC"),
        ("main-0\"\n", "Main.0\"\n", Role::Node, "spu.name"),
        ("name = \"main-0\"", "name = \"sc\"", Role::Node, "is taken"),
        ("name = \"main-0\"", "", Role::Node, "spu.name"),
        ("unix:/c/run/control.sock", "tcp:127.0.0.1:1", Role::Node, "needs the section [internal]"),
        ("unix:/c/run/control.sock", "tcp+proxy:127.0.0.1:1", Role::Node, "is not an address"),
        ("[sc]", "[sc]\nprobe = \"unix:/c/probe.sock\"", Role::Node, "only a tcp: address will do"),
        ("[sc]", "[internal]\nname = \"internal.c1\"\n[sc]", Role::Node, "missing field `certificate_file`"),
        ("unix:/c/run/link.sock", &long, Role::Node, "longer than 107 bytes"),
        ("tcp:127.0.0.1:0", "tcp:127.0.0.1", Role::Node, "is not an address"),
        ("[spu]", "[spu.scrub]\nperiod_seconds = 0\n[spu]", Role::Node, "spu.scrub.period_seconds is 0"),
        ("[spu]", "[spu.scrub]\nbytes_per_second = 0\n[spu]", Role::Node, "spu.scrub.bytes_per_second"),
        ("[spu]", "[spu.scrub]\nperiod = 9\n[spu]", Role::Node, "unknown field `period`"),
        ("tcp:127.0.0.1:0", "udp:127.0.0.1:0", Role::Node, "is not an address"),
        ("tcp:127.0.0.1:0", "tcp+plain:0.0.0.0:9003", Role::Node, "listens on loopback only"),
        ("tcp:127.0.0.1:0", "tcp+plain:127.0.0.1:9003", Role::Node, "on all its addresses or on none"),
    ] {
        let text = if from.is_empty() { NODE.to_owned() } else { NODE.replace(from, to) };
        let error = load(&text, role).unwrap_err();
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
    assert!(load("", Role::Node).unwrap_err().contains("role_dir_data"));
}

const LAPTOP: &str = r#"
role_dir_data = "/c/data"
tenant = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01"
cluster = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f02"
[sc]
public = ["tcp+plain:127.0.0.1:9003", "tcp+plain:[::1]:9003"]
control = "unix:/c/run/control.sock"
link = "unix:/c/run/link.sock"
"#;

#[test]
fn a_cluster_without_tls_is_on_loopback_and_has_no_certificates() {
    let config = load(LAPTOP, Role::Sc).unwrap();
    assert!(config.sc.unwrap().public.iter().all(ListenAddress::is_plain));
    let internal = "[internal]\ncertificate_file = \"/c\"\nkey_file = \"/k\"\nca_file = \"/a\"\nname = \"internal.c1\"\n[sc]";
    let error = load(&LAPTOP.replace("[sc]", internal), Role::Sc).unwrap_err();
    assert!(error.contains("a cluster that has"), "{error}");
    for elsewhere in ["0.0.0.0", "192.168.1.7", "localhost"] {
        let error = load(&LAPTOP.replace("127.0.0.1", elsewhere), Role::Sc).unwrap_err();
        assert!(error.contains("without TLS a server listens on loopback only"), "{error}");
        assert!(error.contains("tcp+plain:127.0.0.1:PORT"), "{error}");
    }
}

const POD: &str = r#"
role_dir_data = "/data"
tenant = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01"
cluster = "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f02"
[internal]
certificate_file = "/etc/fluvio/internal/tls.crt"
key_file = "/etc/fluvio/internal/tls.key"
ca_file = "/etc/fluvio/internal/ca.crt"
name = "internal.c1.fluvio.test"
[spu]
public = ["tcp+proxy:0.0.0.0:9005"]
link = "tcp:sc.fluvio-1.svc:9010"
probe = "tcp:0.0.0.0:9030"
"#;

#[test]
fn the_spus_of_a_cluster_can_share_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spu.toml");
    std::fs::write(&path, POD).unwrap();
    let spu = Config::load(&path, Role::Spu, Some("main-1".into())).unwrap().spu.unwrap();
    assert_eq!((spu.name.as_str(), spu.probe.as_deref()), ("main-1", Some("0.0.0.0:9030")));
    assert_eq!(spu.link, Address::Tcp("sc.fluvio-1.svc:9010".into()));
    for name in [None, Some("Main.1".to_owned())] {
        let error = Config::load(&path, Role::Spu, name).unwrap_err().to_string();
        assert!(error.contains("spu.name"), "{error}");
    }
}
