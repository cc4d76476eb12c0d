//! The one table of parameters (reference §11.2). What is read, checked and listed comes from here.

use super::kind::Kind::{
    self, Boolean, Cidrs, Endpoints, FailsafePorts, HostPort, Hostname, Integer, InterfaceFilter,
    InterfacePatterns, InterfacePrefixes, Ipv4, Ipv6, KeyDurations, KeyPart, KeyPrefix, KeyValues, Mask,
    Milliseconds, OneOf, PortRange, PortRanges, RateLimit, Regex, Seconds, Secret, Text,
};
use super::parameter::{Parameter, row};
use super::value::{
    Choice, Refusal, boolean, choice, interval, list, mask, milliseconds, net, number, optional, parsed,
    port_range, seconds,
};
use super::{
    AllowAction, BackendChoice, ClusterRoutes, DenyAction, EndpointToHostAction, InsertMode, InvalidObjects,
    NatOutgoingExclusions, RouteSource,
};

/// Accept, pass, drop, two scratch bits, and one for endpoints.
const MIN_MARK_BITS: u32 = 6;
/// SSH, DHCP, BGP, etcd, Typha, the Kubernetes API.
const FAILSAFE_INBOUND: &str = "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";
/// DNS, DHCP, BGP, etcd, Typha, the Kubernetes API.
const FAILSAFE_OUTBOUND: &str = "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";
const PORT: Kind = Integer { min: 0, max: 65535 };
const PRIORITY: Kind = Integer { min: 1, max: 2_147_483_646 };
/// An MTU; 0 finds it out.
const MTU: Kind = Integer { min: 0, max: 65535 };
const ENABLED: Kind = OneOf(&["Enabled", "Disabled"]);
/// Both those of today and of 2017.
const SEVERITY: Kind =
    OneOf(&["TRACE", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "FATAL", "CRITICAL", "PANIC"]);

/// Every parameter that is known, grouped by what it is about.
pub static PARAMETERS: &[Parameter] = &[
    // This host and its datastore.
    row("FelixHostname", Hostname, "")
        .doc("The name of this host's Node; by default the system's, in lower case.")
        .local()
        .required()
        .sets(|d, v| put(&mut d.config.hostname, optional(v, parsed))),
    row("DatastoreType", OneOf(&["etcdv3", "kubernetes"]), "etcdv3")
        .doc("Where resources are stored, if --datastore doesn't say; kubernetes is refused.")
        .local()
        .sets(|d, v| put(&mut d.etcd.kubernetes, Ok(v == "kubernetes"))),
    row("EtcdAddr", HostPort, "127.0.0.1:2379")
        .doc("Where etcd listens, unless EtcdEndpoints is set.")
        .local()
        .sets(|d, v| put(&mut d.etcd.address, Ok(v.to_owned()))),
    row("EtcdScheme", OneOf(&["http", "https"]), "http")
        .doc("How to speak to EtcdAddr; https refuses endpoints without.")
        .local()
        .sets(|d, v| put(&mut d.etcd.https, Ok(v == "https"))),
    row("EtcdEndpoints", Endpoints, "")
        .doc("Where etcd's members listen.")
        .local()
        .sets(|d, v| put(&mut d.etcd.endpoints, list(v, parsed))),
    row("EtcdDiscoverySrv", Text, "")
        .doc("A domain that names etcd's members; refused where etcd is read.")
        .local()
        .sets(|d, v| put(&mut d.etcd.discovery, Ok(v.to_owned()))),
    row("EtcdPrefix", KeyPrefix, "/calico")
        .doc("What all keys in etcd begin with.")
        .local()
        .sets(|d, v| put(&mut d.etcd.prefix, Ok(v.to_owned()))),
    row("EtcdKeyFile", Text, "")
        .doc("The private key to show to etcd, in PEM.")
        .local()
        .sets(|d, v| put(&mut d.etcd.key_file, Ok(v.to_owned()))),
    row("EtcdCertFile", Text, "")
        .doc("The certificate to show to etcd, in PEM.")
        .local()
        .sets(|d, v| put(&mut d.etcd.certificate_file, Ok(v.to_owned()))),
    row("EtcdCaFile", Text, "")
        .doc("The authority that must have signed etcd's certificate, in PEM.")
        .local()
        .sets(|d, v| put(&mut d.etcd.ca_file, Ok(v.to_owned()))),
    row("EtcdKey", Secret, "")
        .doc("As EtcdKeyFile, but the text itself.")
        .local()
        .sets(|d, v| put(&mut d.etcd.key, secret(v))),
    row("EtcdCert", Secret, "")
        .doc("As EtcdCertFile, but the text itself.")
        .local()
        .sets(|d, v| put(&mut d.etcd.certificate, secret(v))),
    row("EtcdCaCert", Secret, "")
        .doc("As EtcdCaFile, but the text itself.")
        .local()
        .sets(|d, v| put(&mut d.etcd.ca, secret(v))),
    row("EtcdUsername", Text, "")
        .doc("Who to be for etcd; goes with EtcdPassword.")
        .local()
        .literal()
        .sets(|d, v| put(&mut d.etcd.user, Ok(v.to_owned()))),
    row("EtcdPassword", Secret, "")
        .doc("The password of EtcdUsername.")
        .local()
        .literal()
        .sets(|d, v| put(&mut d.etcd.password, secret(v))),
    row("ClusterGUID", Text, "baddecaf").doc("The cluster's identity, from ClusterInformation."),
    row("ClusterType", Text, "")
        .doc("What the cluster consists of, from ClusterInformation.")
        .sets(|d, v| put(&mut d.cluster_type, Ok(v.to_owned()))),
    row("CalicoVersion", Text, "").doc("The version of Calico, from ClusterInformation."),
    row("InvalidObjects", OneOf(InvalidObjects::WORDS), "Deny")
        .doc("An object that can't be understood closes what it can, or is absent as in Felix.")
        .sets(|d, v| put(&mut d.config.invalid_objects, choice(v))),
    // Interfaces.
    row("InterfacePrefix", InterfacePrefixes, "cali")
        .field("interfacePrefix")
        .doc("How the names of workloads' interfaces begin.")
        .sets(|d, v| put(&mut d.config.interface_prefixes, list(v, parsed))),
    row("InterfaceExclude", InterfacePatterns, "kube-ipvs0")
        .field("interfaceExclude")
        .doc("Interfaces that are neither the host's nor a workload's."),
    row("InterfaceRefreshInterval", Seconds, "90")
        .field("interfaceRefreshInterval")
        .doc("Time between two full reads of interfaces; 0 never.")
        .sets(|d, v| put(&mut d.config.enforcement.link_refresh, interval(v))),
    row("NetlinkTimeoutSecs", Seconds, "10")
        .field("netlinkTimeout")
        .doc("How long the kernel may take for a host's routes before that is said.")
        .sets(|d, v| put(&mut d.config.enforcement.netlink_timeout, seconds(v))),
    row("MTUIfacePattern", Regex, "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)")
        .field("mtuIfacePattern")
        .doc("Interfaces whose MTU is the host's."),
    row("RequireMTUFile", Boolean, "false")
        .field("requireMTUFile")
        .doc("Fail where the MTU file can't be written."),
    row("IPForwarding", ENABLED, "Enabled")
        .field("ipForwarding")
        .doc("Turn on the kernel's forwarding.")
        .none("Disabled")
        .sets(|d, v| put(&mut d.config.enforcement.ip_forwarding, Ok(v == "Enabled"))),
    // iptables and its tables.
    row("Ipv6Support", Boolean, "true")
        .field("ipv6Support")
        .doc("Chains, sets and routes for IPv6, too.")
        .sets(|d, v| put(&mut d.config.ipv6_support, boolean(v))),
    row("IgnoreLooseRPF", Boolean, "false").doc("Start where the kernel checks sources loosely (Felix 2.1)."),
    row("UseInternalDataplaneDriver", Boolean, "true").doc("Do without DataplaneDriver (Felix 2.1)."),
    row("DataplaneDriver", Text, "calico-iptables-plugin")
        .doc("The program that writes to the kernel (Felix 2.1).")
        .required(),
    row("IptablesBackend", OneOf(BackendChoice::WORDS), "auto")
        .field("iptablesBackend")
        .doc("Which iptables to call.")
        .sets(|d, v| put(&mut d.config.enforcement.backend, choice(v))),
    row("NFTablesMode", OneOf(&["Enabled", "Disabled", "Auto"]), "Auto")
        .field("nftablesMode")
        .doc("nftables without iptables; always Disabled here."),
    row("IptablesRefreshInterval", Seconds, "180")
        .field("iptablesRefreshInterval")
        .doc("Time between two full reads of iptables; 0 never.")
        .sets(|d, v| put(&mut d.config.enforcement.table_refresh, interval(v))),
    row("IptablesPostWriteCheckIntervalSecs", Seconds, "5")
        .field("iptablesPostWriteCheckInterval")
        .doc("Time after a write until it is read back.")
        .sets(|d, v| put(&mut d.config.enforcement.post_write_check, seconds(v))),
    row("IptablesLockProbeIntervalMillis", Milliseconds, "50")
        .field("iptablesLockProbeInterval")
        .doc("Time between two tries to get iptables' lock.")
        .sets(|d, v| put(&mut d.config.enforcement.lock_probe, milliseconds(v))),
    row("IpsetsRefreshInterval", Seconds, "90")
        .field("ipsetsRefreshInterval")
        .doc("Time between two full reads of IP sets; 0 never.")
        .sets(|d, v| put(&mut d.config.enforcement.set_refresh, interval(v))),
    row("MaxIpsetSize", Integer { min: 1, max: u32::MAX as i64 }, "1048576")
        .field("maxIpsetSize")
        .doc("How many members an IP set may have.")
        .required()
        .sets(|d, v| put(&mut d.config.max_ipset_size, number(v))),
    row("ChainInsertMode", OneOf(InsertMode::WORDS), "insert")
        .field("chainInsertMode")
        .doc("Our rules in the kernel's chains stand before those of others, or behind.")
        .sets(|d, v| put(&mut d.config.chain_insert_mode, choice(v))),
    row("IptablesMarkMask", Mask { min_bits: MIN_MARK_BITS }, "0xffff0000")
        .field("iptablesMarkMask")
        .doc("The bits of a packet's mark that are ours.")
        .sets(|d, v| put(&mut d.config.mark_mask, mask(v, MIN_MARK_BITS))),
    row("DisableConntrackInvalidCheck", Boolean, "false")
        .field("disableConntrackInvalidCheck")
        .doc("Let pass what connection tracking calls invalid.")
        .sets(|d, v| put(&mut d.config.disable_conntrack_invalid_check, boolean(v))),
    row("FeatureDetectOverride", KeyValues, "")
        .field("featureDetectOverride")
        .doc("What the kernel and iptables can do, where detection is wrong."),
    row("ConntrackCut", Boolean, "false")
        .doc("Remove connections that the present policy denies; in Felix they go on.")
        .sets(|d, v| put(&mut d.config.enforcement.conntrack_cut, boolean(v))),
    // Verdicts.
    row("DefaultEndpointToHostAction", OneOf(EndpointToHostAction::WORDS), "DROP")
        .field("defaultEndpointToHostAction")
        .doc("What happens to packets from a workload to this host that policy lets out.")
        .sets(|d, v| put(&mut d.config.default_endpoint_to_host_action, choice(v))),
    row("IptablesFilterAllowAction", OneOf(AllowAction::WORDS), "ACCEPT")
        .field("iptablesFilterAllowAction")
        .doc("Allowed packets are accepted, or go on to others' rules in filter.")
        .sets(|d, v| put(&mut d.config.filter_allow_action, choice(v))),
    row("IptablesMangleAllowAction", OneOf(AllowAction::WORDS), "ACCEPT")
        .field("iptablesMangleAllowAction")
        .doc("Allowed packets are accepted, or go on to others' rules in mangle.")
        .sets(|d, v| put(&mut d.config.mangle_allow_action, choice(v))),
    row("IptablesFilterDenyAction", OneOf(DenyAction::WORDS), "DROP")
        .field("iptablesFilterDenyAction")
        .doc("What happens to denied packets in filter.")
        .sets(|d, v| put(&mut d.config.filter_deny_action, choice(v))),
    row("ServiceLoopPrevention", OneOf(&["Drop", "Reject", "Disabled"]), "Drop")
        .field("serviceLoopPrevention")
        .doc("What happens to packets to service addresses that nothing serves.")
        .none("Disabled"),
    row("WorkloadSourceSpoofing", OneOf(&["Disabled", "Any"]), "Disabled")
        .field("workloadSourceSpoofing")
        .doc("Whether a workload may ask to send from addresses that are not its own.")
        .none("Disabled")
        .sets(|d, v| put(&mut d.config.workload_source_spoofing, Ok(v == "Any"))),
    row("AllowVXLANPacketsFromWorkloads", Boolean, "false")
        .field("allowVXLANPacketsFromWorkloads")
        .doc("Let workloads send VXLAN.")
        .sets(|d, v| put(&mut d.config.allow_vxlan_packets_from_workloads, boolean(v))),
    row("AllowIPIPPacketsFromWorkloads", Boolean, "false")
        .field("allowIPIPPacketsFromWorkloads")
        .doc("Let workloads send IP in IP.")
        .sets(|d, v| put(&mut d.config.allow_ipip_packets_from_workloads, boolean(v))),
    row("FailsafeInboundHostPorts", FailsafePorts, FAILSAFE_INBOUND)
        .field("failsafeInboundHostPorts")
        .doc("Ports of this host that no policy closes."),
    row("FailsafeOutboundHostPorts", FailsafePorts, FAILSAFE_OUTBOUND)
        .field("failsafeOutboundHostPorts")
        .doc("Ports that this host reaches whatever policy says."),
    row("KubeNodePortRanges", PortRanges, "30000:32767")
        .field("kubeNodePortRanges")
        .doc("Ports of Kubernetes' services on every node."),
    row("LogPrefix", Text, "calico-packet")
        .field("logPrefix")
        .doc("What the kernel writes before a packet that a Log rule matched.")
        .sets(|d, v| put(&mut d.config.log_prefix, Ok(v.to_owned()))),
    row("LogActionRateLimit", RateLimit, "")
        .field("logActionRateLimit")
        .doc("How many packets a Log rule writes down, as `50/minute`.")
        .sets(|d, v| put(&mut d.config.log_action_rate_limit, optional(v, parsed))),
    row("LogActionRateLimitBurst", Integer { min: 0, max: 9999 }, "5")
        .field("logActionRateLimitBurst")
        .doc("How many packets LogActionRateLimit lets through at once.")
        .sets(|d, v| put(&mut d.config.log_action_rate_limit_burst, number(v))),
    // Address translation.
    row("NATPortRange", PortRange, "")
        .field("natPortRange")
        .doc("Ports that outgoing connections are given.")
        .sets(|d, v| put(&mut d.config.nat_port_range, optional(v, port_range))),
    row("NATOutgoingAddress", Ipv4, "")
        .field("natOutgoingAddress")
        .doc("The address that outgoing connections are given, instead of the interface's.")
        .sets(|d, v| put(&mut d.config.nat_outgoing_address, optional(v, parsed))),
    row("NATOutgoingExclusions", OneOf(NatOutgoingExclusions::WORDS), "IPPoolsOnly")
        .field("natOutgoingExclusions")
        .doc("Destinations that see workloads' own addresses.")
        .none("IPPoolsOnly")
        .sets(|d, v| put(&mut d.config.nat_outgoing_exclusions, choice(v))),
    row("IptablesNATOutgoingInterfaceFilter", InterfaceFilter, "")
        .field("iptablesNATOutgoingInterfaceFilter")
        .doc("Translate only what leaves by this interface.")
        .sets(|d, v| put(&mut d.config.nat_outgoing_interface_filter, optional(v, parsed))),
    row("FloatingIPs", ENABLED, "Disabled")
        .field("floatingIPs")
        .doc("Addresses that workloads ask to be translated to theirs.")
        .none("Disabled")
        .sets(|d, v| put(&mut d.config.floating_ips, Ok(v == "Enabled"))),
    row("MetadataAddr", Hostname, "127.0.0.1")
        .field("metadataAddr")
        .doc("Where OpenStack's metadata service listens.")
        .sets(|d, v| put(&mut d.metadata_addr, Ok(v.to_owned()))),
    row("MetadataPort", PORT, "8775")
        .field("metadataPort")
        .doc("The port of OpenStack's metadata service.")
        .sets(|d, v| put(&mut d.metadata_port, number(v))),
    row("OpenstackRegion", KeyPart, "")
        .field("openstackRegion")
        .doc("The region that workloads' states are reported for.")
        .sets(|d, v| put(&mut d.config.status.region, optional(v, |v| Ok(v.to_owned())))),
    // Tunnels and routes.
    row("IpInIpEnabled", Boolean, "")
        .field("ipipEnabled")
        .doc("IP in IP; by default, where a pool uses it.")
        .none("")
        .sets(|d, v| put(&mut d.config.ipip_enabled, optional(v, boolean))),
    row("IpInIpMtu", MTU, "0")
        .field("ipipMTU")
        .doc("MTU of tunl0; 0 is that of the interface below it, less 20.")
        .sets(|d, v| {
            put(&mut d.config.routing.ipip_mtu, number(v).map(|mtu| Some(mtu).filter(|&mtu| mtu > 0)))
        }),
    row("IpInIpTunnelAddr", Ipv4, "")
        .doc("Address of tunl0; by default what this host's Node says.")
        .sets(|d, v| put(&mut d.config.routing.tunnel_address, optional(v, parsed))),
    row("IpInIpTunnelAddrFromBlock", Boolean, "false")
        .field("ipipTunnelAddrFromBlock")
        .doc("Where nobody says tunl0's address, it is the lowest spare one of its blocks, and moves as workloads come and go.")
        .sets(|d, v| put(&mut d.config.routing.tunnel_address_from_block, boolean(v))),
    row("VXLANEnabled", Boolean, "")
        .field("vxlanEnabled")
        .doc("VXLAN; by default, where a pool uses it.")
        .none(""),
    row("VXLANPort", Integer { min: 1, max: 65535 }, "4789")
        .field("vxlanPort")
        .doc("UDP port of VXLAN.")
        .sets(|d, v| put(&mut d.config.vxlan_port, number(v))),
    row("VXLANVNI", Integer { min: 0, max: 16_777_215 }, "4096")
        .field("vxlanVNI")
        .doc("The network number in VXLAN packets."),
    row("VXLANMTU", MTU, "0").field("vxlanMTU").doc("MTU of the VXLAN device; 0 is the host's less 50."),
    row("ExternalNodesCIDRList", Cidrs, "")
        .field("externalNodesList")
        .doc("Hosts outside the cluster that may send IP in IP and VXLAN.")
        .sets(|d, v| put(&mut d.config.external_nodes, list(v, net))),
    row("DeviceRouteSourceAddress", Ipv4, "")
        .field("deviceRouteSourceAddress")
        .doc("Source address of routes to workloads.")
        .sets(|d, v| put(&mut d.config.routing.source_v4, optional(v, parsed))),
    row("DeviceRouteSourceAddressIPv6", Ipv6, "")
        .field("deviceRouteSourceAddressIPv6")
        .doc("Source address of IPv6 routes to workloads.")
        .sets(|d, v| put(&mut d.config.routing.source_v6, optional(v, parsed))),
    row("DeviceRouteProtocol", Integer { min: 0, max: 255 }, "3")
        .field("deviceRouteProtocol")
        .doc("The protocol number of routes to workloads; unless it is 3, of all our routes.")
        .sets(|d, v| put(&mut d.config.routing.protocol, number(v))),
    row("RemoveExternalRoutes", Boolean, "true")
        .field("removeExternalRoutes")
        .doc("Remove others' routes to workloads' interfaces.")
        .sets(|d, v| put(&mut d.config.routing.remove_external, boolean(v))),
    row("ProgramClusterRoutes", OneOf(ClusterRoutes::WORDS), "Auto")
        .field("programClusterRoutes")
        .doc("Which routes to other hosts' workloads are ours; Auto is all that nobody else has.")
        .sets(|d, v| put(&mut d.config.routing.cluster_routes, choice(v))),
    row("RouteSource", OneOf(RouteSource::WORDS), "CalicoIPAM")
        .field("routeSource")
        .doc("What routes to other hosts are made from.")
        .sets(|d, v| put(&mut d.config.routing.source, choice(v))),
    row("RouteSyncDisabled", Boolean, "false")
        .field("routeSyncDisabled")
        .doc("Leave routes to others.")
        .sets(|d, v| put(&mut d.config.routing.disabled, boolean(v))),
    row("RouteRefreshInterval", Seconds, "90")
        .field("routeRefreshInterval")
        .doc("Time between two full reads of routes; 0 never.")
        .sets(|d, v| put(&mut d.config.enforcement.route_refresh, interval(v))),
    row("IPv4NormalRoutePriority", PRIORITY, "1024")
        .field("ipv4NormalRoutePriority")
        .doc("Metric of IPv4 routes.")
        .sets(|d, v| put(&mut d.config.routing.metric_v4, number(v))),
    row("IPv4ElevatedRoutePriority", PRIORITY, "512")
        .field("ipv4ElevatedRoutePriority")
        .doc("Metric of IPv4 routes that must win."),
    row("IPv6NormalRoutePriority", PRIORITY, "1024")
        .field("ipv6NormalRoutePriority")
        .doc("Metric of IPv6 routes.")
        .sets(|d, v| put(&mut d.config.routing.metric_v6, number(v))),
    row("IPv6ElevatedRoutePriority", PRIORITY, "512")
        .field("ipv6ElevatedRoutePriority")
        .doc("Metric of IPv6 routes that must win."),
    // What is told to people and machines.
    row("ReportingIntervalSecs", Seconds, "30")
        .field("reportingInterval")
        .doc("Time between two reports of this process's state; 0 never.")
        .sets(|d, v| put(&mut d.config.status.interval, interval(v))),
    row("ReportingTTLSecs", Seconds, "90")
        .field("reportingTTL")
        .doc("How long a report of this process's state holds.")
        .sets(|d, v| put(&mut d.config.status.ttl, seconds(v))),
    row("EndpointReportingEnabled", Boolean, "false")
        .field("endpointReportingEnabled")
        .doc("Report endpoints' states.")
        .sets(|d, v| put(&mut d.config.status.endpoints, boolean(v))),
    row("EndpointReportingDelaySecs", Seconds, "1")
        .field("endpointReportingDelay")
        .doc("How long changes of an endpoint's state are gathered.")
        .sets(|d, v| put(&mut d.config.status.endpoint_delay, seconds(v))),
    row("EndpointStatusPathPrefix", Text, "/var/run/calico")
        .field("endpointStatusPathPrefix")
        .doc("Where endpoints' states are written as files."),
    row("HealthEnabled", Boolean, "false")
        .field("healthEnabled")
        .doc("Answer health checks.")
        .sets(|d, v| put(&mut d.config.reporting.health.enabled, boolean(v))),
    row("HealthHost", Text, "localhost")
        .field("healthHost")
        .doc("Where health checks are answered.")
        .sets(|d, v| put(&mut d.config.reporting.health.host, Ok(v.to_owned()))),
    row("HealthPort", PORT, "9099")
        .field("healthPort")
        .doc("The port where health checks are answered.")
        .sets(|d, v| put(&mut d.config.reporting.health.port, number(v))),
    row("HealthTimeoutOverrides", KeyDurations, "")
        .field("healthTimeoutOverrides")
        .doc("How long a part of the program may be silent."),
    row("DataplaneWatchdogTimeout", Seconds, "90")
        .field("dataplaneWatchdogTimeout")
        .doc("How long the main loop may be silent.")
        .sets(|d, v| put(&mut d.config.reporting.watchdog, seconds(v))),
    row("PrometheusMetricsEnabled", Boolean, "false")
        .field("prometheusMetricsEnabled")
        .doc("Serve metrics.")
        .sets(|d, v| put(&mut d.config.reporting.metrics.enabled, boolean(v))),
    row("PrometheusMetricsHost", Text, "localhost")
        .field("prometheusMetricsHost")
        .doc("Where metrics are served; `none` is every address.")
        .sets(|d, v| put(&mut d.config.reporting.metrics.host, Ok(v.to_owned()))),
    row("PrometheusMetricsPort", PORT, "9091")
        .field("prometheusMetricsPort")
        .doc("The port where metrics are served.")
        .sets(|d, v| put(&mut d.config.reporting.metrics.port, number(v))),
    row("PrometheusGoMetricsEnabled", Boolean, "true")
        .field("prometheusGoMetricsEnabled")
        .doc("Metrics of Felix's Go runtime."),
    row("PrometheusProcessMetricsEnabled", Boolean, "true")
        .field("prometheusProcessMetricsEnabled")
        .doc("Metrics of the process.")
        .sets(|d, v| put(&mut d.config.reporting.process_metrics, boolean(v))),
    row("LogFilePath", Text, "/var/log/calico/felix.log")
        .field("logFilePath")
        .doc("The log file; `none` writes none."),
    row("LogSeverityFile", SEVERITY, "INFO")
        .field("logSeverityFile")
        .doc("The least grave message for the log file; `none` disables.")
        .none(""),
    row("LogSeverityScreen", SEVERITY, "INFO")
        .field("logSeverityScreen")
        .doc("The least grave message for standard error; `none` disables.")
        .none("")
        .sets(|d, v| put(&mut d.config.reporting.screen, optional(v, |v| Ok(v.to_owned())))),
    row("LogSeveritySys", SEVERITY, "INFO")
        .field("logSeveritySys")
        .doc("The least grave message for syslog; `none` disables.")
        .none(""),
    row("UsageReportingEnabled", Boolean, "false")
        .field("usageReportingEnabled")
        .doc("Report usage to Calico's makers; never done here."),
];

/// Whatever the text is.
fn secret(text: &str) -> Result<super::Secret, Refusal> {
    Ok(super::Secret::new(text.to_owned()))
}

fn put<T>(slot: &mut T, value: Result<T, Refusal>) -> Result<(), Refusal> {
    *slot = value?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::draft::Draft;
    use super::super::etcd::draft::EtcdDraft;
    use super::super::{Config, Enforcement, Listener, Reporting, Routing, StatusReporting};
    use super::*;

    /// Another value than the default in every field.
    fn all_different() -> Draft {
        let config = Config {
            hostname: Some("node1".to_owned()),
            ipv6_support: false,
            interface_prefixes: vec!["tap".to_owned()],
            chain_insert_mode: InsertMode::Append,
            default_endpoint_to_host_action: EndpointToHostAction::Return,
            filter_allow_action: AllowAction::Return,
            mangle_allow_action: AllowAction::Return,
            filter_deny_action: DenyAction::Reject,
            log_prefix: "other".to_owned(),
            log_action_rate_limit: Some("1/day".to_owned()),
            log_action_rate_limit_burst: 6,
            mark_mask: 0xff,
            disable_conntrack_invalid_check: true,
            nat_port_range: Some((1, 2)),
            nat_outgoing_address: Some([10, 0, 0, 1].into()),
            nat_outgoing_exclusions: NatOutgoingExclusions::IpPoolsAndHostIps,
            nat_outgoing_interface_filter: Some("eth0".to_owned()),
            workload_source_spoofing: true,
            floating_ips: true,
            allow_vxlan_packets_from_workloads: true,
            allow_ipip_packets_from_workloads: true,
            ipip_enabled: Some(true),
            vxlan_port: 1,
            max_ipset_size: 1,
            external_nodes: vec!["10.0.0.0/8".parse().unwrap()],
            invalid_objects: InvalidObjects::Ignore,
            openstack: None,
            routing: Routing {
                disabled: true,
                cluster_routes: ClusterRoutes::Disabled,
                source: RouteSource::WorkloadIps,
                protocol: 80,
                source_v4: Some([10, 0, 0, 1].into()),
                source_v6: Some("fd00::1".parse().unwrap()),
                metric_v4: 1,
                metric_v6: 1,
                remove_external: false,
                ipip_mtu: Some(1440),
                tunnel_address: Some([10, 0, 0, 1].into()),
                tunnel_address_from_block: true,
            },
            enforcement: Enforcement {
                backend: BackendChoice::Nft,
                table_refresh: None,
                post_write_check: Duration::ZERO,
                lock_probe: Duration::ZERO,
                set_refresh: None,
                link_refresh: None,
                route_refresh: None,
                netlink_timeout: Duration::ZERO,
                ip_forwarding: false,
                conntrack_cut: true,
            },
            status: StatusReporting {
                interval: None,
                ttl: Duration::ZERO,
                endpoints: true,
                endpoint_delay: Duration::ZERO,
                region: Some("one".to_owned()),
            },
            reporting: Reporting {
                health: Listener { enabled: true, host: "a".to_owned(), port: 1 },
                metrics: Listener { enabled: true, host: "b".to_owned(), port: 2 },
                process_metrics: false,
                watchdog: Duration::ZERO,
                screen: None,
            },
        };
        let secret = |text: &str| super::super::Secret::new(text.to_owned());
        let etcd = EtcdDraft {
            kubernetes: true,
            address: "a:1".to_owned(),
            https: true,
            endpoints: vec!["http://a:1/".to_owned()],
            discovery: "a".to_owned(),
            ca_file: "a".to_owned(),
            certificate_file: "a".to_owned(),
            key_file: "a".to_owned(),
            ca: secret("a"),
            certificate: secret("a"),
            key: secret("a"),
            user: "a".to_owned(),
            password: secret("a"),
            prefix: "/a".to_owned(),
        };
        Draft {
            config,
            cluster_type: "openstack".to_owned(),
            metadata_addr: String::new(),
            metadata_port: 1,
            etcd,
        }
    }

    #[test]
    fn the_defaults_are_those_of_config() {
        let mut draft = all_different();
        for parameter in PARAMETERS {
            if let Some(set) = parameter.setter {
                assert_eq!(set(&mut draft, parameter.default), Ok(()), "{}", parameter.name);
            }
        }
        assert_eq!(draft, Draft::default());
        assert_eq!(draft.finish().0, Config::default());
    }

    #[test]
    fn defaults_are_canonical() {
        for Parameter { name, kind, default, .. } in PARAMETERS.iter().filter(|row| !row.default.is_empty()) {
            assert_eq!(kind.canonical(default).as_deref(), Ok(*default), "{name}");
        }
    }

    #[test]
    fn names_and_fields_are_unique_and_documented() {
        let names: BTreeSet<_> = PARAMETERS.iter().map(|row| row.name.to_lowercase()).collect();
        assert_eq!(names.len(), PARAMETERS.len());
        let fields: Vec<_> = PARAMETERS.iter().filter_map(|row| row.field).collect();
        assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len());
        for Parameter { name, doc, .. } in PARAMETERS {
            assert!(doc.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn words_are_read_in_any_case() {
        for parameter in PARAMETERS {
            let OneOf(words) = parameter.kind else { continue };
            for word in words {
                for spelling in [word.to_lowercase(), word.to_uppercase()] {
                    assert_eq!(parameter.canonical(&spelling).as_deref(), Ok(*word), "{}", parameter.name);
                }
            }
        }
    }

    #[test]
    fn none_can_be_set() {
        for parameter in PARAMETERS {
            if let (Ok(zero), Some(set)) = (parameter.canonical("None"), parameter.setter) {
                assert_eq!(set(&mut Draft::default(), &zero), Ok(()), "{}", parameter.name);
            }
        }
    }

    #[test]
    fn where_none_is_refused() {
        let refusing: Vec<_> =
            PARAMETERS.iter().filter(|row| row.canonical("none").is_err()).map(|row| row.name).collect();
        assert_eq!(
            refusing,
            [
                "FelixHostname",
                "DatastoreType",
                "EtcdScheme",
                "EtcdPrefix",
                "InvalidObjects",
                "InterfacePrefix",
                "DataplaneDriver",
                "IptablesBackend",
                "NFTablesMode",
                "MaxIpsetSize",
                "ChainInsertMode",
                "IptablesMarkMask",
                "DefaultEndpointToHostAction",
                "IptablesFilterAllowAction",
                "IptablesMangleAllowAction",
                "IptablesFilterDenyAction",
                "VXLANPort",
                "ProgramClusterRoutes",
                "RouteSource",
                "IPv4NormalRoutePriority",
                "IPv4ElevatedRoutePriority",
                "IPv6NormalRoutePriority",
                "IPv6ElevatedRoutePriority",
            ]
        );
    }
}
