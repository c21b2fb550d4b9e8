//! How steps come to the bytes of a data set.

use prunella_model::{FOLDER, is_address};

use crate::{
    reader::Reader,
    tree::{NodeId, Value},
};

/// How steps come to the bytes of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Access {
    /// They are copied into the store, and into each workspace.
    #[default]
    Copy,
    /// They are brought here from their address, and copied like those of any other.
    Fetch,
    /// They stay where they are and are read there.
    Mount,
    /// They stay where they are, and the step is told of them.
    Reference,
}

const ACCESSES: &[(&str, Access)] =
    &[("copy", Access::Copy), ("fetch", Access::Fetch), ("mount", Access::Mount), ("reference", Access::Reference)];

impl<'s> Reader<'s> {
    /// Reads `access` of a data set whose path or address is known already; what else is wrong with it has been noted.
    pub fn access(&mut self, data: NodeId, place: Option<&str>) -> Access {
        let Value::Mapping(pairs) = &self.tree.node(data).value else { return Access::Copy };
        let is_access =
            |id: &NodeId| matches!(&self.tree.node(*id).value, Value::Scalar { text, .. } if text == "access");
        let Some((key, value)) = pairs.iter().find(|(key, _)| is_access(key)) else { return Access::Copy };
        if self.is_null(*value) {
            return Access::Copy;
        }
        let (key, mark) = (self.mark(*key), self.mark(*value));
        let access = self.choice(*value, "`access`", ACCESSES).unwrap_or_default();
        let Some(place) = place else { return access };
        let in_bucket = is_address(place);
        let elsewhere = in_bucket || place.starts_with(FOLDER);
        let is_pattern =
            !elsewhere && self.files.kind(place).is_none() && prunella_model::pattern_root(place).is_some();
        let (mark, problem, help) = match access {
            Access::Copy if elsewhere => (
                mark,
                "what is elsewhere is not copied, but fetched",
                "write `access: fetch`, or leave `access` out: the bytes are brought into the store either way",
            ),
            Access::Fetch if !elsewhere => {
                (mark, "what lies here is not fetched, but copied", "write `access: copy`, or leave `access` out")
            }
            Access::Reference if !in_bucket => (
                mark,
                "files have no versions that could be pinned without reading them",
                "write `access: mount`: it is read where it lies, hashed, and nothing is copied",
            ),
            Access::Mount if in_bucket => (
                mark,
                "only data of this machine can be mounted",
                "write `access: reference`: the bytes stay there, and the step reads them itself; or `access: fetch`",
            ),
            Access::Mount if is_pattern => (
                key,
                "a pattern is a choice of files, and only a whole file or folder can be mounted",
                "name the folder, or leave `access` out: then what matches is copied",
            ),
            Access::Copy | Access::Fetch | Access::Mount | Access::Reference => return access,
        };
        self.found.error("contradiction", mark, problem).help(help);
        access
    }
}
