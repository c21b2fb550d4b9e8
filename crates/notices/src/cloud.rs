//! Which cloud this machine is in: what its firmware says, without asking any network.

use std::{fmt, path::Path};

use prunella_sys::Fs;

/// A cloud that gives notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Cloud; 3] = [Cloud::Aws, Cloud::Gcp, Cloud::Azure];

    /// Returns the name that stands in notices: `aws`, `gcp`, `azure`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cloud::Aws => "aws",
            Cloud::Gcp => "gcp",
            Cloud::Azure => "azure",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where Linux shows what the firmware says.
const DMI: &str = "/sys/class/dmi/id";
/// What every Azure machine carries; other Hyper-V machines have the same vendor and product.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// Returns the cloud that this machine's firmware names; a few small files are read, no network is asked.
pub fn detect(fs: &dyn Fs) -> Option<Cloud> {
    of_dmi(|name| {
        let bytes = fs.read(&Path::new(DMI).join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    })
}

/// Returns the cloud that these entries of the firmware name; `read` returns one by its name, such as `sys_vendor`.
pub fn of_dmi(read: impl Fn(&str) -> Option<String>) -> Option<Cloud> {
    let is = |name: &str, wanted: &str| read(name).is_some_and(|value| value == wanted);
    if is("sys_vendor", "Amazon EC2") || is("board_vendor", "Amazon EC2") {
        return Some(Cloud::Aws);
    }
    // Machines on Xen name Xen as their vendor, and Amazon only in the version of its firmware (`4.11.amazon`).
    if is("sys_vendor", "Xen") && read("bios_version").is_some_and(|version| version.ends_with(".amazon")) {
        return Some(Cloud::Aws);
    }
    if is("product_name", "Google Compute Engine") {
        return Some(Cloud::Gcp);
    }
    if is("sys_vendor", "Microsoft Corporation") && is("chassis_asset_tag", AZURE_ASSET_TAG) {
        return Some(Cloud::Azure);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(entries: &[(&str, &str)]) -> Option<Cloud> {
        of_dmi(|name| entries.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn firmware_names_the_cloud() {
        let nitro = [("sys_vendor", "Amazon EC2"), ("product_name", "m5.large"), ("board_vendor", "Amazon EC2")];
        assert_eq!(named(&nitro), Some(Cloud::Aws));
        assert_eq!(named(&[("sys_vendor", "Xen"), ("bios_version", "4.11.amazon")]), Some(Cloud::Aws));
        let google = [("sys_vendor", "Google"), ("product_name", "Google Compute Engine"), ("board_vendor", "Google")];
        assert_eq!(named(&google), Some(Cloud::Gcp));
        let microsoft = ("sys_vendor", "Microsoft Corporation");
        let azure = [microsoft, ("product_name", "Virtual Machine"), ("chassis_asset_tag", AZURE_ASSET_TAG)];
        assert_eq!(named(&azure), Some(Cloud::Azure));
    }

    #[test]
    fn machines_outside_of_clouds_are_in_none() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[("sys_vendor", "LENOVO"), ("product_name", "20XW"), ("board_vendor", "LENOVO")]), None);
        assert_eq!(named(&[("sys_vendor", "QEMU"), ("product_name", "Standard PC")]), None);
        assert_eq!(named(&[("sys_vendor", "Xen"), ("bios_version", "4.11")]), None, "a Xen of one's own");
        // Hyper-V under a desk, and a laptop of the same maker.
        assert_eq!(named(&[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")]), None);
        assert_eq!(named(&[("sys_vendor", "Google"), ("product_name", "Eve")]), None, "a Chromebook");
    }
}
