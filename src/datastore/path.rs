//! The keys of a store, as Calico's clients write them (reference §2).

/// Where a store keeps an entry: the parts of its key below the store's prefix, each un-escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPath(Box<[Box<str>]>);

impl StoredPath {
    /// Of what stands behind the prefix: `v1/policy/tier/default/policy/a%2fb`.
    pub fn of(key: &str) -> Self {
        Self(key.split('/').map(|part| part.replace("%2f", "/").replace("%25", "%").into()).collect())
    }

    /// The parts, to be matched as a slice.
    pub fn parts(&self) -> Vec<&str> {
        self.0.iter().map(|part| &**part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_unescaped() {
        for (key, parts) in [
            ("v1/Ready", &["v1", "Ready"][..]),
            ("v1/policy/profile/ns%2fprof/rules", &["v1", "policy", "profile", "ns/prof", "rules"]),
            ("a/100%25/%252f", &["a", "100%", "%2f"]),
            ("a//b", &["a", "", "b"]),
            ("", &[""]),
        ] {
            assert_eq!(StoredPath::of(key).parts(), parts, "{key}");
        }
    }
}
