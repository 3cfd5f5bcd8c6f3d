use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::super::answers::Me;
use super::super::remote::PlainHttp;
use super::*;

/// A portal that says one thing to one caller: it stands for the network, not for the portal's rules.
fn one_answer(answer: &'static [u8]) -> (Api, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.windows(4).any(|window| window == b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            heard.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(answer).unwrap();
        String::from_utf8(heard).unwrap()
    });
    let remote = Remote::parse(&format!("http://{address}"), PlainHttp::Refused).unwrap();
    (Api::new(remote, None).unwrap(), server)
}

fn ask(answer: &'static [u8]) -> Result<Me, ApiError> {
    let (api, server) = one_answer(answer);
    let answer = api.call(&Call::get("/me").with_token("flvc_secret"));
    server.join().unwrap();
    answer
}

#[test]
fn the_token_travels_in_its_header_and_the_answer_is_read() {
    let body = br#"{"user":{"id":"1","email":"a@b.c"},"organisation":{"id":"2","name":"a"},"new":1}"#;
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    let (api, server) = one_answer(answer.leak());
    let me: Me = api.call(&Call::get("/me").with_token("flvc_secret")).unwrap();
    assert_eq!(me.user.email, "a@b.c");
    let heard = server.join().unwrap().to_ascii_lowercase();
    assert!(heard.starts_with("get /api/v1/me http/1.1\r\n"), "{heard}");
    assert!(heard.contains("authorization: bearer flvc_secret\r\n"), "{heard}");
}

#[test]
fn a_refusal_keeps_the_portals_words_and_its_next_step() {
    let refused = ask(
        b"HTTP/1.1 409 Conflict\r\ncontent-length: 52\r\n\r\n{\"detail\":\"the name is taken\",\"fix\":\"take another\"}\n",
    );
    let Err(error @ ApiError::Refused(_)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.to_string(), "the name is taken");
    assert!(format!("{:?}", Failure::from(error)).contains("take another"));
}

#[test]
fn statuses_are_told_apart_by_what_to_do_next() {
    assert!(matches!(ask(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"), Err(ApiError::Unauthorised(_))));
    assert!(matches!(ask(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"), Err(ApiError::Refused(_))));
    assert!(matches!(ask(b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n"), Err(ApiError::Unavailable(_))));
    assert!(matches!(
        ask(b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\n<h1>"),
        Err(ApiError::Unavailable(_))
    ));
}

#[test]
fn a_stranger_at_the_address_is_recognised() {
    assert!(matches!(
        ask(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<h1>"),
        Err(ApiError::Foreign { .. })
    ));
    let elsewhere = ask(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    assert!(matches!(elsewhere, Err(ApiError::Foreign { .. })), "a redirect is not followed: {elsewhere:?}");
}

#[test]
fn a_connection_cut_short_is_unreachable() {
    let cut = ask(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{");
    assert!(matches!(cut, Err(ApiError::Unreachable { .. })), "{cut:?}");
    assert!(matches!(ask(b""), Err(ApiError::Unreachable { .. })));
}

#[test]
fn nobody_listening_is_unreachable() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api =
        Api::new(Remote::parse(&format!("http://{address}"), PlainHttp::Refused).unwrap(), None).unwrap();
    let answer: Result<Me, _> = api.call(&Call::get("/me"));
    assert!(matches!(answer, Err(ApiError::Unreachable { .. })));
}
