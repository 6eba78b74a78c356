//! Where each value of a document is.

/// The line of a value, and those of the values in it. A tree, like the document itself: the key of
/// a mapping is stored once, however much is below it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lines {
    line: u32,
    /// Of a list.
    items: Vec<Lines>,
    /// Of a mapping, in its order.
    keys: Vec<(Box<str>, Lines)>,
}

impl Lines {
    pub(super) fn at(line: usize) -> Self {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        Self { line, items: Vec::new(), keys: Vec::new() }
    }

    /// The lines of the next item of a list.
    pub(super) fn item(&mut self, line: usize) -> &mut Self {
        push(&mut self.items, Self::at(line))
    }

    /// The lines of the next key of a mapping.
    pub(super) fn key(&mut self, key: &str, line: usize) -> &mut Self {
        &mut push(&mut self.keys, (key.into(), Self::at(line))).1
    }

    /// The line of a path, or of its nearest ancestor. `None` if nothing of it is there.
    pub(super) fn of(&self, path: &str) -> Option<usize> {
        let mut found = None;
        let mut here = self;
        for step in steps(path) {
            let next = match step {
                Step::Item(index) => here.items.get(index),
                Step::Key(wanted) => {
                    here.keys.iter().find(|(key, _)| **key == *wanted).map(|(_, lines)| lines)
                }
            };
            let Some(next) = next else { break };
            here = next;
            found = usize::try_from(next.line).ok();
        }
        found
    }
}

enum Step {
    Key(String),
    Item(usize),
}

/// `spec.environments[1]["odd key"]` → its steps.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('[').filter(|inside| inside.starts_with('"')) {
            let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let Some(Ok(key)) = values.next() else { break };
            let end = values.byte_offset();
            steps.push(Step::Key(key));
            rest = quoted.get(end..).unwrap_or_default().trim_start_matches(']');
        } else if let Some(inside) = rest.strip_prefix('[') {
            let Some((index, after)) = inside.split_once(']') else { break };
            let Ok(index) = index.parse() else { break };
            steps.push(Step::Item(index));
            rest = after;
        } else {
            let key = rest.strip_prefix('.').unwrap_or(rest);
            let end = key.find(['.', '[']).unwrap_or(key.len());
            let (name, after) = key.split_at(end);
            if name.is_empty() {
                break;
            }
            steps.push(Step::Key(name.to_owned()));
            rest = after;
        }
    }
    steps
}

fn push<T>(list: &mut Vec<T>, item: T) -> &mut T {
    let at = list.len();
    list.push(item);
    #[expect(clippy::indexing_slicing, reason = "it was just pushed")]
    &mut list[at]
}
