//! Whether a live object is as it is wanted: every field that we set has our value. What others add (the API
//! server's defaults, status, a mesh's annotation) is not compared.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

/// Whether every field of `wanted` is in `live`.
pub fn covers(wanted: &Value, live: &Value) -> bool {
    value(wanted, Some(live), false)
}

/// A number for the content of a wanted object, never 0.
pub fn fingerprint(wanted: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Maps are sorted, so the text is one for one content.
    wanted.to_string().hash(&mut hasher);
    hasher.finish().max(1)
}

/// `amounts`: the strings below are quantities.
fn value(wanted: &Value, live: Option<&Value>, amounts: bool) -> bool {
    let Some(live) = live.filter(|live| !live.is_null()) else { return is_nothing(wanted) };
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => map(wanted, live, amounts),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len()
                && wanted.iter().zip(live).all(|(wanted, live)| value(wanted, Some(live), amounts))
        }
        (Value::String(wanted), Value::String(live)) if amounts => {
            wanted == live || amount(wanted).is_some_and(|wanted| amount(live) == Some(wanted))
        }
        _ => wanted == live || is_nothing(wanted) && is_nothing(live),
    }
}

fn map(wanted: &Map<String, Value>, live: &Map<String, Value>, amounts: bool) -> bool {
    const AMOUNTS: [&str; 8] =
        ["limits", "requests", "hard", "default", "defaultRequest", "max", "min", "capacity"];
    // One entry more in these means something else.
    const WHOLE: [&str; 4] = ["selector", "podSelector", "namespaceSelector", "nodeSelector"];
    wanted.iter().all(|(key, wanted)| {
        let (key, live) = (key.as_str(), live.get(key));
        value(wanted, live, amounts || AMOUNTS.contains(&key))
            && (!WHOLE.contains(&key) || live.is_none_or(|live| value(live, Some(wanted), false)))
    })
}

/// What the API server leaves out when it writes an object.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
    }
}

/// A quantity in thousandths: `500m`, `2`, `1Gi`, `1.5G`.
pub(super) fn amount(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let thousandths = format!("{fraction:0<3}");
    if whole.is_empty() || fraction.len() > 3 {
        return None;
    }
    let scale: i128 = match unit {
        "" => 1000,
        "m" => 1,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let number: i128 = format!("{whole}{thousandths}").parse().ok()?;
    number.checked_mul(scale).map(|product| product / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_live_object_may_have_more_but_nothing_else_than_what_is_wanted() {
        let wanted =
            json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "ports": [{ "port": 9003 }] } });
        let table = [
            ("the same", wanted.clone(), true),
            (
                "defaults and status",
                json!({ "metadata": { "labels": { "a": "1", "b": "2" }, "uid": "x" }, "status": {},
                        "spec": { "ports": [{ "port": 9003, "protocol": "TCP" }], "type": "ClusterIP" } }),
                true,
            ),
            ("a label less", json!({ "metadata": {}, "spec": { "ports": [{ "port": 9003 }] } }), false),
            (
                "another value",
                json!({ "metadata": { "labels": { "a": "2" } }, "spec": { "ports": [{ "port": 9003 }] } }),
                false,
            ),
            (
                "a port more",
                json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "ports": [{ "port": 9003 }, { "port": 1 }] } }),
                false,
            ),
        ];
        for (name, live, expected) in table {
            assert_eq!(covers(&wanted, &live), expected, "{name}");
        }
    }

    #[test]
    fn what_the_api_server_leaves_out_is_what_it_means() {
        let wanted =
            json!({ "podSelector": {}, "replicas": 0, "automount": false, "list": [], "deep": { "x": {} } });
        assert!(covers(&wanted, &json!({})));
        assert!(!covers(&wanted, &json!({ "replicas": 1 })));
        assert!(!covers(&wanted, &json!({ "automount": true })));
        assert!(!covers(&wanted, &json!({ "list": ["x"] })));
    }

    #[test]
    fn a_selector_that_somebody_narrowed_is_another() {
        let all = json!({ "podSelector": {}, "ingress": [] });
        assert!(covers(&all, &json!({ "podSelector": {} })));
        assert!(!covers(&all, &json!({ "podSelector": { "matchLabels": { "a": "b" } } })));
        assert!(!covers(&all, &json!({ "podSelector": {}, "ingress": [{}] })));
        let one = json!({ "selector": { "role": "sc" } });
        assert!(!covers(&one, &json!({ "selector": { "role": "sc", "more": "x" } })));
    }

    #[test]
    fn a_quantity_is_compared_by_what_it_is_worth() {
        let hard = |text: &str| json!({ "hard": { "cpu": text } });
        for (one, other) in
            [("1000m", "1"), ("1Gi", "1024Mi"), ("1.5", "1500m"), ("0.5Gi", "512Mi"), ("2k", "2000")]
        {
            assert!(covers(&hard(one), &hard(other)), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1G", "1Gi"), ("1", "x"), ("", "1"), ("1e3", "1")] {
            assert!(!covers(&hard(one), &hard(other)), "{one} {other}");
        }
        assert!(!covers(&json!({ "name": "1000m" }), &json!({ "name": "1" })), "a name is no quantity");
    }

    #[test]
    fn a_fingerprint_is_the_contents_own() {
        assert_eq!(fingerprint(&json!({ "a": 1, "b": 2 })), fingerprint(&json!({ "b": 2, "a": 1 })));
        assert_ne!(fingerprint(&json!({ "a": 1 })), fingerprint(&json!({ "a": 2 })));
    }
}
