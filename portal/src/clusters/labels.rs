//! Labels: the part of a cluster's domain that the server makes. Two words to know it by, eight hex digits to keep
//! it apart from every other one that ever was.

use rand::seq::IndexedRandom as _;

const QUALITIES: [&str; 32] = [
    "amber", "brave", "brisk", "calm", "clear", "clever", "coral", "crisp", "deep", "eager", "early",
    "gentle", "golden", "happy", "ivory", "jolly", "keen", "lively", "lucky", "mellow", "misty", "noble",
    "quick", "quiet", "rapid", "silver", "steady", "still", "sunny", "swift", "tidal", "vivid",
];
/// Creatures and things of rivers.
const THINGS: [&str; 32] = [
    "beaver", "brook", "canoe", "carp", "creek", "crane", "dipper", "eddy", "egret", "ferry", "ford",
    "heron", "island", "kayak", "lagoon", "marsh", "mill", "newt", "otter", "pebble", "perch", "pike",
    "pond", "rapids", "reed", "salmon", "shore", "spring", "stream", "trout", "weir", "willow",
];

/// A new label. That it was never given before is checked by the table of used labels.
pub fn make() -> String {
    let mut rng = rand::rng();
    let quality = QUALITIES.choose(&mut rng).unwrap_or(&QUALITIES[0]);
    let thing = THINGS.choose(&mut rng).unwrap_or(&THINGS[0]);
    format!("{quality}-{thing}-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_two_words_and_eight_hex_digits_and_fits_a_domain() {
        for _ in 0..200 {
            let label = make();
            let parts: Vec<&str> = label.split('-').collect();
            assert_eq!(parts.len(), 3, "{label}");
            assert!(QUALITIES.contains(&parts[0]) && THINGS.contains(&parts[1]), "{label}");
            assert!(parts[2].len() == 8 && u32::from_str_radix(parts[2], 16).is_ok(), "{label}");
            assert!(label.len() <= 63);
        }
    }

    #[test]
    fn labels_differ() {
        let labels: std::collections::HashSet<String> = (0..1_000).map(|_| make()).collect();
        assert!(labels.len() > 990);
    }
}
