use super::*;

#[test]
fn only_root_and_the_own_user_are_trusted() {
    for (peer, own, expected) in [(0, 1000, true), (1000, 1000, true), (1001, 1000, false), (1000, 0, false)] {
        assert_eq!(trusted(peer, own), expected, "{peer} at {own}");
    }
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_nobody_else_may_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(bind_private(&path).unwrap());
    let _listener = bind_private(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
