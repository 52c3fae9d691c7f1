//! What a sender sends, right or bent out of shape.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_event::clock;
use rollcall_signature::{HeaderFamily, Key, signed_headers};

pub(crate) const PATH: &str = "/webhooks/scalekit";

/// The key the bed's ingress knows.
pub(crate) fn key() -> Key {
    Key::generate([7; 32])
}

/// A key it does not know.
pub(crate) fn other_key() -> Key {
    Key::generate([8; 32])
}

/// One delivery, to be bent out of shape. Header values are bytes.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Delivery {
    /// Rightly signed, now.
    pub(crate) fn signed(id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed_by(&key(), HeaderFamily::Webhook, id, clock::now(), body)
    }

    /// Rightly signed, that long ago.
    pub(crate) fn aged(id: &str, seconds: i64, body: impl Into<Vec<u8>>) -> Self {
        let at = clock::now() - TimeDelta::seconds(seconds);
        Self::signed_by(&key(), HeaderFamily::Webhook, id, at, body)
    }

    pub(crate) fn signed_by(
        key: &Key,
        family: HeaderFamily,
        id: &str,
        at: DateTime<Utc>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let body = body.into();
        let signed = signed_headers(key, family, id, at, &body);
        let headers = signed.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec();
        Self { headers, body }
    }

    /// An ordinary one about an ordinary change.
    pub(crate) fn ordinary(id: &str) -> Self {
        Self::signed(id, event(id, "organization.directory.user_updated"))
    }

    /// With one of its headers changed; `header` is the part after the family's prefix, or a whole name.
    pub(crate) fn with(mut self, header: &str, value: impl Into<Vec<u8>>) -> Self {
        let place = self.place(header);
        self.headers[place].1 = value.into();
        self
    }

    /// With one header more.
    pub(crate) fn plus(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With one header less.
    pub(crate) fn without(mut self, header: &str) -> Self {
        let place = self.place(header);
        self.headers.remove(place);
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn value(&self, header: &str) -> String {
        String::from_utf8_lossy(&self.headers[self.place(header)].1).into_owned()
    }

    fn place(&self, header: &str) -> usize {
        self.headers
            .iter()
            .position(|(name, _)| name.ends_with(header))
            .expect("the delivery has that header")
    }

    /// As an ordinary client sends it.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut request = self.head(&format!("POST {PATH} HTTP/1.1"));
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        request.extend_from_slice(&self.body);
        request
    }

    /// The request up to where its framing begins, with this first line.
    pub(crate) fn head(&self, first_line: &str) -> Vec<u8> {
        let mut head =
            format!("{first_line}\r\nHost: door.example\r\nContent-Type: application/json\r\n").into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head
    }
}

/// A body of the vendor's shape.
pub(crate) fn event(id: &str, kind: &str) -> String {
    format!(
        r#"{{"spec_version":"1","id":"evt_{id}","type":"{kind}","occurred_at":"2026-09-01T08:00:00.123456Z","environment_id":"env_1","organization_id":"org_1","object":"DirectoryUser","data":{{"id":"diruser_1","organization_id":"org_1","email":"ada@northwind.example"}}}}"#
    )
}
