//! `--config KEY=VALUE`, `--preconfig KEY=VALUE`, `--sys KEY=VALUE` and `--env KEY=VALUE`.
//!
//! Which fields there are depends on the Python version and is known where the interpreter starts; here
//! only the form is checked.

use std::collections::BTreeMap;

use pyox_schema::Value;
use pyox_schema::name::is_identifier;
use pyox_stage::{Fault, Result};

/// Reads the values of one of the first three options, each `KEY=VALUE`; a value is `true`, `false`, an integer, a JSON list of texts
/// or else text.
///
/// # Errors
///
/// If one has another form, or a key stands twice.
pub fn parse(option: &str, settings: &[String]) -> Result<BTreeMap<String, Value>> {
    read(option, settings, |key, value| {
        if is_identifier(key) {
            value_of(value)
        } else {
            Err(format!("expected the name of a field or an attribute, got `{key}`"))
        }
    })
}

/// Reads the values of `--env`, each `NAME=TEXT`.
///
/// # Errors
///
/// As above.
pub fn parse_texts(option: &str, settings: &[String]) -> Result<BTreeMap<String, String>> {
    read(option, settings, |name, text| {
        if name.is_empty() {
            Err("expected a name, got none".to_owned())
        } else {
            Ok(text.to_owned())
        }
    })
}

fn read<V>(
    option: &str,
    settings: &[String],
    value_of: impl Fn(&str, &str) -> Result<V, String>,
) -> Result<BTreeMap<String, V>> {
    let mut map = BTreeMap::new();
    for setting in settings {
        let place = || format!("{option} {setting}");
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Fault::new(place(), "expected KEY=VALUE, got no `=`"));
        };
        let value = value_of(key, value).map_err(|what| Fault::new(place(), what))?;
        if map.insert(key.to_owned(), value).is_some() {
            return Err(Fault::new(place(), "expected each key once, got it again"));
        }
    }
    Ok(map)
}

/// `true`, `false`, an integer, a JSON list of texts, or else text.
fn value_of(text: &str) -> Result<Value, String> {
    if text.starts_with('[') {
        let list: Result<Vec<String>, _> = serde_json::from_str(text);
        return list
            .map(Value::List)
            .map_err(|_| format!("expected a JSON list of texts, got `{text}`"));
    }
    Ok(match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => match text.parse() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Text(text.to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(setting: &str) -> Result<BTreeMap<String, Value>> {
        parse("--config", &[setting.to_owned()])
    }

    #[test]
    fn a_value_has_the_type_that_it_looks_like() {
        assert_eq!(one("a=true").unwrap()["a"], Value::Boolean(true));
        assert_eq!(one("a=-3").unwrap()["a"], Value::Integer(-3));
        assert_eq!(one("a=b=c").unwrap()["a"], Value::Text("b=c".to_owned()));
        assert_eq!(one("a=").unwrap()["a"], Value::Text(String::new()));
        let list = Value::List(vec!["x".to_owned(), "y".to_owned()]);
        assert_eq!(one(r#"a=["x", "y"]"#).unwrap()["a"], list);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for setting in ["a", "=1", "a-b=1", "a=[1", "a=[1]"] {
            assert!(one(setting).is_err(), "{setting}");
        }
        assert!(parse("--config", &["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
