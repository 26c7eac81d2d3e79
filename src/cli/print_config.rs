//! `--print-config`: every setting of a command, its value, and where that comes from.

use serde_json::json;

use super::end::{End, Failure};
use super::output::{Manner, Results};
use super::settings::{Settings, as_toml};

/// Prints lines that a configuration file takes, the origin as a comment; or one JSON object.
pub fn run(settings: &Settings, manner: Manner) -> Result<End, Failure> {
    let mut results = Results::new();
    if manner.json {
        let values: Vec<_> = settings
            .iter()
            .map(|(key, setting)| json!({ "key": key, "value": setting.text, "origin": setting.origin.to_string() }))
            .collect();
        results.json(&json!({ "settings": values }))?;
    } else {
        for (key, setting) in settings.iter() {
            let line = format!("{key} = {}", as_toml(key, &setting.text));
            results.line(format_args!("{line:<32} # {}", setting.origin))?;
        }
    }
    results.flush()?;
    Ok(End::Done)
}
