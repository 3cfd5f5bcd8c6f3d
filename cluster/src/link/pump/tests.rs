use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Said(u32),
    Beat,
}

impl Message for Word {
    const BEAT: Self = Self::Beat;

    fn is_beat(&self) -> bool {
        *self == Self::Beat
    }
}

type End = Pump<Word, Word>;

fn end(stream: tokio::io::DuplexStream, beats: bool) -> End {
    let (reader, writer) = tokio::io::split(stream);
    Pump::start(reader, writer, beats)
}

#[tokio::test]
async fn two_that_have_nothing_to_say_stay_together_and_one_that_is_silent_is_dead() {
    let (left, right) = tokio::io::duplex(64);
    let (mut left, mut right) = (end(left, true), end(right, true));
    let together = timeout(SILENCE + 2 * BEAT, left.next()).await;
    assert!(together.is_err(), "neither a beat nor an end comes out: {together:?}");
    right.send(Word::Said(7)).await.unwrap();
    assert_eq!(left.next().await.unwrap(), Word::Said(7));
    left.send(Word::Said(8)).await.unwrap();
    assert_eq!(right.next().await.unwrap(), Word::Said(8));

    let (mut stopped, other) = tokio::io::duplex(1024);
    let mut other = end(other, true);
    stopped.write_all(b"\x00\x00").await.unwrap();
    let begun = Instant::now();
    let dead = timeout(DEADLINE, other.next()).await.unwrap();
    assert!(matches!(dead, Err(LinkError::TimedOut)), "{dead:?}");
    assert!(begun.elapsed() >= SILENCE - BEAT);
    let mut beats = vec![0; 10];
    stopped.read_exact(&mut beats).await.unwrap();
    assert_eq!(beats, *b"\x00\x00\x00\x06\"Beat\"");
}

#[tokio::test]
async fn a_frame_that_takes_long_and_a_session_that_takes_nothing_are_no_silence() {
    let (mut slow, other) = tokio::io::duplex(1024);
    let mut other = end(other, true);
    let frame = b"\x00\x00\x00\x0a{\"Said\":1}";
    let dripping = async {
        for byte in frame {
            slow.write_all(&[*byte]).await.unwrap();
            sleep(SILENCE / 10).await;
        }
    };
    let (heard, ()) = tokio::join!(other.next(), dripping);
    assert_eq!(heard.unwrap(), Word::Said(1), "fourteen bytes in seven seconds");

    let (talker, busy) = tokio::io::duplex(64);
    let (talker, mut busy) = (end(talker, true), end(busy, true));
    for n in 0..100 {
        talker.send(Word::Said(n)).await.unwrap();
        if n == INCOMING as u32 {
            sleep(SILENCE + BEAT).await;
        }
        if n >= INCOMING as u32 {
            busy.next().await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_does_not_beat_is_not_asked_to() {
    let (mut old, new) = tokio::io::duplex(1024);
    let mut new = end(new, false);
    assert!(timeout(SILENCE + BEAT, new.next()).await.is_err());
    old.write_all(b"\x00\x00\x00\x0a{\"Said\":1}").await.unwrap();
    assert_eq!(new.next().await.unwrap(), Word::Said(1));
    drop(new);
    let mut said = Vec::new();
    timeout(DEADLINE, old.read_to_end(&mut said)).await.unwrap().unwrap();
    assert!(said.is_empty());
}
