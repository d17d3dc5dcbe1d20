//! Data messages as timed metadata: `onMetaData` holds until the next, everything else (`onTextData`, `onCuePoint`, an
//! encoder's own) is a moment.

use media::Timestamp;
use media::playlist::Field;
use wire::amf0::Value;

use crate::live::Timed;

/// Most values of one message; what is nested deeper than one object is left out.
const MOST: usize = 32;
/// Longest name that becomes part of a class.
const LONGEST: usize = 64;

/// `onMetaData`.
pub(super) fn metadata(value: &Value, at: Timestamp) -> Timed {
    Timed { at, class: class("onMetaData"), lasting: true, fields: fields(std::slice::from_ref(value)) }
}

/// Any other data message.
pub(super) fn data(name: &str, values: &[Value], at: Timestamp) -> Timed {
    Timed { at, class: class(name), lasting: false, fields: fields(values) }
}

fn class(name: &str) -> String {
    let plain = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    format!("urn:weir:rtmp:{}", plain.take(LONGEST).collect::<String>())
}

/// Objects by their names, other values by their place.
fn fields(values: &[Value]) -> Vec<(String, Field)> {
    let mut out = Vec::new();
    for (place, value) in values.iter().enumerate().take(MOST) {
        match value.properties() {
            Some(properties) => {
                let named = properties.iter().filter_map(|(name, value)| Some((name.clone(), field(value)?)));
                out.extend(named.take(MOST));
            }
            None => out.extend(field(value).map(|field| (format!("VALUE-{}", place + 1), field))),
        }
    }
    out.truncate(MOST);
    out
}

fn field(value: &Value) -> Option<Field> {
    match value {
        Value::Number(number) | Value::Date { millis: number, .. } => Some(Field::Number(*number)),
        Value::Boolean(yes) => Some(Field::Text(if *yes { "YES" } else { "NO" }.into())),
        Value::String(text) | Value::LongString(text) => Some(Field::Text(text.chars().take(256).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_values_and_others_have_a_place() {
        let object = Value::Object(vec![
            ("text".into(), Value::string("hello")),
            ("deep".into(), Value::Object(vec![])),
            ("on".into(), Value::Boolean(true)),
        ]);
        let timed = data("onText\"Data", &[object, Value::Number(2.0)], Timestamp::ZERO);
        assert_eq!(timed.class, "urn:weir:rtmp:onTextData");
        let text = |text: &str| Field::Text(text.into());
        assert_eq!(
            timed.fields,
            [
                ("text".into(), text("hello")),
                ("on".into(), text("YES")),
                ("VALUE-2".into(), Field::Number(2.0))
            ]
        );
        assert!(!timed.lasting && metadata(&Value::Null, Timestamp::ZERO).lasting);
    }
}
