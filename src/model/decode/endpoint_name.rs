//! Names of v3 workload endpoints: `<node>-<orchestrator>-<a>-<endpoint>`, a dash in a part doubled
//! (reference §2.3).

use super::fields::Mistake;
use crate::model::diagnostic::Code;

/// The four parts of a name, as they were before their dashes were doubled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) struct Parts {
    pub node: String,
    pub orchestrator: String,
    /// Pod, container or workload.
    pub workload: String,
    pub endpoint: String,
}

/// The spec's field that the third part comes from; `libnetwork` uses its own name.
pub(in crate::model) fn workload_field(orchestrator: &str) -> Option<&'static str> {
    match orchestrator {
        "k8s" => Some("pod"),
        "cni" => Some("containerID"),
        "libnetwork" => None,
        _ => Some("workload"),
    }
}

/// Whether `text` can be a part.
pub(super) fn check_part(text: &str) -> Result<(), Mistake> {
    if !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    let message = format!("`{text}` can't be part of an endpoint's name");
    Err(Mistake::new(Code::InvalidName, message, "not empty, no `-` at its ends"))
}

impl Parts {
    pub fn compose(&self) -> String {
        let Self { node, orchestrator, workload, endpoint } = self;
        [node, orchestrator, workload, endpoint].map(|part| part.replace('-', "--")).join("-")
    }

    /// A single dash separates, two are one dash of the part.
    pub fn split(name: &str) -> Option<Self> {
        let mut parts = vec![String::new()];
        let mut rest = name.chars().peekable();
        while let Some(letter) = rest.next() {
            if letter != '-' || rest.next_if_eq(&'-').is_some() {
                parts.last_mut()?.push(letter);
            } else {
                parts.push(String::new());
            }
        }
        let [node, orchestrator, workload, endpoint] = <[String; 4]>::try_from(parts).ok()?;
        let parts = Self { node, orchestrator, workload, endpoint };
        (parts.compose() == name && parts.is_valid()).then_some(parts)
    }

    fn is_valid(&self) -> bool {
        let Self { node, orchestrator, workload, endpoint } = self;
        [node, orchestrator, workload, endpoint].iter().all(|part| check_part(part).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(node: &str, orchestrator: &str, workload: &str, endpoint: &str) -> Parts {
        let [node, orchestrator, workload, endpoint] =
            [node, orchestrator, workload, endpoint].map(str::to_owned);
        Parts { node, orchestrator, workload, endpoint }
    }

    #[test]
    fn there_and_back() {
        for (parts, name) in [
            (parts("node-1", "k8s", "pod-name", "eth0"), "node--1-k8s-pod--name-eth0"),
            (
                parts("node-1", "libnetwork", "libnetwork", "abcdefgh"),
                "node--1-libnetwork-libnetwork-abcdefgh",
            ),
            (parts("node-1", "foo", "foo-foo", "abcdefgh"), "node--1-foo-foo--foo-abcdefgh"),
            (parts("a", "b", "c--d", "e"), "a-b-c----d-e"),
        ] {
            assert_eq!(parts.compose(), name);
            assert_eq!(Parts::split(name), Some(parts));
        }
    }

    #[test]
    fn not_names() {
        for name in ["", "a-b-c", "a-b-c-d-e", "a-b--c-d", "-a-b-c-d", "a-b-c-d-", "a---b-c-d", "----"] {
            assert_eq!(Parts::split(name), None, "{name}");
        }
        for part in ["", "-a", "a-"] {
            assert!(check_part(part).is_err());
        }
    }
}
