//! How steps come to the bytes of a data set.

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
    /// They stay where they are and are read there.
    Mount,
}

const ACCESSES: &[(&str, Access)] = &[("copy", Access::Copy), ("mount", Access::Mount)];

impl<'s> Reader<'s> {
    /// Reads `access` of a data set whose path is known already; what else is wrong with the data set has been noted.
    pub fn access(&mut self, data: NodeId, path: Option<&str>) -> Access {
        let Value::Mapping(pairs) = &self.tree.node(data).value else { return Access::Copy };
        let is_access =
            |id: &NodeId| matches!(&self.tree.node(*id).value, Value::Scalar { text, .. } if text == "access");
        let Some((key, value)) = pairs.iter().find(|(key, _)| is_access(key)) else { return Access::Copy };
        if self.is_null(*value) {
            return Access::Copy;
        }
        let (key, mark) = (self.mark(*key), self.mark(*value));
        if matches!(&self.tree.node(*value).value, Value::Scalar { text, .. } if text == "reference") {
            self.found.error("comes-later", mark, crate::later::message("access: reference")).help(
                "write `access: mount` for data on this machine that is too large to copy; docs/pipeline.md says what \
                 this version can do",
            );
            return Access::Copy;
        }
        let access = self.choice(*value, "`access`", ACCESSES).unwrap_or_default();
        let is_pattern =
            path.is_some_and(|path| self.files.kind(path).is_none() && prunella_model::pattern_root(path).is_some());
        if access == Access::Mount && is_pattern {
            self.found
                .error(
                    "contradiction",
                    key,
                    "a pattern is a choice of files, and only a whole file or folder can be mounted",
                )
                .help("name the folder, or leave `access` out: then what matches is copied");
        }
        access
    }
}
