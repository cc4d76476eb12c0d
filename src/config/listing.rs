//! The table of parameters as people read it.

use super::clients::variables;
use super::parameter::{Parameter, Scope};
use super::parameters::PARAMETERS;
use super::sources::{Chosen, Resolved};

/// What is in force and who says so: of every parameter that this version uses, and of those that somebody set in vain.
pub fn in_force(resolved: &Resolved) -> String {
    rows(resolved).filter_map(|(parameter, chosen)| line(parameter, chosen)).collect()
}

/// Every parameter: what it is for, what it takes, who may set it, and what it is here where somebody did.
pub fn explanation(resolved: &Resolved) -> String {
    rows(resolved).map(|(parameter, chosen)| explained(parameter, chosen)).collect()
}

/// The parameters that this version uses, as a table in Markdown.
pub fn markdown() -> String {
    let head = "\n| parameter | takes | default | meaning |\n| --- | --- | --- | --- |\n";
    let cell = |text: &str| text.replace('|', "\\|");
    let row = |parameter: &Parameter| {
        let Parameter { name, kind, default, doc, .. } = parameter;
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        format!("| `{name}` | {} | {} | {} |\n", cell(&kind.to_string()), cell(&default), cell(doc))
    };
    let rows: String = PARAMETERS.iter().filter(|parameter| parameter.is_honoured()).map(row).collect();
    format!("{head}{rows}\n")
}

fn rows(resolved: &Resolved) -> impl Iterator<Item = (&'static Parameter, &Chosen)> {
    let chosen = |parameter: &'static Parameter| Some((parameter, resolved.value(parameter.name)?));
    PARAMETERS.iter().filter_map(chosen)
}

/// None where the parameter is not used and nobody set it.
fn line(parameter: &Parameter, Chosen { name, value, origin }: &Chosen) -> Option<String> {
    let value = if value.is_empty() { "unset" } else { value };
    match (origin, parameter.is_honoured()) {
        (Some(origin), true) => Some(format!("{name} = {value} ({origin})\n")),
        (Some(origin), false) => Some(format!("{name} = {value} ({origin}; not used by this version)\n")),
        (None, true) => Some(format!("{name} = {value} (default)\n")),
        (None, false) => None,
    }
}

fn explained(parameter: &Parameter, Chosen { name, value, origin }: &Chosen) -> String {
    let Parameter { kind, default, doc, field, scope, .. } = parameter;
    let or_unset = |text: &str| if text.is_empty() { "unset" } else { text }.to_owned();
    let stored = match (scope, field) {
        (Scope::Local, _) => "not from the datastore".to_owned(),
        (Scope::Anywhere, Some(field)) => format!("`{field}` of FelixConfiguration"),
        (Scope::Anywhere, None) => "no field of FelixConfiguration".to_owned(),
    };
    let mut text = format!(
        "{name}\n    {doc}\n    Takes {kind}; by default {}.\n    {}; {stored}.\n",
        or_unset(default),
        variables(name)
    );
    if !parameter.is_honoured() {
        text.push_str("    Known, not used by this version.\n");
    }
    if let Some(origin) = origin {
        text.push_str(&format!("    Here {}, as {origin} says.\n", or_unset(value)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Setting, Source, SourceKind};
    use super::*;

    fn resolved() -> Resolved {
        let settings = [
            ("chaininsertmode", "APPEND"),
            ("IPv6ElevatedRoutePriority", "1"),
            ("EtcdPassword", "hunter2"),
            ("LogSeverityScreen", "none"),
        ];
        let settings = settings.map(|(name, value)| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            origin: "felix.cfg:1".to_owned(),
        });
        let source =
            Source { kind: SourceKind::File, name: "felix.cfg".to_owned(), settings: settings.to_vec() };
        Config::resolve(&[source])
    }

    #[test]
    fn what_is_in_force() {
        let listing = in_force(&resolved());
        for line in [
            "ChainInsertMode = append (felix.cfg:1)",
            "IPv6ElevatedRoutePriority = 1 (felix.cfg:1; not used by this version)",
            "EtcdPassword = (set) (felix.cfg:1)",
            "LogSeverityScreen = unset (felix.cfg:1)",
            "EtcdCaFile = unset (default)",
            "LogPrefix = calico-packet (default)",
        ] {
            assert!(listing.lines().any(|found| found == line), "{line}\n{listing}");
        }
        assert!(!listing.contains("hunter2") && !listing.contains("IPv4ElevatedRoutePriority"), "{listing}");
    }

    #[test]
    fn what_each_is() {
        let explanation = explanation(&resolved());
        for text in [
            "ChainInsertMode\n    \
             Our rules in the kernel's chains stand before those of others, or behind.\n    \
             Takes insert or append; by default insert.\n    \
             FELIX_CHAININSERTMODE; `chainInsertMode` of FelixConfiguration.\n    \
             Here append, as felix.cfg:1 says.\n",
            "EtcdCaFile\n    \
             The authority that must have signed etcd's certificate, in PEM.\n    \
             Takes any text; by default unset.\n    \
             FELIX_ETCDCAFILE or ETCD_CA_CERT_FILE; not from the datastore.\n",
            "IPv4ElevatedRoutePriority\n    \
             Metric of IPv4 routes that must win.\n    \
             Takes a whole number from 1 to 2147483646; by default 512.\n    \
             FELIX_IPV4ELEVATEDROUTEPRIORITY; `ipv4ElevatedRoutePriority` of FelixConfiguration.\n    \
             Known, not used by this version.\n",
        ] {
            assert!(explanation.contains(text), "{text}\n{explanation}");
        }
        assert!(!explanation.contains("hunter2"), "{explanation}");
    }

    #[test]
    fn the_table_has_what_is_used() {
        let table = markdown();
        let rows = [("ChainInsertMode", true), ("EtcdPassword", true), ("IPv4ElevatedRoutePriority", false)];
        for (name, expected) in rows {
            assert_eq!(table.contains(&format!("| `{name}` |")), expected, "{name}");
        }
    }
}
