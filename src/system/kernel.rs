//! The kernel of this network namespace.

use super::enforcer::{ApplyError, ReadError};
use super::enforcer::{System, Write, Written};
use super::generation::generation;
use super::ipsets::Ipsets;
use super::iptables::{Backend, Iptables};
use super::lock::LockWait;
use super::tool::ToolError;
use crate::config::InsertMode;
use crate::model::IpVersion;
use crate::rules::ruleset::{Ruleset, TableName};
use crate::sync::{Desired, Programmed, Step, plan};
use std::path::Path;
use std::sync::Arc;

/// One backend's tables, and the IP sets, which both backends share.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub tables: Iptables,
    pub sets: Ipsets,
}

impl System for Kernel {
    async fn save_table(&self, version: IpVersion, table: TableName) -> Result<String, ToolError> {
        self.tables.save(version, table).await
    }

    async fn restore_table(&self, version: IpVersion, text: String) -> Result<LockWait, ToolError> {
        self.tables.restore(version, text).await
    }

    async fn save_sets(&self) -> Result<String, ToolError> {
        self.sets.save().await
    }

    async fn restore_sets(&self, text: String) -> Result<(), ToolError> {
        self.sets.restore(text).await
    }

    fn generation(&self) -> Option<u32> {
        match self.tables.backend() {
            Backend::Nft => generation().ok(),
            Backend::Legacy => None,
        }
    }
}

/// Nothing of ours, in either family.
pub fn nothing() -> Desired {
    Desired {
        rulesets: IpVersion::ALL.map(nothing_of).to_vec(),
        insert_mode: InsertMode::Insert,
        routes: None,
    }
}

/// Nothing of ours, in one family.
pub fn nothing_of(version: IpVersion) -> Arc<Ruleset> {
    Arc::new(Ruleset { version, sets: Default::default(), tables: Vec::new() })
}

/// What one backend has of ours: all tables of both families, no sets.
///
/// # Errors
/// A table can't be read. A family that the kernel does not have counts as empty.
pub async fn tables_of(iptables: &Iptables) -> Result<Programmed, ApplyError> {
    let mut programmed = Programmed::default();
    for version in IpVersion::ALL {
        for table in TableName::ALL {
            read_table(iptables, version, table, &mut programmed).await?;
        }
    }
    Ok(programmed)
}

/// Adds what one table has of ours.
///
/// # Errors
/// As [`tables_of`].
pub async fn read_table(
    iptables: &Iptables,
    version: IpVersion,
    table: TableName,
    programmed: &mut Programmed,
) -> Result<(), ApplyError> {
    let what = Written::Table(version, table);
    let failed = |error| ApplyError::Read { what, error };
    let text = match iptables.save(version, table).await {
        Err(error) if is_no_family(version, &error) => return Ok(()),
        text => text.map_err(|error| failed(ReadError::Tool(error)))?,
    };
    programmed.read_table(version, table, &text).map_err(|error| failed(ReadError::Text(error)))
}

/// Removes what one backend has of ours, if anything; what was written.
///
/// # Errors
/// The kernel can't be read, or refused; tables before the one at fault are clean.
pub async fn remove_tables(iptables: &Iptables) -> Result<Vec<Write>, ApplyError> {
    let plan = plan(&nothing(), &tables_of(iptables).await?);
    let mut writes = Vec::new();
    for step in plan.steps() {
        let Step::Table(changes) = step else { continue };
        let (version, table) = (changes.version(), changes.table());
        let text = changes.text();
        let write =
            Write { what: Written::Table(version, table), lines: text.lines().count(), bytes: text.len() };
        let refused = |error| ApplyError::Refused { what: write.what, error };
        iptables.restore(version, text).await.map_err(refused)?;
        writes.push(write);
    }
    Ok(writes)
}

/// Whether the kernel has IPv6.
pub fn has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// A host may have its IPv6 switched off.
fn is_no_family(version: IpVersion, error: &ToolError) -> bool {
    version == IpVersion::V6
        && matches!(error, ToolError::Failed { complaint, .. }
            if complaint.contains("Address family not supported") || complaint.contains("can't initialize ip6tables"))
}
