//! Which source says what, and who wins (reference §11.1).

use super::draft::Draft;
use super::parameter::{Parameter, Scope, left_out};
use super::parameters::PARAMETERS;
use super::problem::{ConfigProblem, ProblemKind, Severity};
use super::setting::{HIDDEN, Setting, settings};
use super::value::Refusal;
use super::{Config, EtcdAccess, EtcdFault};

/// Where settings come from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// The command line.
    Flag,
    Environment,
    /// The environment as Calico's other clients read it: `ETCD_ENDPOINTS` and its like.
    Client,
    /// `felix.cfg`
    File,
    /// The datastore, for this host: `node.<name>` and the Node itself.
    Host,
    /// The datastore, for hosts that a selector selects.
    Selector,
    /// The datastore, for all hosts.
    Global,
}

/// Settings of one origin. Of two for the same parameter, the later wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub kind: SourceKind,
    /// For people: `--set`, `environment`, the file's name, `FelixConfiguration default`.
    pub name: String,
    pub settings: Vec<Setting>,
}

/// All sources put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub config: Config,
    /// How etcd is reached, or the first thing that is wrong with how that was said: whoever goes on without it goes
    /// elsewhere than was meant, or less safely.
    pub etcd: Result<EtcdAccess, Box<ConfigProblem>>,
    /// One for each row of the table, in its order.
    pub values: Vec<Chosen>,
    /// Those of names first, strongest source first; then those of values, in the table's order.
    pub problems: Vec<ConfigProblem>,
}

/// What a parameter is set to, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// As the table spells it.
    pub name: &'static str,
    /// In canonical form; no text for "unset". Of a secret, only that it is set.
    pub value: String,
    /// None: by default.
    pub origin: Option<String>,
}

impl Source {
    /// The command line's `Name=value`, and those that are not of this form, or secret.
    pub fn flags<'a>(texts: impl IntoIterator<Item = &'a str>) -> (Self, Vec<ConfigProblem>) {
        const NAME: &str = "--set";
        let (settings, mut problems) = settings(texts.into_iter().map(|text| (text, NAME.to_owned())));
        problems.extend(settings.iter().filter_map(exposed));
        (Self { kind: SourceKind::Flag, name: NAME.to_owned(), settings }, problems)
    }

    /// The variables whose names begin with `FELIX_`, in any case.
    pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings: Vec<_> = variables
            .into_iter()
            .filter_map(|(variable, value)| {
                let (prefix, name) = variable.split_at_checked("felix_".len())?;
                let ours = prefix.eq_ignore_ascii_case("felix_") && !name.is_empty();
                ours.then(|| Setting { name: name.to_owned(), value, origin: variable.clone() })
            })
            .collect();
        // The system's order is arbitrary, and one name may be there in two cases.
        settings.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { kind: SourceKind::Environment, name: "environment".to_owned(), settings }
    }
}

impl Source {
    /// Whether it says that etcd is to be read, or where it is, rightly or not.
    pub fn names_etcd(&self) -> bool {
        const NAMING: [&str; 4] = ["DatastoreType", "EtcdAddr", "EtcdDiscoverySrv", "EtcdEndpoints"];
        self.settings
            .iter()
            .filter_map(|setting| claim(self.kind, setting))
            .any(|claim| NAMING.contains(&claim.parameter.name))
    }
}

impl Config {
    /// Puts sources together. For each parameter the strongest setting holds; within a kind, the later.
    /// Where that setting is wrong, the default holds, not a weaker source.
    pub fn resolve(sources: &[Source]) -> Resolved {
        let mut problems = Vec::new();
        let claims = claims(sources, &mut problems);
        let mut draft = Draft::default();
        let values: Vec<_> = PARAMETERS
            .iter()
            .map(|parameter| settle(parameter, &claims, &mut draft, &mut problems))
            .collect();
        let (config, etcd) = draft.finish();
        let etcd = match problems.iter().find(|problem| hides_datastore(problem)) {
            Some(problem) => Err(Box::new(problem.clone())),
            None => etcd.map_err(|fault| Box::new(of_etcd(fault, &values))),
        };
        Resolved { config, etcd, values, problems }
    }
}

impl Resolved {
    /// What the parameter of this name (in any case) is set to.
    pub fn value(&self, name: &str) -> Option<&Chosen> {
        self.values.iter().find(|chosen| chosen.name.eq_ignore_ascii_case(name))
    }
}

/// A setting that takes part in the choice.
struct Claim<'a> {
    parameter: &'static Parameter,
    setting: &'a Setting,
}

/// What takes part, strongest first; the rest is a problem.
fn claims<'a>(sources: &'a [Source], problems: &mut Vec<ConfigProblem>) -> Vec<Claim<'a>> {
    let mut claims = Vec::new();
    for source in strongest_first(sources) {
        problems.extend(source.settings.iter().filter_map(|setting| notice(source.kind, setting)));
        let latest_first = source.settings.iter().rev();
        claims.extend(latest_first.filter_map(|setting| claim(source.kind, setting)));
    }
    claims
}

fn strongest_first(sources: &[Source]) -> Vec<&Source> {
    let mut ordered: Vec<_> = sources.iter().rev().collect();
    ordered.sort_by_key(|source| source.kind);
    ordered
}

/// None where nobody listens: an unknown name, no text, a local parameter in the datastore.
fn claim(kind: SourceKind, setting: &Setting) -> Option<Claim<'_>> {
    let parameter = Parameter::named(&setting.name).filter(|parameter| may_set(kind, parameter))?;
    (!setting.value.is_empty()).then_some(Claim { parameter, setting })
}

fn may_set(kind: SourceKind, parameter: &Parameter) -> bool {
    match (parameter.scope, kind) {
        (Scope::Anywhere, _) => true,
        (
            Scope::Local,
            SourceKind::Flag | SourceKind::Environment | SourceKind::Client | SourceKind::File,
        ) => true,
        (Scope::Local, SourceKind::Host | SourceKind::Selector | SourceKind::Global) => false,
    }
}

/// What is worth saying about a setting whatever its value.
fn notice(kind: SourceKind, setting: &Setting) -> Option<ConfigProblem> {
    let Some(parameter) = Parameter::named(&setting.name) else {
        return Some(unknown(kind, setting));
    };
    if setting.value.is_empty() {
        return None;
    }
    let problem = if !may_set(kind, parameter) {
        ProblemKind::LocalOnly
    } else if !parameter.is_honoured() && is_chosen(kind, parameter) {
        ProblemKind::Unused
    } else {
        return None;
    };
    Some(problem_with(setting, parameter.name, Severity::Note, problem))
}

/// Whether a person is likely to have set it: images set many variables, and other components write to the
/// datastore what no FelixConfiguration has.
fn is_chosen(kind: SourceKind, parameter: &Parameter) -> bool {
    match kind {
        SourceKind::Flag | SourceKind::File => true,
        SourceKind::Environment | SourceKind::Client => false,
        SourceKind::Host | SourceKind::Selector | SourceKind::Global => parameter.field.is_some(),
    }
}

fn unknown(kind: SourceKind, setting: &Setting) -> ConfigProblem {
    let problem = match left_out(&setting.name) {
        Some(feature) => ProblemKind::LeftOut { feature },
        None => ProblemKind::UnknownName { nearest: Parameter::nearest(&setting.name) },
    };
    // Elsewhere it may be meant for another version of Felix.
    let severity = if kind == SourceKind::Flag { Severity::Error } else { Severity::Note };
    problem_with(setting, &setting.name, severity, problem)
}

/// Takes the strongest claim, or the default; the weaker ones are checked all the same.
fn settle(
    parameter: &'static Parameter,
    claims: &[Claim<'_>],
    draft: &mut Draft,
    problems: &mut Vec<ConfigProblem>,
) -> Chosen {
    let mut settings =
        claims.iter().filter(|claim| claim.parameter.name == parameter.name).map(|claim| claim.setting);
    let shown = |value: String| {
        if parameter.is_secret() && !value.is_empty() { HIDDEN.to_owned() } else { value }
    };
    let strongest = settings.next().and_then(|setting| match take(parameter, &setting.value, draft) {
        Ok(value) => Some((shown(value), setting.origin.clone())),
        Err(refusal) => {
            problems.push(invalid(parameter, setting, refusal, Some(parameter.default)));
            None
        }
    });
    problems.extend(settings.filter_map(|setting| {
        let refusal = parameter.canonical(&setting.value).err()?;
        Some(invalid(parameter, setting, refusal, None))
    }));
    match strongest {
        Some((value, origin)) => Chosen { name: parameter.name, value, origin: Some(origin) },
        // The draft began with it.
        None => Chosen { name: parameter.name, value: parameter.default.to_owned(), origin: None },
    }
}

/// Puts the text into the draft and gives its canonical form.
fn take(parameter: &Parameter, text: &str, draft: &mut Draft) -> Result<String, Refusal> {
    let value = parameter.canonical(text)?;
    if let Some(set) = parameter.setter {
        set(draft, &value)?;
    }
    Ok(value)
}

fn invalid(
    parameter: &Parameter,
    setting: &Setting,
    refusal: Refusal,
    default: Option<&'static str>,
) -> ConfigProblem {
    let part = match refusal {
        Refusal::None => None,
        Refusal::Part(part) => Some(part).filter(|_| !setting.is_hidden()),
    };
    let severity = if default.is_some() { Severity::Error } else { Severity::Warning };
    let kind = ProblemKind::InvalidValue { allowed: parameter.kind.to_string(), part, default };
    problem_with(setting, parameter.name, severity, kind)
}

fn problem_with(setting: &Setting, name: &str, severity: Severity, kind: ProblemKind) -> ConfigProblem {
    ConfigProblem {
        severity,
        kind,
        name: name.to_owned(),
        value: setting.shown().to_owned(),
        origin: setting.origin.clone(),
    }
}

/// Arguments are there for all to read.
fn exposed(setting: &Setting) -> Option<ConfigProblem> {
    let parameter = Parameter::named(&setting.name).filter(|parameter| parameter.is_secret())?;
    Some(problem_with(setting, parameter.name, Severity::Error, ProblemKind::Exposed))
}

/// Whether it leaves unsaid, or says wrongly, where the datastore is.
fn hides_datastore(problem: &ConfigProblem) -> bool {
    problem.severity == Severity::Error
        && Parameter::named(&problem.name).is_some_and(Parameter::finds_datastore)
}

/// Told at the setting that it is about.
fn of_etcd(fault: EtcdFault, values: &[Chosen]) -> ConfigProblem {
    let name = fault.parameter();
    let chosen = values.iter().find(|chosen| chosen.name == name);
    let origin = chosen.and_then(|chosen| chosen.origin.clone()).unwrap_or_else(|| "default".to_owned());
    ConfigProblem {
        severity: Severity::Error,
        kind: ProblemKind::Etcd(fault),
        name: name.to_owned(),
        value: String::new(),
        origin,
    }
}

#[cfg(test)]
mod tests {
    use super::super::InsertMode;
    use super::*;
    use SourceKind::{Client, Environment, File, Flag, Global, Host, Selector};

    fn source(kind: SourceKind, settings: &[(&str, &str)]) -> Source {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            origin: format!("{kind:?}"),
        };
        Source { kind, name: format!("{kind:?}"), settings: settings.iter().map(setting).collect() }
    }

    /// Value and origin of one parameter.
    fn chosen(sources: &[Source], name: &str) -> (String, Option<String>) {
        let resolved = Config::resolve(sources);
        let chosen = resolved.value(name).unwrap();
        (chosen.value.clone(), chosen.origin.clone())
    }

    #[test]
    fn nothing_said_is_the_default() {
        let resolved = Config::resolve(&[]);
        assert_eq!(resolved.config, Config::default());
        assert_eq!(resolved.problems, []);
        assert_eq!(resolved.values.len(), PARAMETERS.len());
        assert!(resolved.values.iter().all(|chosen| chosen.origin.is_none()));
    }

    #[test]
    fn the_strongest_source_wins_in_any_order() {
        let mut sources: Vec<_> = [Flag, Environment, Client, File, Host, Selector, Global]
            .map(|kind| source(kind, &[("LogPrefix", &format!("{kind:?}"))]))
            .to_vec();
        while let Some(strongest) = sources.first() {
            let expected = (strongest.name.clone(), Some(strongest.name.clone()));
            assert_eq!(chosen(&sources, "LogPrefix"), expected);
            let reversed: Vec<_> = sources.iter().rev().cloned().collect();
            assert_eq!(chosen(&reversed, "logprefix"), expected);
            sources.remove(0);
        }
    }

    #[test]
    fn what_wins() {
        let rows: &[(&str, &[Source], &str, Option<&str>)] = &[
            (
                "whatever the case of the names",
                &[source(Global, &[("LogPrefix", "a")]), source(Environment, &[("LOGPREFIX", "b")])],
                "b",
                Some("Environment"),
            ),
            (
                "the later of two",
                &[source(File, &[("LogPrefix", "a"), ("logprefix", "b")])],
                "b",
                Some("File"),
            ),
            (
                "the later of two sources of a kind",
                &[source(Global, &[("LogPrefix", "a")]), source(Global, &[("LogPrefix", "b")])],
                "b",
                Some("Global"),
            ),
            (
                "an empty text says nothing",
                &[source(Environment, &[("LogPrefix", "")]), source(Global, &[("LogPrefix", "a")])],
                "a",
                Some("Global"),
            ),
            (
                "none is a value",
                &[source(Environment, &[("LogPrefix", "NONE")]), source(Global, &[("LogPrefix", "a")])],
                "",
                Some("Environment"),
            ),
        ];
        for (case, sources, value, origin) in rows {
            assert_eq!(
                chosen(sources, "LogPrefix"),
                ((*value).to_owned(), origin.map(str::to_owned)),
                "{case}"
            );
        }
    }

    #[test]
    fn values() {
        let rows = [
            ("ChainInsertMode", "Append", Some("append")),
            ("IptablesBackend", "Auto", Some("auto")),
            ("IptablesPostWriteCheckIntervalSecs", "1.5", Some("1.5")),
            ("IptablesLockProbeIntervalMillis", "garbage", None),
            ("FailsafeInboundHostPorts", "1,udp:2", Some("tcp:1,udp:2")),
            ("FailsafeInboundHostPorts", "tcp:[::/0]:1", Some("tcp:[::/0]:1")),
            ("FailsafeInboundHostPorts", "none", Some("")),
            ("FailsafeInboundHostPorts", "", None),
            ("FailsafeInboundHostPorts", "foo:1", None),
            ("FailsafeInboundHostPorts", "tcp:10.0.0.0/8:1:2", None),
            (
                "EtcdEndpoints",
                "http://127.0.0.1:1234, http://host:2345",
                Some("http://127.0.0.1:1234/,http://host:2345/"),
            ),
            ("IptablesNATOutgoingInterfaceFilter", "cali@123", None),
            ("HealthTimeoutOverrides", "a=90s, b=10ms", Some("a=90s,b=10ms")),
            ("HealthTimeoutOverrides", "foo=bar", None),
            ("InterfaceExclude", "kube-ipvs0,dummy,/^veth.*$/", Some("kube-ipvs0,dummy,/^veth.*$/")),
            ("InterfaceExclude", "//", None),
            ("IptablesMarkMask", "0x1f", None),
            ("IptablesMarkMask", "none", None),
            ("MaxIpsetSize", "none", None),
            ("LogSeverityScreen", "Info", Some("INFO")),
            ("IpInIpEnabled", "none", Some("")),
        ];
        for (name, text, expected) in rows {
            let resolved = Config::resolve(&[source(Environment, &[(name, text)])]);
            let default = Parameter::named(name).unwrap().default;
            let value = resolved.value(name).map(|chosen| chosen.value.as_str());
            assert_eq!(value, Some(expected.unwrap_or(default)), "{name}={text}");
            let wrong = expected.is_none() && !text.is_empty();
            assert_eq!(resolved.problems.len(), usize::from(wrong), "{name}={text}");
        }
    }

    #[test]
    fn a_value_reaches_the_config() {
        let sources = [source(
            File,
            &[("ChainInsertMode", "APPEND"), ("NATPortRange", "1024:2047"), ("ClusterType", "k8s,openstack")],
        )];
        let config = Config::resolve(&sources).config;
        assert_eq!(config.chain_insert_mode, InsertMode::Append);
        assert_eq!(config.nat_port_range, Some((1024, 2047)));
        assert_eq!(
            config.openstack.and_then(|openstack| openstack.metadata),
            Some(([127, 0, 0, 1].into(), 8775))
        );
    }

    #[test]
    fn problems() {
        let rows: &[(Source, &str, Severity, Option<&str>)] = &[
            (
                source(File, &[("chaininsertmode", "before")]),
                "invalid value `before` for ChainInsertMode; the default `insert` is used",
                Severity::Error,
                Some("ChainInsertMode takes insert or append"),
            ),
            (
                source(Global, &[("ExternalNodesCIDRList", "10.0.0.0/8,x")]),
                "invalid value `10.0.0.0/8,x` for ExternalNodesCIDRList: `x` is not understood; it stays unset",
                Severity::Error,
                Some("ExternalNodesCIDRList takes a list of CIDRs"),
            ),
            (
                source(Flag, &[("LogPrefx", "a")]),
                "unknown parameter `LogPrefx`",
                Severity::Error,
                Some("did you mean `LogPrefix`?"),
            ),
            (source(Environment, &[("Foo", "a")]), "unknown parameter `Foo`", Severity::Note, None),
            (
                source(Environment, &[("BPFEnabled", "false")]),
                "BPFEnabled is ignored: there is no eBPF dataplane here",
                Severity::Note,
                None,
            ),
            (
                source(Global, &[("felixhostname", "a")]),
                "FelixHostname is ignored in the datastore: it is local to a host",
                Severity::Note,
                Some("set it in the environment, in the configuration file or with --set"),
            ),
            (
                source(File, &[("RequireMTUFile", "true")]),
                "RequireMTUFile is known but not used by this version",
                Severity::Note,
                None,
            ),
            (
                source(Global, &[("RequireMTUFile", "true")]),
                "RequireMTUFile is known but not used by this version",
                Severity::Note,
                None,
            ),
        ];
        for (source, message, severity, help) in rows {
            let problems = Config::resolve(std::slice::from_ref(source)).problems;
            let [problem] = problems.as_slice() else { panic!("{message}: {problems:?}") };
            assert_eq!(problem.to_string(), *message);
            assert_eq!((problem.severity, problem.help().as_deref()), (*severity, *help), "{message}");
            assert_eq!(problem.origin, source.name, "{message}");
        }
    }

    #[test]
    fn what_nobody_chose_is_not_noticed() {
        let sources = [
            source(Environment, &[("HealthEnabled", "true")]),
            source(Host, &[("IpInIpTunnelAddr", "10.0.0.1")]),
            source(Global, &[("ClusterGUID", "a"), ("CalicoVersion", "v3"), ("HealthHost", "")]),
        ];
        assert_eq!(Config::resolve(&sources).problems, []);
    }

    #[test]
    fn a_local_parameter_is_not_taken_from_the_datastore() {
        for (kind, taken) in [
            (Flag, true),
            (Environment, true),
            (Client, true),
            (File, true),
            (Host, false),
            (Selector, false),
            (Global, false),
        ] {
            let config = Config::resolve(&[source(kind, &[("FelixHostname", "Node1")])]).config;
            assert_eq!(config.hostname.as_deref(), taken.then_some("Node1"), "{kind:?}");
        }
    }

    #[test]
    fn a_wrong_value_does_not_let_a_weaker_one_through() {
        let wrong = ("VXLANPort", "x");
        let right = ("VXLANPort", "1");
        let severities = |sources: &[Source]| -> (u16, Vec<Severity>) {
            let Resolved { config, problems, .. } = Config::resolve(sources);
            (config.vxlan_port, problems.iter().map(|problem| problem.severity).collect())
        };
        let wrong_first = [source(Environment, &[wrong]), source(File, &[right])];
        assert_eq!(severities(&wrong_first), (4789, vec![Severity::Error]));
        let wrong_last = [source(Environment, &[right]), source(File, &[wrong])];
        assert_eq!(severities(&wrong_last), (1, vec![Severity::Warning]));
    }

    #[test]
    fn environment() {
        let variables =
            [("felix_b", "3"), ("FELIX_LogPrefix", "a=b"), ("FELIX_", "x"), ("PATH", "/"), ("Felix_B", "2")];
        let source = Source::environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let settings: Vec<_> =
            source.settings.iter().map(|s| (s.name.as_str(), s.value.as_str(), s.origin.as_str())).collect();
        assert_eq!(
            settings,
            [("LogPrefix", "a=b", "FELIX_LogPrefix"), ("B", "2", "Felix_B"), ("b", "3", "felix_b")]
        );
    }

    #[test]
    fn flags() {
        let (source, problems) = Source::flags(["LogPrefix=a=b", " LogPrefix = c ", "LogPrefix", "=x"]);
        let values: Vec<_> = source.settings.iter().map(|s| (s.name.as_str(), s.value.as_str())).collect();
        assert_eq!(values, [("LogPrefix", "a=b"), ("LogPrefix", "c")]);
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["`LogPrefix` is not a setting", "`=x` is not a setting"]);
    }

    #[test]
    fn how_etcd_is_reached() {
        let rows: &[(&[Source], Result<&str, &str>)] = &[
            (&[], Ok("http://127.0.0.1:2379")),
            (&[source(Client, &[("EtcdEndpoints", "http://a:1")])], Ok("http://a:1")),
            (
                &[
                    source(Client, &[("EtcdEndpoints", "http://a:1")]),
                    source(File, &[("EtcdEndpoints", "http://b:1")]),
                ],
                Ok("http://a:1"),
            ),
            (
                &[
                    source(Environment, &[("EtcdEndpoints", "http://b:1")]),
                    source(Client, &[("EtcdEndpoints", "http://a:1")]),
                ],
                Ok("http://b:1"),
            ),
            (
                &[source(Global, &[("EtcdEndpoints", "http://a:1"), ("EtcdPassword", "hunter2")])],
                Ok("http://127.0.0.1:2379"),
            ),
            (
                &[source(Client, &[("EtcdEndpoints", "ftp://a:1")])],
                Err("Client: invalid value `ftp://a:1` for EtcdEndpoints; it stays unset"),
            ),
            (
                &[source(Client, &[("EtcdEndpoints", "http://a:1,http://u:hunter2@b:1")])],
                Err("Client: invalid value `(set)` for EtcdEndpoints; it stays unset"),
            ),
            (
                &[source(Client, &[("DatastoreType", "etcdv2")])],
                Err("Client: invalid value `etcdv2` for DatastoreType; the default `etcdv3` is used"),
            ),
            (
                &[source(File, &[("EtcdPrefix", "calico")])],
                Err("File: invalid value `calico` for EtcdPrefix; the default `/calico` is used"),
            ),
            (
                &[source(Client, &[("EtcdEndpoints", "https://a:1")])],
                Err("Client: https://a:1: nobody says which authority signs the server's certificate"),
            ),
            (
                &[source(File, &[("EtcdCertFile", "a")]), source(Client, &[("EtcdKey", "hunter2")])],
                Err(
                    "File: EtcdCertFile and EtcdKey are both set: certificates are in files or in parameters, not both",
                ),
            ),
            (
                &[
                    source(Flag, &[("EtcdEndpoints", "http://a:1")]),
                    source(Client, &[("EtcdEndpoints", "wrong")]),
                ],
                Ok("http://a:1"),
            ),
        ];
        for (sources, expected) in rows {
            let etcd = Config::resolve(sources).etcd;
            let told = etcd
                .map(|access| access.endpoints.join(" "))
                .map_err(|problem| format!("{}: {problem}", problem.origin));
            assert_eq!(told.as_deref().map_err(String::as_str), *expected);
        }
    }

    #[test]
    fn who_names_etcd() {
        let rows = [
            (source(Client, &[("DatastoreType", "etcdv3")]), true),
            (source(Client, &[("DatastoreType", "wrong")]), true),
            (source(Environment, &[("ETCDENDPOINTS", "http://a:1")]), true),
            (source(File, &[("EtcdAddr", "a:1")]), true),
            (source(Client, &[("EtcdDiscoverySrv", "a")]), true),
            (source(Client, &[("EtcdEndpoints", "")]), false),
            (source(Client, &[("EtcdCaFile", "a"), ("EtcdPassword", "a"), ("EtcdScheme", "https")]), false),
            (source(Global, &[("EtcdEndpoints", "http://a:1")]), false),
        ];
        for (source, expected) in rows {
            assert_eq!(source.names_etcd(), expected, "{source:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets = [("EtcdPassword", "hunter2"), ("etcdkey", "hunter2"), ("EtcdUsername", "none")];
        let resolved = Config::resolve(&[source(Client, &secrets), source(Host, &secrets)]);
        let values = ["EtcdPassword", "EtcdKey", "EtcdUsername", "EtcdCert"]
            .map(|name| resolved.value(name).map(|chosen| chosen.value.clone()).unwrap_or_default());
        assert_eq!(values, ["(set)", "(set)", "none", ""]);
        assert!(!format!("{resolved:?} {secrets:?}", secrets = source(Client, &secrets)).contains("hunter2"));
        let (_, problems) = Source::flags(["etcdpassword=hunter2"]);
        let told: Vec<_> =
            problems.iter().map(|p| format!("{p}; {}; {p:?}", p.help().unwrap_or_default())).collect();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert!(told.starts_with(
            "EtcdPassword would be seen by all who list processes; set FELIX_ETCDPASSWORD or ETCD_PASSWORD in the \
             environment, or EtcdPassword in the configuration file"
        ));
        assert!(!told.contains("hunter2"));
    }
}
