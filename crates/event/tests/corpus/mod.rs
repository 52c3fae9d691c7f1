//! The bodies under `fixtures/`, and JSON compared by what it says rather than by how it is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::value::RawValue;

/// The table beside the bodies of a folder.
pub(crate) const TABLE: &str = "expected.json";

/// One body of the corpus.
pub(crate) struct Fixture {
    /// `folder/file`, for messages.
    pub(crate) name: String,
    /// The file, byte for byte.
    pub(crate) body: Bytes,
}

/// The folder `fixtures/`.
pub(crate) fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures"].iter().collect()
}

/// The names of the folders, sorted.
pub(crate) fn folders() -> Vec<String> {
    let entries = fs::read_dir(root()).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The bodies of one folder, sorted by name; everything in it but the table.
pub(crate) fn fixtures(folder: &str) -> Vec<Fixture> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap);
    let mut found: Vec<Fixture> = entries
        .filter(|entry| entry.file_name() != TABLE)
        .map(|entry| Fixture {
            name: format!("{folder}/{}", entry.file_name().into_string().unwrap()),
            body: fs::read(entry.path()).unwrap().into(),
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The same JSON with sorted keys, no white space and no needless escapes; numbers stay as written.
pub(crate) fn canonical(json: &str) -> String {
    match json.trim_start().as_bytes()[0] {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
            let fields = fields.into_iter().map(|(key, value)| {
                format!("{}:{}", serde_json::to_string(&key).unwrap(), canonical(value.get()))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            let items: Vec<_> = items.into_iter().map(|item| canonical(item.get())).collect();
            format!("[{}]", items.join(","))
        }
        b'"' => serde_json::to_string(&serde_json::from_str::<String>(json).unwrap()).unwrap(),
        _ => json.trim().to_owned(),
    }
}
