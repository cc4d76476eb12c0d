//! Which keys are read, and how their values are written (reference §2; felix-2.1 §2).

use super::super::StoredPath;

/// What is read of all that is below the prefix, in the order of keys. Beside it others keep what changes all the time:
/// hosts' states, IPAM's handles.
pub(super) const RANGES: [&str; 4] =
    ["ipam/v2/assignment/", "ipam/v2/host/", "resources/v3/projectcalico.org/", "v1/"];

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// The value is the text itself.
    Text,
}

/// How the value of `path` is written; None for keys that say nothing to us.
pub(super) fn form(path: &StoredPath) -> Option<Form> {
    match path.parts().as_slice() {
        ["resources", "v3", "projectcalico.org", ..] | ["ipam", "v2", "assignment" | "host", ..] => {
            Some(Form::Json)
        }
        ["v1", "Ready"] | ["v1", "config", _, ..] | ["v1", "host", _, "config", _, ..] => Some(Form::Text),
        ["v1", "host", _, "bird_ip"] => Some(Form::Text),
        ["v1", "host", _, "workload" | "endpoint", ..] | ["v1", "policy" | "ipam" | "netset", ..] => {
            Some(Form::Json)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order() {
        assert!(RANGES.is_sorted());
    }

    #[test]
    fn forms() {
        for (key, expected) in [
            ("resources/v3/projectcalico.org/tiers/default", Some(Form::Json)),
            ("ipam/v2/assignment/ipv4/block/10.0.0.0-26", Some(Form::Json)),
            ("ipam/v2/host/host-1/ipv4/block/10.0.0.0-26", Some(Form::Json)),
            ("ipam/v2/handle/h", None),
            ("v1/Ready", Some(Form::Text)),
            ("v1/config/LogPrefix", Some(Form::Text)),
            ("v1/config/a/b", Some(Form::Text)),
            ("v1/host/host-1/config/LogPrefix", Some(Form::Text)),
            ("v1/host/host-1/bird_ip", Some(Form::Text)),
            ("v1/host/host-1/metadata", None),
            ("v1/host/host-1/workload/k8s/a/endpoint/eth0", Some(Form::Json)),
            ("v1/policy/profile/a/rules", Some(Form::Json)),
            ("v1/other", None),
            ("", None),
        ] {
            assert_eq!(form(&StoredPath::of(key)), expected, "{key}");
        }
    }
}
