//! Where a field stands in a RON file: line and column, for faults that are found after the file was parsed.

/// The line and column (from 1, in characters) of the field of this path, such as `splits.report.from`; the beginning of the file where there is none.
///
/// Each name is looked for behind the one before it, outside strings and comments. That finds a field of structs in structs, which is all that a card has
/// faults in; elements of lists have no names.
pub(super) fn locate(text: &str, field: &str) -> (usize, usize) {
    let mut wanted = field.split('.').peekable();
    let (mut line, mut column) = (1, 1);
    let mut found = (1, 1);
    let mut rest = text;
    while let Some(name) = wanted.peek() {
        if rest.is_empty() {
            return found;
        }
        let (token, is_name) = token(rest);
        let (this, after) = rest.split_at(token);
        if is_name && this == *name && after.trim_start().starts_with(':') {
            found = (line, column);
            wanted.next();
        }
        for character in this.chars() {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        rest = after;
    }
    found
}

/// The bytes of the first token of `text`, and whether it is a name.
fn token(text: &str) -> (usize, bool) {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    if text.starts_with("//") {
        (text.find('\n').unwrap_or(text.len()), false)
    } else if text.starts_with("/*") {
        (text.find("*/").map_or(text.len(), |end| end + 2), false)
    } else if let Some(string) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = string.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        (end.map_or(text.len(), |(index, _)| index + 2), false)
    } else if text.starts_with(is_part) {
        (text.find(|c| !is_part(c)).unwrap_or(text.len()), true)
    } else {
        (first, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_outside_strings_and_comments() {
        let text = "Model(\n    // name: no\n    source: \"name: \\\" no\", /* name: no */ name: \"x\",\n    splits: (train: (from: 0), report: (from: 1)),\n)";
        assert_eq!(locate(text, "name"), (3, 43));
        assert_eq!(locate(text, "splits.report.from"), (4, 41));
        assert_eq!(locate(text, "splits.none"), (4, 5));
        assert_eq!(locate(text, "none"), (1, 1));
        assert_eq!(locate("\"", "a"), (1, 1));
    }
}
