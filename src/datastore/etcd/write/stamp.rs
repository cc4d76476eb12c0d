//! What a store says of an object: its identity, and when it was made.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value as Json};

use super::WriteError;

/// Where the kernel makes identities.
const IDENTITIES: &str = "/proc/sys/kernel/random/uuid";

const UID: &str = "uid";
const CREATED: &str = "creationTimestamp";

/// Of an object that is new.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    uid: String,
    created: String,
}

impl Stamp {
    pub fn fresh() -> Result<Self, WriteError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { uid: identity()?, created: rfc_3339(now.as_secs()) })
    }

    /// The object with this stamp, whatever it had.
    pub fn on(&self, object: &Json) -> Json {
        let Self { uid, created } = self;
        stamped(object, Some(uid.as_str().into()), Some(created.as_str().into()))
    }

    /// The object with what it lacks of this stamp.
    pub fn where_there_is_none(&self, object: &Json) -> Json {
        let Self { uid, created } = self;
        let (own_uid, own_created) = (said(object, UID), said(object, CREATED));
        stamped(
            object,
            own_uid.or_else(|| Some(uid.as_str().into())),
            own_created.or_else(|| Some(created.as_str().into())),
        )
    }
}

/// An identity that nothing else has: a random UUID.
///
/// # Errors
///
/// The system gives none.
pub fn identity() -> Result<String, WriteError> {
    let text = fs::read_to_string(IDENTITIES).map_err(WriteError::NoIdentity)?;
    Ok(text.trim().to_owned())
}

/// `wanted`, with what the store and those who report to it say of the object that is there.
pub(super) fn kept(wanted: &Json, present: &Json) -> Json {
    let mut merged = stamped(wanted, said(present, UID), said(present, CREATED));
    if let (Json::Object(merged), Some(status)) = (&mut merged, present.get("status"))
        && !merged.contains_key("status")
    {
        merged.insert("status".to_owned(), status.clone());
    }
    merged
}

fn said(object: &Json, name: &str) -> Option<Json> {
    object.get("metadata")?.get(name).filter(|value| !value.is_null()).cloned()
}

/// Behind what names the object, as Calico's clients write it.
fn stamped(object: &Json, uid: Option<Json>, created: Option<Json>) -> Json {
    let mut stamped = object.clone();
    let Some(Json::Object(metadata)) = stamped.get_mut("metadata") else { return stamped };
    let mut rest = std::mem::take(metadata);
    rest.retain(|name, _| name != UID && name != CREATED);
    let mut ordered = Map::new();
    for name in ["name", "namespace"] {
        ordered.extend(rest.shift_remove_entry(name));
    }
    for (name, value) in [(UID, uid), (CREATED, created)] {
        ordered.extend(value.map(|value| (name.to_owned(), value)));
    }
    ordered.extend(rest);
    *metadata = ordered;
    stamped
}

/// Seconds since 1970 as Calico's clients write a time: UTC, whole seconds.
fn rfc_3339(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    // Eras of 400 years are all alike; years that begin in March have the leap day at their end.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_785_542_400, "2026-08-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(seconds), time);
        }
    }

    #[test]
    fn stamps() {
        let stamp = Stamp { uid: "u".to_owned(), created: "t".to_owned() };
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let on = |text: &str| stamp.on(&json(text)).to_string();
        assert_eq!(
            on(r#"{"metadata":{"labels":{},"namespace":"ns","name":"n"},"spec":{}}"#),
            r#"{"metadata":{"name":"n","namespace":"ns","uid":"u","creationTimestamp":"t","labels":{}},"spec":{}}"#
        );
        let wanted = json(r#"{"metadata":{"name":"n","labels":{"a":"b"}},"spec":{"order":1}}"#);
        for (present, merged, written) in [
            (
                r#"{"metadata":{"name":"n","uid":"old","creationTimestamp":"then"},"spec":{},"status":1}"#,
                r#"{"metadata":{"name":"n","uid":"old","creationTimestamp":"then","labels":{"a":"b"}},"spec":{"order":1},"status":1}"#,
                r#"{"metadata":{"name":"n","uid":"old","creationTimestamp":"then","labels":{"a":"b"}},"spec":{"order":1},"status":1}"#,
            ),
            (
                r#"{"metadata":{"creationTimestamp":null},"spec":{}}"#,
                r#"{"metadata":{"name":"n","labels":{"a":"b"}},"spec":{"order":1}}"#,
                r#"{"metadata":{"name":"n","uid":"u","creationTimestamp":"t","labels":{"a":"b"}},"spec":{"order":1}}"#,
            ),
            (
                "null",
                r#"{"metadata":{"name":"n","labels":{"a":"b"}},"spec":{"order":1}}"#,
                r#"{"metadata":{"name":"n","uid":"u","creationTimestamp":"t","labels":{"a":"b"}},"spec":{"order":1}}"#,
            ),
        ] {
            let kept = kept(&wanted, &json(present));
            assert_eq!(kept.to_string(), merged);
            assert_eq!(stamp.where_there_is_none(&kept).to_string(), written);
        }
    }

    /// Whatever the order of its fields.
    #[test]
    fn the_same_object_is_the_same() {
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let wanted = json(r#"{"metadata":{"name":"n"},"spec":{"a":1,"b":2}}"#);
        let present = json(r#"{"spec":{"b":2,"a":1},"metadata":{"uid":"u","name":"n"}}"#);
        assert_eq!(kept(&wanted, &present), present);
    }
}
