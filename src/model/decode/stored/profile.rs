//! The parts of a profile in Felix 2.1's store, each under a key of its own (felix-2.1 §2.1, §2.2).

use crate::model::decode::fields::{Field, Unknown};
use crate::model::decode::key::Part;
use crate::model::decode::name::{self, named};
use crate::model::decode::rule::Way;
use crate::model::decode::{metadata, stored};
use crate::model::{ProfileContent, ProfilePart};

/// One part; with anything that can't be understood the whole profile denies.
pub(super) fn part(root: &Field<'_>, name: &str, part: Part) -> Option<ProfilePart> {
    let name = root.report.name_in_key(&name::NAMESPACED_WORD, name);
    let content = match part {
        Part::Rules => {
            // Without the rules under a misspelt name, others would decide what those deny.
            let rules = root.object(&["inbound_rules", "outbound_rules"], Unknown::MisspeltRefused);
            let (ingress, egress) = (stored::rules(&rules, Way::Ingress), stored::rules(&rules, Way::Egress));
            ProfileContent::Rules { ingress, egress }
        }
        Part::Tags => ProfileContent::Tags(root.read_all(named(&name::WORD))),
        Part::Labels => ProfileContent::Labels(metadata::read_labels(root)),
    };
    let invalid = root.report.errors() > 0;
    Some(ProfilePart { name: name?, content, invalid, place: root.place() })
}
