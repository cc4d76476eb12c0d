//! Names of chains and sets within the kernel's limits (reference §6.1, §7.2, §9).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::model::{IpVersion, PolicyId};
use crate::policy::{Direction, SetId};

/// Longest chain name in bytes: XT_EXTENSION_MAXNAMELEN less the terminator.
pub const MAX_CHAIN_NAME: usize = 28;

/// Longest set name in bytes: IPSET_MAXNAMELEN less the terminator.
pub const MAX_SET_NAME: usize = 31;

/// A chain's name: at most [`MAX_CHAIN_NAME`] bytes, beginning with `cali-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

/// A set's name: at most [`MAX_SET_NAME`] bytes, beginning with `cali40` or `cali60`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpSetName(Arc<str>);

/// Which one of two, while the one turns into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Old,
    New,
}

impl ChainName {
    /// A chain that every host has; `name` is one of reference §6.1.
    pub fn fixed(name: &'static str) -> Self {
        Self(name.into())
    }

    /// A policy's rules: `cali-pi-gnp/name`, `cali-po-np/namespace/name`.
    pub fn policy(direction: Direction, id: &PolicyId) -> Self {
        let prefix = match direction {
            Direction::Ingress => "cali-pi-",
            Direction::Egress => "cali-po-",
        };
        Self::limited(prefix, &format!("{}/{}", id.kind.short(), id.qualified_name()))
    }

    /// A profile's rules: `cali-pri-name`, `cali-pro-name`.
    pub fn profile(direction: Direction, name: &str) -> Self {
        let prefix = match direction {
            Direction::Ingress => "cali-pri-",
            Direction::Egress => "cali-pro-",
        };
        Self::limited(prefix, name)
    }

    /// Several policies that are tried in turn; `uid` is their group's.
    pub fn group(direction: Direction, uid: &str) -> Self {
        let prefix = match direction {
            Direction::Ingress => "cali-gi-",
            Direction::Egress => "cali-go-",
        };
        Self::limited(prefix, uid)
    }

    /// Packets to the workload behind `interface`.
    pub fn to_workload(interface: &str) -> Self {
        Self::limited("cali-tw-", interface)
    }

    /// Packets from the workload behind `interface`.
    pub fn from_workload(interface: &str) -> Self {
        Self::limited("cali-fw-", interface)
    }

    /// The part of the dispatch chain `root` for interfaces whose names go on with `next`.
    pub fn dispatch_child(root: &Self, next: char) -> Self {
        Self::limited(&format!("{root}-"), next.encode_utf8(&mut [0; 4]))
    }

    /// A chain for packets to a workload: [`ChainName::to_workload`].
    pub fn is_to_workload(&self) -> bool {
        self.0.starts_with("cali-tw-")
    }

    /// What an endpoint's chain `of` was, or will be, while it turns.
    pub fn turning(of: &Self, age: Age) -> Self {
        let prefix = match age {
            Age::Old => "cali-old-",
            Age::New => "cali-new-",
        };
        Self::limited(prefix, of.as_str().strip_prefix("cali-").unwrap_or(of.as_str()))
    }

    /// One that a kernel has; None where we give no such names.
    pub fn found(name: &str) -> Option<Self> {
        (name.starts_with("cali-") && name.len() <= MAX_CHAIN_NAME).then(|| Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn limited(prefix: &str, suffix: &str) -> Self {
        Self(length_limited_id(prefix, suffix, MAX_CHAIN_NAME).into())
    }
}

impl IpSetName {
    /// The family's name of the set `id`; an id (they are ASCII) that is too long is cut: enough of its hash is left.
    pub fn new(version: IpVersion, id: &SetId) -> Self {
        let family = match version {
            IpVersion::V4 => "cali40",
            IpVersion::V6 => "cali60",
        };
        let id = &*id.0;
        let cut = id.get(..MAX_SET_NAME - family.len()).unwrap_or(id);
        Self([family, cut].concat().into())
    }

    /// What is behind the family: the set's id, as far as there was room for it.
    pub fn id(&self) -> &str {
        self.0.strip_prefix("cali40").or_else(|| self.0.strip_prefix("cali60")).unwrap_or(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for IpSetName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for IpSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `prefix` and `suffix` where they fit in `max` bytes, else `prefix`, `_` and as much of the suffix's hash as fits,
/// at least one character: only where `max` has no room for that is the result longer.
///
/// A suffix that begins with `_` and fits exactly is hashed too: it could be another's hash.
pub fn length_limited_id(prefix: &str, suffix: &str, max: usize) -> String {
    let suffix = if suffix.is_empty() { "_" } else { suffix };
    let length = prefix.len() + suffix.len();
    if length < max || (length == max && !suffix.starts_with('_')) {
        return [prefix, suffix].concat();
    }
    let room = max.saturating_sub(prefix.len() + 1).max(1);
    let mut id = [prefix, "_"].concat();
    id.extend(URL_SAFE_NO_PAD.encode(Sha256::digest(suffix)).chars().take(room));
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PolicyKind;

    #[test]
    fn ids_are_limited() {
        for (prefix, suffix, max, expected) in [
            ("felix", "1234", 10, "felix1234"),
            ("felix", "123456", 11, "felix123456"),
            ("felix", "_2345", 10, "felix_kMQI"),
            ("felix", "12345678910", 13, "felix_Y2QCZIS"),
            ("felix", "", 10, "felix_"),
            // No room: one character of hash all the same.
            ("felix", "toolong", 6, "felix_5"),
            ("cali-pi-", "np/namespace1/allow-tcp-80", 28, "cali-pi-_uDNuf6YEJkCbVAU6LRq"),
            ("cali-pri-", "projectcalico-default-allow", 28, "cali-pri-_TI1Jm4dJqQzYb0Rx3u"),
            ("cali-pi-", "gnp/0123456789abcdef", 28, "cali-pi-gnp/0123456789abcdef"),
            ("cali-pi-", "gnp/0123456789abcdefg", 28, "cali-pi-_INzVprwJW7pxYlJWnxf"),
            ("cali-thfw-", "any-interface-at-all", 28, "cali-thfw-_Nqh4HyA73udmyanQI"),
            ("cali-th-", "any-interface-at-all", 28, "cali-th-any-interface-at-all"),
        ] {
            assert_eq!(length_limited_id(prefix, suffix, max), expected, "{prefix} {suffix} {max}");
        }
    }

    #[test]
    fn chains_are_named_after_what_they_hold() {
        use Direction::{Egress, Ingress};
        let id = |kind, namespace: &str, name: &str| PolicyId {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        };
        let dns = id(PolicyKind::GlobalNetworkPolicy, "", "allow-dns");
        let tcp = id(PolicyKind::NetworkPolicy, "namespace1", "allow-tcp-80");
        let long = id(PolicyKind::GlobalNetworkPolicy, "", "long-policy-name-that-gets-hashed");
        let root = ChainName::fixed("cali-from-wl-dispatch");
        for (name, expected) in [
            (ChainName::policy(Ingress, &dns), "cali-pi-gnp/allow-dns"),
            (ChainName::policy(Egress, &dns), "cali-po-gnp/allow-dns"),
            (ChainName::policy(Ingress, &tcp), "cali-pi-_uDNuf6YEJkCbVAU6LRq"),
            (ChainName::policy(Ingress, &long), "cali-pi-_PymyFHQQg3808jiz1OJ"),
            (ChainName::policy(Egress, &long), "cali-po-_PymyFHQQg3808jiz1OJ"),
            (
                ChainName::profile(Ingress, "long-policy-name-that-gets-hashed"),
                "cali-pri-_ffOMcf6pikpiZ6hgKc",
            ),
            (ChainName::profile(Egress, "long-policy-name-that-gets-hashed"), "cali-pro-_ffOMcf6pikpiZ6hgKc"),
            (ChainName::group(Ingress, "js-B7zioflPRrAki3OCu"), "cali-gi-js-B7zioflPRrAki3OCu"),
            (ChainName::group(Egress, "js-B7zioflPRrAki3OCu"), "cali-go-js-B7zioflPRrAki3OCu"),
            (ChainName::to_workload("cali1234"), "cali-tw-cali1234"),
            (ChainName::from_workload("cali1234"), "cali-fw-cali1234"),
            (ChainName::dispatch_child(&root, '2'), "cali-from-wl-dispatch-2"),
            (ChainName::dispatch_child(&root, '_'), "cali-from-wl-dispatch-_"),
        ] {
            assert_eq!(name.as_str(), expected);
        }
    }

    #[test]
    fn set_names_are_cut() {
        for (version, id, expected) in [
            (IpVersion::V4, "s:qMt7iLlGDhvLnCjM0l9nzxbA_rest", "cali40s:qMt7iLlGDhvLnCjM0l9nzxb"),
            (IpVersion::V6, "s:qMt7iLlGDhvLnCjM0l9nzxbA_rest", "cali60s:qMt7iLlGDhvLnCjM0l9nzxb"),
            (IpVersion::V4, "all-hosts-net", "cali40all-hosts-net"),
        ] {
            assert_eq!(IpSetName::new(version, &SetId(id.into())).as_str(), expected);
        }
    }
}
