//! What AMF0 can say.

/// Named values in the order in which they were sent; a name may occur twice.
pub type Properties = Vec<(String, Value)>;

/// One AMF0 value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double (2.2).
    Number(f64),
    /// True or false (2.3).
    Boolean(bool),
    /// Up to 65 535 bytes of text (2.4).
    String(String),
    /// An anonymous object (2.5); typed objects (2.18) are read as this, without their class.
    Object(Properties),
    /// Null (2.7).
    Null,
    /// Undefined (2.8); references (2.9) and "unsupported" (2.15) are read as this.
    Undefined,
    /// An associative array (2.10).
    EcmaArray(Properties),
    /// A dense array (2.12).
    StrictArray(Vec<Value>),
    /// A point in time (2.13).
    Date {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        millis: f64,
        /// Reserved by the specification, should be 0.
        zone: i16,
    },
    /// Text of any length (2.14); XML documents (2.17) are read as this.
    LongString(String),
}

impl Value {
    /// Short text.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// The text of either kind of string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::LongString(text) => Some(text),
            _ => None,
        }
    }

    /// The number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The named values of an object or an associative array.
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => Some(properties),
            _ => None,
        }
    }

    /// The first value called `name` in an object or an associative array.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.properties()?.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}
