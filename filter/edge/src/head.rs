//! The headers that the judgement looks at, as bytes: none of them need be text.

/// What a request's headers say.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) signature: Field<'a>,
    content_type: Field<'a>,
    content_encoding: Field<'a>,
    content_length: Field<'a>,
    request_id: Field<'a>,
    traceparent: Field<'a>,
}

/// A header that may be there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Absent,
    Once(&'a [u8]),
    Several,
}

/// What the headers say about the body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Nothing,
    Bytes(u64),
    Nonsense,
}

impl<'a> Head<'a> {
    /// Reads all headers, names in lower case.
    pub fn read(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut head = Self {
            method: b"",
            path: b"",
            signature: Field::Absent,
            content_type: Field::Absent,
            content_encoding: Field::Absent,
            content_length: Field::Absent,
            request_id: Field::Absent,
            traceparent: Field::Absent,
        };
        for (name, value) in headers {
            match name {
                ":method" => head.method = value,
                ":path" => head.path = value,
                crate::signature::SIGNATURE_HEADER => head.signature.add(value),
                "content-type" => head.content_type.add(value),
                "content-encoding" => head.content_encoding.add(value),
                "content-length" => head.content_length.add(value),
                "x-request-id" => head.request_id.add(value),
                "traceparent" => head.traceparent.add(value),
                _ => {}
            }
        }
        head
    }

    /// JSON, once, with any parameters; not encoded.
    pub(super) fn is_plain_json(&self) -> bool {
        let json = match self.content_type {
            Field::Once(value) => {
                let essence = value.split(|b| *b == b';').next().unwrap_or_default();
                essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
            }
            Field::Absent | Field::Several => false,
        };
        let plain = match self.content_encoding {
            Field::Absent => true,
            Field::Once(value) => value.eq_ignore_ascii_case(b"identity"),
            Field::Several => false,
        };
        json && plain
    }

    pub(super) fn declared(&self) -> Declared {
        match self.content_length {
            Field::Absent => Declared::Nothing,
            Field::Several => Declared::Nonsense,
            Field::Once(value) if value.is_empty() || !value.iter().all(u8::is_ascii_digit) => {
                Declared::Nonsense
            }
            Field::Once(value) => core::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or(Declared::Nonsense, Declared::Bytes),
        }
    }

    pub(super) fn request_id(&self) -> String {
        self.request_id.short_text()
    }

    pub(super) fn traceparent(&self) -> String {
        self.traceparent.short_text()
    }
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Several => Self::Several,
        };
    }

    /// The value if it is short, visible ASCII: good for a log line. Else nothing.
    fn short_text(self) -> String {
        match self {
            Self::Once(value)
                if value.len() <= MAX_ID && value.iter().all(u8::is_ascii_graphic) =>
            {
                String::from_utf8_lossy(value).into_owned()
            }
            _ => String::new(),
        }
    }
}

/// Twice a UUID, and more than a trace context has.
const MAX_ID: usize = 128;
