//! What is known of one parameter.

use super::draft::Draft;
use super::kind::Kind;
use super::nearest::nearest;
use super::parameters::PARAMETERS;
use super::value::Refusal;

/// A row of the table of parameters.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Felix's name; names are compared without case. The environment variable is `FELIX_` and this.
    pub name: &'static str,
    pub kind: Kind,
    /// In canonical form; no text where it is unset by default.
    pub default: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// The FelixConfiguration field, where the datastore can say it.
    pub field: Option<&'static str>,
    pub scope: Scope,
    /// How it takes effect; None where this version reads and checks it only.
    pub(super) setter: Option<Setter>,
    none: NoneMeans,
}

/// Which sources may set a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Anywhere,
    /// Not the datastore.
    Local,
}

/// Puts a canonical text, or no text for "unset", where the parameter takes effect.
pub(super) type Setter = fn(&mut Draft, &str) -> Result<(), Refusal>;

/// What the value `none` does.
#[derive(Clone, Copy, Debug)]
enum NoneMeans {
    /// The type's zero, where it has one.
    Zero,
    Word(&'static str),
    /// Nothing: it is a text like others.
    Itself,
    Refused,
}

/// A row with what most rows have; the methods say what is special.
pub(super) const fn row(name: &'static str, kind: Kind, default: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        default,
        doc: "",
        field: None,
        scope: Scope::Anywhere,
        setter: None,
        none: NoneMeans::Zero,
    }
}

impl Parameter {
    /// The parameter called so, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        PARAMETERS.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }

    /// Whether this version does what it says.
    pub fn is_honoured(&self) -> bool {
        self.setter.is_some()
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// Whether it says which datastore is read and how: wrong, it must stop who would read another one, or less safely.
    pub(super) fn finds_datastore(&self) -> bool {
        self.name == "DatastoreType" || self.name.starts_with("Etcd")
    }

    /// The name that `name` most likely was meant to be.
    pub fn nearest(name: &str) -> Option<&'static str> {
        nearest(name, PARAMETERS.iter().map(|parameter| parameter.name))
    }

    /// The canonical spelling of `text`, so that equal values have equal texts; no text for "unset".
    pub fn canonical(&self, text: &str) -> Result<String, Refusal> {
        if !text.trim().eq_ignore_ascii_case("none") {
            return self.kind.canonical(text);
        }
        let zero = match self.none {
            NoneMeans::Zero => self.kind.zero(),
            NoneMeans::Word(word) => Some(word),
            NoneMeans::Itself => return self.kind.canonical(text),
            NoneMeans::Refused => None,
        };
        zero.map(str::to_owned).ok_or(Refusal::None)
    }

    pub(super) const fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    pub(super) const fn local(mut self) -> Self {
        self.scope = Scope::Local;
        self
    }

    pub(super) const fn sets(mut self, setter: Setter) -> Self {
        self.setter = Some(setter);
        self
    }

    /// `none` is refused although the type has a zero.
    pub(super) const fn required(mut self) -> Self {
        self.none = NoneMeans::Refused;
        self
    }

    /// `none` is a value like others.
    pub(super) const fn literal(mut self) -> Self {
        self.none = NoneMeans::Itself;
        self
    }

    /// `none` means this although the type has no zero, or another.
    pub(super) const fn none(mut self, word: &'static str) -> Self {
        self.none = NoneMeans::Word(word);
        self
    }
}

/// The feature that a parameter or field is for, if it is one that this program leaves out as a whole.
pub fn left_out(name: &str) -> Option<&'static str> {
    const FEATURES: [(&str, &str); 6] = [
        ("bpf", "eBPF dataplane"),
        ("dscp", "DSCP"),
        ("flowlogs", "flow log"),
        ("istio", "Istio"),
        ("nftables", "native nftables"),
        ("wireguard", "WireGuard"),
    ];
    let name = name.to_ascii_lowercase();
    FEATURES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, feature)| *feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_left_out() {
        assert_eq!(left_out("BPFEnabled"), Some("eBPF dataplane"));
        assert_eq!(left_out("wireguardMTU"), Some("WireGuard"));
        assert_eq!(left_out("LogPrefix"), None);
    }
}
