//! Where the queue is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lapin::uri::AMQPUri;

/// Where the queue is, from `QUEUE_URL`.
///
/// Neither `Debug` nor `Display` shows the user or the password.
#[derive(Clone, PartialEq, Eq)]
pub enum QueueUrl {
    /// A SQLite file (`sqlite://data/queue.db`, `sqlite:///var/lib/rollcall/queue.db`).
    Embedded(PathBuf),
    /// A broker (`amqp://` or `amqps://`). Secret: it usually holds a password.
    Rabbit(String),
}

/// The text is no address of a queue. Does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not one of sqlite://path/to/queue.db, amqp://user:password@host:port/vhost, amqps://…")]
pub struct InvalidQueueUrl;

impl QueueUrl {
    /// Whether the queue is a file on this machine.
    pub fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }
}

impl FromStr for QueueUrl {
    type Err = InvalidQueueUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            let plain = !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '\0']);
            return plain.then(|| Self::Embedded(PathBuf::from(path))).ok_or(InvalidQueueUrl);
        }
        if !text.starts_with("amqp://") && !text.starts_with("amqps://") {
            return Err(InvalidQueueUrl);
        }
        // lapin's message repeats the whole text, so it is dropped.
        text.parse::<AMQPUri>().map_err(|_| InvalidQueueUrl)?;
        Ok(Self::Rabbit(text.to_owned()))
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "sqlite://{}", path.display()),
            Self::Rabbit(url) => match url.parse::<AMQPUri>() {
                Ok(uri) => {
                    write!(f, "{}://{}:{}/", uri.scheme, uri.authority.host, uri.authority.port)?;
                    f.write_str(if uri.vhost == "/" { "" } else { &uri.vhost })
                }
                Err(_) => f.write_str("amqp://"),
            },
        }
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_a_broker_are_told_apart() {
        let file: QueueUrl = "sqlite://data/queue.db".parse().unwrap();
        assert_eq!(file, QueueUrl::Embedded("data/queue.db".into()));
        assert!(file.is_embedded());
        assert_eq!(file.to_string(), "sqlite://data/queue.db");
        let absolute: QueueUrl = "sqlite:///var/lib/queue.db".parse().unwrap();
        assert_eq!(absolute, QueueUrl::Embedded("/var/lib/queue.db".into()));
        assert!(!"amqp://localhost".parse::<QueueUrl>().unwrap().is_embedded());
    }

    #[test]
    fn credentials_are_never_shown() {
        for text in ["amqp://ada:s3cret@broker:5673/prod", "amqps://ada:s3cret@broker"] {
            let url: QueueUrl = text.parse().unwrap();
            for shown in [format!("{url}"), format!("{url:?}")] {
                assert!(!shown.contains("s3cret") && !shown.contains("ada"), "{shown}");
                assert!(shown.contains("broker"), "{shown}");
            }
        }
        let refused = "amqp://ada:s3cret@host:notaport/".parse::<QueueUrl>().unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_neither_is_refused_with_the_accepted_forms() {
        for text in ["", "sqlite://", "sqlite://data/", "sqlite:queue.db", "queue.db", "http://x", "amqp:"] {
            let refused = text.parse::<QueueUrl>().unwrap_err().to_string();
            assert!(refused.contains("sqlite://") && refused.contains("amqps://"), "{text}");
        }
    }
}
