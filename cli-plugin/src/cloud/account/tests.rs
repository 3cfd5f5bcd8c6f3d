use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::super::answers::Me;
use super::super::session::Session;
use super::*;

#[test]
fn a_name_stays_one_part_of_the_path() {
    let cases =
        [("main-1", "main-1"), ("a/b", "a%2Fb"), ("..", "%2E%2E"), ("a?b=c", "a%3Fb%3Dc"), ("é", "%C3%A9")];
    for (name, escaped) in cases {
        assert_eq!(segment(name), escaped);
    }
}

/// Answers `/me` to the newest access token only, and exchanges each refresh token once, as a portal does.
struct Tokens {
    issued: AtomicU32,
    exchanges: AtomicU32,
}

impl Tokens {
    fn serve() -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(Self { issued: AtomicU32::new(0), exchanges: AtomicU32::new(0) });
        let shared = tokens.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tokens = shared.clone();
                thread::spawn(move || tokens.answer(stream));
            }
        });
        (format!("http://{address}"), tokens)
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut length, mut head) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = self.decide(&head, &String::from_utf8(body).unwrap());
        let length = answer.len();
        let _gone = write!(
            reader.into_inner(),
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
        );
    }

    fn decide(&self, head: &str, body: &str) -> (u16, String) {
        let newest = self.issued.load(Ordering::SeqCst);
        let someone = r#""user":{"id":"1","email":"a@b.c"},"organisation":{"id":"2","name":"a"}"#;
        if head.starts_with("post /api/v1/token ") {
            self.exchanges.fetch_add(1, Ordering::SeqCst);
            if !body.contains(&format!("refresh-{newest}\"")) {
                return (401, r#"{"detail":"used before"}"#.to_owned());
            }
            let next = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
            let tokens = format!(
                r#""access_token":"access-{next}","refresh_token":"refresh-{next}","expires_in":900"#
            );
            return (200, format!("{{{tokens},{someone}}}"));
        }
        if head.contains(&format!("bearer access-{newest}\r\n")) {
            (200, format!("{{{someone}}}"))
        } else {
            (401, r#"{"detail":"the token ended"}"#.to_owned())
        }
    }
}

fn places_with(remote: &str, credential: Option<Credential>) -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    let places = Places {
        profiles: folder.path().join("config"),
        cloud: folder.path().join("cloud"),
        local: folder.path().join("local"),
        extensions: folder.path().join("extensions"),
    };
    let session = Session {
        remote: remote.to_owned(),
        allow_plain_http: false,
        authority: None,
        email: "a@b.c".to_owned(),
        organisation: "a".to_owned(),
        credential,
        profiles: Vec::new(),
    };
    SessionStore::new(&places.cloud).update(|_| Ok((session, ()))).unwrap();
    (folder, places)
}

fn login(expires_in: i64) -> Option<Credential> {
    Some(Credential::Login {
        access_token: "access-0".to_owned(),
        expires_at: OffsetDateTime::now_utc().unix_timestamp() + expires_in,
        refresh_token: "refresh-0".to_owned(),
    })
}

fn ask(places: &Places) -> Result<Me, AccountError> {
    Account::open(places).unwrap().call(&Call::get("/me"))
}

#[test]
fn however_many_find_the_token_ended_it_is_exchanged_once() {
    let (remote, tokens) = Tokens::serve();
    let (_folder, places) = places_with(&remote, login(-1));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(ask(&places).unwrap().user.email, "a@b.c"));
        }
    });
    assert_eq!(tokens.exchanges.load(Ordering::SeqCst), 1);
}

#[test]
fn a_token_that_the_portal_turns_away_early_is_exchanged_and_the_call_repeated() {
    let (remote, tokens) = Tokens::serve();
    let (_folder, places) = places_with(&remote, login(600));
    tokens.issued.store(0, Ordering::SeqCst);
    assert!(ask(&places).is_ok(), "still good");
    assert_eq!(tokens.exchanges.load(Ordering::SeqCst), 0);
    let (_other, stale) = places_with(
        &remote,
        Some(Credential::Login {
            access_token: "access-from-before-a-restart".to_owned(),
            expires_at: OffsetDateTime::now_utc().unix_timestamp() + 600,
            refresh_token: "refresh-0".to_owned(),
        }),
    );
    assert!(ask(&stale).is_ok());
    assert_eq!(tokens.exchanges.load(Ordering::SeqCst), 1);
}

#[test]
fn a_login_that_is_over_says_to_log_in_again() {
    let (remote, tokens) = Tokens::serve();
    tokens.issued.store(5, Ordering::SeqCst);
    for credential in [login(-1), login(600), Some(Credential::ApiToken { token: "flvc_revoked".to_owned() })]
    {
        let (_folder, places) = places_with(&remote, credential);
        let Err(error) = ask(&places) else { panic!("accepted") };
        assert!(!error.is_passing());
        assert!(format!("{:?}", Failure::from(error)).contains("fluvio cloud login"));
    }
}

#[test]
fn nobody_signed_in_is_said_before_anything_is_sent() {
    let (_folder, places) = places_with("http://127.0.0.1:1", None);
    let Err(failure) = Account::open(&places) else { panic!("opened") };
    assert_eq!(failure.to_string(), "nobody is signed in");
}
