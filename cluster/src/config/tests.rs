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
    Config::load(&path, role).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let config = load(NODE, Role::Node).unwrap();
    assert_eq!(config.sc_dir(), Path::new("/c/data/sc"));
    assert_eq!(config.sc.unwrap().public[2], ListenAddress::TcpBehindProxy("[::1]:9000".into()));
    assert_eq!(config.host_reserve_bytes, 1 << 30);
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
        ("unix:/c/run/control.sock", "tcp:127.0.0.1:1", Role::Node, "only a unix: address will do"),
        ("unix:/c/run/link.sock", &long, Role::Node, "longer than 107 bytes"),
        ("tcp:127.0.0.1:0", "tcp:127.0.0.1", Role::Node, "is not an address"),
        ("tcp:127.0.0.1:0", "udp:127.0.0.1:0", Role::Node, "is not an address"),
    ] {
        let text = if from.is_empty() { NODE.to_owned() } else { NODE.replace(from, to) };
        let error = load(&text, role).unwrap_err();
        assert!(error.contains(expected), "{expected:?} not in {error:?}");
    }
    assert!(load("", Role::Node).unwrap_err().contains("role_dir_data"));
}
