//! Names of objects, by upstream's rules.

use crate::sc::Refusal;
use crate::wire::schema::sc::shared::validate_resource_name;

/// The topic's name, or what is wrong with it in upstream's words.
pub fn checked_topic_name(name: String) -> Result<String, Refusal> {
    if name.is_empty() {
        return Err(Refusal::InvalidName("Name must not be empty".into()));
    }
    match validate_resource_name(&name) {
        Ok(()) => Ok(name),
        Err(error) => Err(Refusal::InvalidName(error.to_string())),
    }
}
