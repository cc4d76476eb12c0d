//! What all parts of one family's chains are made from.

use std::net::{IpAddr, Ipv4Addr};

use super::context::Context;
use super::marks::{MarkError, Marks};
use super::ruleset::{InterfaceMatch, IpSetName, TableName, Target};
use super::sets::StaticSet;
use crate::config::{AllowAction, Config, DenyAction};
use crate::model::IpVersion;
use crate::policy::{HostPolicy, LocalEndpoint, Pool};

/// Policy and configuration as IPv4 or IPv6 sees them.
pub(super) struct Family<'a> {
    pub policy: &'a HostPolicy,
    pub config: &'a Config,
    pub version: IpVersion,
    pub marks: Marks,
    /// Whether hosts tunnel this family's packets to each other by IP in IP.
    pub ipip: bool,
}

impl<'a> Family<'a> {
    pub(super) fn new(
        policy: &'a HostPolicy,
        config: &'a Config,
        version: IpVersion,
    ) -> Result<Self, MarkError> {
        let marks = Marks::allocate(config.mark_mask)?;
        let ipip = match version {
            IpVersion::V4 => policy.has_ipip(config),
            IpVersion::V6 => false,
        };
        Ok(Self { policy, config, version, marks, ipip })
    }

    /// The endpoints that own their interface.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &'a LocalEndpoint> {
        self.policy.endpoints.values().map(|local| &**local).filter(|local| local.shadowed_by.is_none())
    }

    /// The pools of this family.
    pub(super) fn pools(&self) -> impl Iterator<Item = &'a Pool> {
        self.policy.pools.values().map(|pool| &**pool).filter(|pool| self.is_ours(pool.cidr.addr()))
    }

    pub(super) fn workload_interfaces(&self) -> impl Iterator<Item = InterfaceMatch> {
        self.config.interface_prefixes.iter().map(|prefix| InterfaceMatch::prefix(prefix))
    }

    pub(super) fn set(&self, set: StaticSet) -> IpSetName {
        set.name(self.version)
    }

    /// Whether the address is of this family.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        IpVersion::of(address) == self.version
    }

    /// Where OpenStack's metadata service listens.
    pub(super) fn metadata(&self) -> Option<(Ipv4Addr, u16)> {
        match self.version {
            IpVersion::V4 => self.config.openstack?.metadata,
            IpVersion::V6 => None,
        }
    }

    pub(super) fn filter_allow(&self) -> Target {
        allow(self.config.filter_allow_action)
    }

    pub(super) fn mangle_allow(&self) -> Target {
        allow(self.config.mangle_allow_action)
    }

    /// For the filter table only: others refuse to load a REJECT.
    pub(super) fn filter_deny(&self) -> Target {
        self.context(TableName::Filter).deny()
    }

    /// What policies and profiles are rendered for.
    pub(super) fn context(&self, table: TableName) -> Context<'a> {
        Context { version: self.version, table, marks: self.marks, config: self.config }
    }

    /// How comments call what [`Self::filter_deny`] does.
    pub(super) fn deny_verb(&self) -> &'static str {
        match self.config.filter_deny_action {
            DenyAction::Drop => "Drop",
            DenyAction::Reject => "Reject",
        }
    }
}

fn allow(action: AllowAction) -> Target {
    match action {
        AllowAction::Accept => Target::Accept,
        AllowAction::Return => Target::Return,
    }
}
