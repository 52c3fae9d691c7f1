//! Values that are never shown, and the files they may come from.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use crate::SettingError;

/// Longer than any key or URL, short enough that a wrong path cannot fill the memory.
const LONGEST_FILE: u64 = 64 * 1024;

/// A value that `Debug` and `Display` show as `***`. Only [`Secret::expose`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secret called `name`: `value` as clap found it (flag or environment), else the content of the file
/// that the environment names as `<name>_FILE`, without the line end at its end.
///
/// Empty and absent mean the same, so that `NAME=` in a compose file is "not set". The file is read at each
/// call and never again: a changed secret takes effect at the next start.
///
/// # Errors
///
/// Both given, or a file that cannot be read, is empty, or is not text of at most 64 KiB. No message holds the value.
pub fn resolve(name: &str, value: Option<String>) -> Result<Option<Secret>, SettingError> {
    resolve_from(name, value, std::env::var_os(format!("{name}_FILE")))
}

/// As [`resolve`], for what clap wants as plain text and shows to nobody, such as a URL with a password.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_text(name: &str, value: Option<String>) -> Result<Option<String>, SettingError> {
    Ok(resolve(name, value)?.map(|secret| secret.0))
}

fn resolve_from(
    name: &str,
    value: Option<String>,
    file: Option<OsString>,
) -> Result<Option<Secret>, SettingError> {
    let value = value.filter(|value| !value.is_empty());
    let file = file.filter(|file| !file.is_empty());
    match (value, file) {
        (Some(_), Some(_)) => Err(SettingError::GivenTwice { name: name.to_owned() }),
        (Some(value), None) => Ok(Some(Secret(value))),
        (None, Some(file)) => read(name, PathBuf::from(file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(name: &str, path: PathBuf) -> Result<Secret, SettingError> {
    let failed =
        |path: &PathBuf, source| SettingError::File { name: name.to_owned(), path: path.clone(), source };
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(|error| failed(&path, error))?;
    let read = file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(|error| failed(&path, error))?;
    if read as u64 > LONGEST_FILE {
        return Err(failed(&path, std::io::ErrorKind::FileTooLarge.into()));
    }
    let trimmed = text.trim_end_matches(['\r', '\n']);
    if trimmed.trim().is_empty() {
        return Err(SettingError::EmptyFile { name: name.to_owned(), path });
    }
    Ok(Secret(trimmed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempFile(PathBuf);

    impl TempFile {
        fn holding(label: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("rollcall-secret-{label}-{}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn resolve(&self, value: Option<&str>) -> Result<Option<Secret>, SettingError> {
            resolve_from("A_SECRET", value.map(str::to_owned), Some(self.0.clone().into()))
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).ok();
        }
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_file_gives_its_content_without_the_line_end() {
        for (label, content) in
            [("plain", "  s3cret\tx"), ("unix", "  s3cret\tx\n"), ("dos", "  s3cret\tx\r\n")]
        {
            let file = TempFile::holding(label, content.as_bytes());
            assert_eq!(file.resolve(None).unwrap().unwrap().expose(), "  s3cret\tx");
        }
    }

    #[test]
    fn a_value_and_a_file_at_once_are_refused() {
        let file = TempFile::holding("both", b"from the file");
        let message = file.resolve(Some("from the flag")).unwrap_err().to_string();
        assert_eq!(message, "A_SECRET and A_SECRET_FILE are both set; accepted: one of the two");
        assert_eq!(file.resolve(Some("")).unwrap().unwrap().expose(), "from the file");
    }

    #[test]
    fn nothing_and_empty_are_both_not_set() {
        assert_eq!(resolve_from("A_SECRET", None, None).unwrap(), None);
        assert_eq!(resolve_from("A_SECRET", Some(String::new()), Some(OsString::new())).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_missing_empty_too_long_or_not_text_is_named_and_its_content_is_not() {
        let files = [
            TempFile::holding("empty", b""),
            TempFile::holding("blank", b" \n\n"),
            TempFile::holding("binary", b"hunter2\xff"),
            TempFile::holding("long", &b"hunter2".repeat(10_000)),
        ];
        for file in &files {
            let message = file.resolve(None).unwrap_err().to_string();
            assert!(message.starts_with("A_SECRET_FILE: ") && !message.contains("hunter2"), "{message}");
        }
        let missing = resolve_from("A_SECRET", None, Some("/nonexistent/secret".into())).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/secret"));
    }
}
