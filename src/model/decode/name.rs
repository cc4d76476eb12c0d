//! What names, labels and interfaces may look like (reference §1; felix-2.1 §1.1).

use std::sync::Arc;

use super::fields::{Form, Mistake};
use crate::datastore::Scalar;
use crate::model::diagnostic::Code;

/// A rule for names.
pub(in crate::model) struct Syntax {
    /// What is named, with its article.
    what: &'static str,
    /// The rule in words.
    rule: &'static str,
    valid: fn(&str) -> bool,
}

/// Felix 2.1's tags, nodes; also today's node references.
pub(super) const WORD: Syntax = Syntax {
    what: "a name",
    rule: "1 to 128 letters, digits, `_`, `.` or `-`",
    valid: |text| of_bytes(text, 128, word),
};

/// Felix 2.1's policies, profiles, endpoints.
pub(super) const NAMESPACED_WORD: Syntax = Syntax {
    what: "a name",
    rule: "1 to 128 letters, digits, `_`, `.`, `-` or `/`",
    valid: |text| of_bytes(text, 128, |byte| word(byte) || byte == b'/'),
};

pub(super) const PORT_NAME: Syntax = Syntax { what: "a port name", ..WORD };

/// DNS-1123 label: namespaces and tiers.
pub(in crate::model) const DNS_LABEL: Syntax = Syntax {
    what: "a name",
    rule: "at most 63 lower-case letters, digits or `-`, a letter or digit at both ends",
    valid: dns_label,
};

/// DNS-1123 subdomain: most names.
pub(in crate::model) const DNS_SUBDOMAIN: Syntax = Syntax {
    what: "a name",
    rule: "at most 253 lower-case letters, digits, `-` or `.`, a letter or digit at both ends of each part",
    valid: dns_subdomain,
};

pub(super) const GLOBAL_POLICY: Syntax = Syntax {
    what: "a policy name",
    rule: "`name` or `tier.name` of lower-case letters, digits and `-`",
    valid: policy,
};

pub(in crate::model) const NAMESPACED_POLICY: Syntax = Syntax {
    what: "a policy name",
    rule: "`name`, `tier.name` or `knp.default.…` of lower-case letters, digits and `-`",
    valid: |text| {
        let kubernetes = text.strip_prefix("knp.default.").or_else(|| text.strip_prefix("ossg.default."));
        policy(text) || kubernetes.is_some_and(dns_subdomain)
    },
};

const LABEL_KEY: Syntax = Syntax {
    what: "a label key",
    rule: "`name` or `domain/name`, the name of at most 63 letters, digits, `-`, `_` or `.`",
    valid: |text| match text.rsplit_once('/') {
        Some((domain, name)) => dns_subdomain(domain) && !name.is_empty() && label_value(name),
        None => !text.is_empty() && label_value(text),
    },
};

const V1_LABEL_KEY: Syntax = Syntax {
    what: "a label key",
    rule: "1 to 512 letters, digits, `_`, `.`, `-` or `/`",
    valid: |text| of_bytes(text, 512, |byte| word(byte) || byte == b'/'),
};

/// A label's value, of either form.
pub(super) const LABEL_VALUE: Syntax = Syntax {
    what: "a label value",
    rule: "at most 63 letters, digits, `-`, `_` or `.`, a letter or digit at both ends",
    valid: label_value,
};

const INTERFACE: Syntax = Syntax {
    what: "an interface name",
    rule: "1 to 15 letters, digits, `_`, `.` or `-`",
    valid: |text| of_bytes(text, 15, word),
};

const V1_INTERFACE: Syntax = Syntax {
    what: "an interface name",
    rule: "1 to 15 letters, digits, `_` or `-`",
    valid: |text| of_bytes(text, 15, |byte| word(byte) && byte != b'.'),
};

/// The name that `scalar` is.
pub(super) fn named(syntax: &Syntax) -> impl Fn(&Scalar) -> Result<Arc<str>, Mistake> {
    move |scalar| {
        check(syntax, &scalar.text)?;
        Ok(Arc::from(&*scalar.text))
    }
}

impl Syntax {
    /// Whether `text` is such a name.
    pub(in crate::model) fn allows(&self, text: &str) -> bool {
        (self.valid)(text)
    }

    /// What such a name may look like, in words.
    pub(in crate::model) fn rule(&self) -> &'static str {
        self.rule
    }
}

/// Whether `text` is such a name, and if not, why.
pub(super) fn check(syntax: &Syntax, text: &str) -> Result<(), Mistake> {
    if syntax.allows(text) {
        return Ok(());
    }
    Err(Mistake::new(Code::InvalidName, format!("`{text}` is not {}", syntax.what), syntax.rule))
}

pub(super) fn label_key(form: Form) -> &'static Syntax {
    match form {
        Form::V1 => &V1_LABEL_KEY,
        Form::V3 => &LABEL_KEY,
    }
}

pub(super) fn interface(form: Form) -> &'static Syntax {
    match form {
        Form::V1 => &V1_INTERFACE,
        Form::V3 => &INTERFACE,
    }
}

fn of_bytes(text: &str, longest: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(allowed)
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn dns_label(text: &str) -> bool {
    of_bytes(text, 63, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            of_bytes(part, 253, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

fn policy(text: &str) -> bool {
    match text.split_once('.') {
        Some((tier, name)) => dns_label(tier) && dns_label(name),
        None => dns_label(text),
    }
}

fn label_value(text: &str) -> bool {
    text.is_empty()
        || of_bytes(text, 63, word)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntaxes() {
        let long = "a".repeat(64);
        for (syntax, text, valid) in [
            (&NAMESPACED_WORD, ".My-valid-Profile_190", true),
            (&NAMESPACED_WORD, "ns/prof", true),
            (&NAMESPACED_WORD, "my!nvalid-Profile", false),
            (&WORD, "ns/prof", false),
            (&WORD, "", false),
            (&V1_LABEL_KEY, "k8s_ns/label-ro.le", true),
            (&V1_LABEL_KEY, "2rank", true),
            (&V1_LABEL_KEY, "rank!", false),
            (&V1_LABEL_KEY, "~rank", false),
            (&LABEL_KEY, "projectcalico.org/namespace", true),
            (&LABEL_KEY, "k8s_ns/label", false),
            (&LABEL_KEY, "a/", false),
            (&LABEL_KEY, "", false),
            (&LABEL_VALUE, "2gold", true),
            (&LABEL_VALUE, "", true),
            (&LABEL_VALUE, "~gold", false),
            (&LABEL_VALUE, "gold~", false),
            (&LABEL_VALUE, "gold-", false),
            (&LABEL_VALUE, &long, false),
            (&V1_INTERFACE, "ValidIntface0-9", true),
            (&V1_INTERFACE, "interfaceTooLong", false),
            (&V1_INTERFACE, "Invalid.Intface", false),
            (&INTERFACE, "eth0.100", true),
            (&INTERFACE, "eth0 -j ACCEPT", false),
            (&GLOBAL_POLICY, "web", true),
            (&GLOBAL_POLICY, "tier.web", true),
            (&GLOBAL_POLICY, "a.b.c", false),
            (&GLOBAL_POLICY, "Web", false),
            (&NAMESPACED_POLICY, "knp.default.a.b.c", true),
            (&NAMESPACED_POLICY, "a.b.c", false),
            (&DNS_SUBDOMAIN, "kns.default", true),
            (&DNS_SUBDOMAIN, "a..b", false),
            (&DNS_SUBDOMAIN, "-a", false),
            (&DNS_LABEL, &long, false),
        ] {
            assert_eq!(check(syntax, text).is_ok(), valid, "{} {text}", syntax.what);
        }
    }
}
