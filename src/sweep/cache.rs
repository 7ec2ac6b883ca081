//! What searches chose, on disk, by the hash of all that it depends on: two sweeps may share the folder, since files appear whole and never change.
//!
//! The key holds a hash of the running program: another build looks for itself. What cannot be read or written is searched again, no more.

use crate::data::sha256_hex;
use crate::mapping::Choice;
use crate::pipeline::ChoiceStore;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A larger file is none of ours.
const MAX_BYTES: u64 = 16 << 20;

/// A folder of choices.
#[derive(Debug)]
pub struct ChoiceFolder {
    path: PathBuf,
    program: String,
    /// Tells files apart that threads of this process write.
    number: AtomicU64,
}

impl ChoiceFolder {
    /// The folder at `path`, which is made when something is kept.
    pub fn new(path: &Path) -> Self {
        let program = std::env::current_exe().and_then(fs::read).map(|bytes| sha256_hex(&bytes)).unwrap_or_default();
        Self { path: path.to_owned(), program, number: AtomicU64::new(0) }
    }

    fn file(&self, key: &str) -> PathBuf {
        self.path.join(format!("{}.json", sha256_hex(format!("{}\n{key}", self.program).as_bytes())))
    }
}

impl ChoiceStore for ChoiceFolder {
    fn get(&self, key: &str) -> Option<Vec<Choice>> {
        let mut text = String::new();
        fs::File::open(self.file(key)).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn put(&self, key: &str, choices: &[Choice]) {
        // Without a hash of the program nothing is safe to keep.
        let (Ok(text), false) = (serde_json::to_string(choices), self.program.is_empty()) else { return };
        let file = self.file(key);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let other = self.path.join(format!(".{}.{number}.tmp", std::process::id()));
        let written = fs::create_dir_all(&self.path).and_then(|()| fs::write(&other, text)).and_then(|()| fs::rename(&other, &file));
        if written.is_err() {
            let _ = fs::remove_file(&other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Stationary;
    use crate::mapping::Layout;

    #[test]
    fn choices_come_back_and_what_is_damaged_is_not_there() {
        let outer = tempfile::tempdir().unwrap();
        let folder = ChoiceFolder::new(&outer.path().join("a/cache"));
        let choice = Choice { stationary: Stationary::Weight, tiling: None, layout: Layout::RowMajor };
        assert_eq!(folder.get("key"), None);
        folder.put("key", &[choice]);
        folder.put("key", &[choice]);
        assert_eq!(folder.get("key"), Some(vec![choice]));
        assert_eq!(folder.get("another"), None);
        fs::write(folder.file("key"), "[{").unwrap();
        assert_eq!(folder.get("key"), None);
        // A folder that cannot be made keeps nothing, and says nothing.
        fs::write(outer.path().join("file"), "").unwrap();
        let none = ChoiceFolder::new(&outer.path().join("file/cache"));
        none.put("key", &[choice]);
        assert_eq!(none.get("key"), None);
    }
}
