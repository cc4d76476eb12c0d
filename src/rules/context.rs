//! Where chains are to stand: the same policy reads differently in another family, table or configuration.

use super::marks::Marks;
use super::ruleset::{TableName, Target};
use crate::config::{Config, DenyAction};
use crate::model::IpVersion;

/// All that decides how a policy is written as chains, besides the policy.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    pub version: IpVersion,
    pub table: TableName,
    pub marks: Marks,
    pub config: &'c Config,
}

impl Context<'_> {
    /// What becomes of a denied packet: as configured in the filter table. The others refuse to load a REJECT.
    pub fn deny(&self) -> Target {
        match (self.config.filter_deny_action, self.table) {
            (DenyAction::Reject, TableName::Filter) => Target::Reject,
            (DenyAction::Reject, TableName::Raw | TableName::Mangle | TableName::Nat) => Target::Drop,
            (DenyAction::Drop, _) => Target::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_filter_table_rejects() {
        let marks = Marks::allocate(0xff00).expect("enough bits");
        for (filter_deny_action, table, expected) in [
            (DenyAction::Drop, TableName::Raw, Target::Drop),
            (DenyAction::Drop, TableName::Filter, Target::Drop),
            (DenyAction::Reject, TableName::Raw, Target::Drop),
            (DenyAction::Reject, TableName::Mangle, Target::Drop),
            (DenyAction::Reject, TableName::Filter, Target::Reject),
        ] {
            let config = Config { filter_deny_action, ..Config::default() };
            let context = Context { version: IpVersion::V4, table, marks, config: &config };
            assert_eq!(context.deny(), expected, "{filter_deny_action:?} in {table:?}");
        }
    }
}
