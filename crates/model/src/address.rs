//! How people name a step, or one item of a step that fans out: `train`, `train:fold=2`.

use std::{fmt, str::FromStr};

use crate::{NameError, StepId, StepName};

/// A step as people write it: its name and, for one item, `:` and the item's label or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepAddress {
    /// The name in the pipeline file.
    pub name: StepName,
    /// The label of an item ([`crate::Item::label`]), or as much of it as no other item's begins with.
    pub item: Option<String>,
}

impl StepAddress {
    /// Returns whether the address is this step's, its label written out.
    pub fn is_of(&self, id: &StepId) -> bool {
        self.name == id.name && self.item == id.item.as_ref().map(crate::Item::label)
    }
}

impl FromStr for StepAddress {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, item) = text.split_once(':').map_or((text, None), |(name, item)| (name, Some(item.to_owned())));
        Ok(Self { name: name.parse()?, item })
    }
}

impl From<StepName> for StepAddress {
    fn from(name: StepName) -> Self {
        Self { name, item: None }
    }
}

impl fmt::Display for StepAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            None => fmt::Display::fmt(&self.name, f),
            Some(item) => write!(f, "{}:{item}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Json};

    #[test]
    fn an_address_is_a_name_and_perhaps_a_label() {
        let address: StepAddress = "train:depth=3,lr=0.1".parse().expect("an address");
        assert_eq!((address.name.as_str(), address.item.as_deref()), ("train", Some("depth=3,lr=0.1")));
        let item = Item::of(&Json::parse(r#"{"lr":0.1,"depth":3}"#).expect("JSON"));
        let id = StepId::of_item(address.name.clone(), item);
        assert!(address.is_of(&id));
        assert_eq!(address.to_string(), id.to_string());
        assert_eq!("split".parse::<StepAddress>().expect("an address").item, None);
        assert!("Split:x".parse::<StepAddress>().is_err());
    }
}
