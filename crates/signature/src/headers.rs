//! Finding the three headers that carry a signature.

use crate::verify::VerifyError;

/// The two names under which senders write the same three headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFamily {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Webhook,
    /// `svix-id`, `svix-timestamp`, `svix-signature`.
    Svix,
}

impl HeaderFamily {
    /// The names of id, timestamp and signature, in lower case.
    pub fn names(self) -> [&'static str; 3] {
        match self {
            Self::Webhook => ["webhook-id", "webhook-timestamp", "webhook-signature"],
            Self::Svix => ["svix-id", "svix-timestamp", "svix-signature"],
        }
    }
}

/// The raw values of one complete set.
pub(crate) struct SignatureHeaders<'h> {
    pub(crate) id: &'h [u8],
    pub(crate) timestamp: &'h [u8],
    pub(crate) signature: &'h [u8],
}

impl<'h> SignatureHeaders<'h> {
    /// Picks the set out of all headers. A name that stands twice is refused even with equal values, and
    /// so is any header of the second family: two readers could choose differently.
    pub(crate) fn find(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Result<Self, VerifyError> {
        let mut webhook = [None; 3];
        let mut svix = [None; 3];
        for (name, value) in headers {
            for (found, family) in [(&mut webhook, HeaderFamily::Webhook), (&mut svix, HeaderFamily::Svix)] {
                let Some(place) = family.names().iter().position(|known| known.eq_ignore_ascii_case(name))
                else {
                    continue;
                };
                if found[place].replace(value).is_some() {
                    return Err(VerifyError::RepeatedHeader);
                }
            }
        }
        let found = match (webhook.iter().any(Option::is_some), svix.iter().any(Option::is_some)) {
            (true, true) => return Err(VerifyError::MixedFamilies),
            (_, false) => webhook,
            (false, true) => svix,
        };
        let [Some(id), Some(timestamp), Some(signature)] = found else {
            return Err(VerifyError::MissingHeader);
        };
        Ok(Self { id, timestamp, signature })
    }
}
