#![allow(clippy::unwrap_used, reason = "test code")]

use super::*;

fn id(number: u32) -> ObjectId {
    ObjectId::from_hex(format!("{number:040x}").as_bytes()).unwrap()
}

/// A tip whose one large folder has another id than any before.
fn tip(index: &mut Index, number: u32) {
    let large = Folder {
        manifests: (0..10_000)
            .map(|n| (BString::from(n.to_string()), id(n), Arc::from(Vec::new())))
            .collect(),
        count: 10_000,
        ..Folder::default()
    };
    let large = Arc::new(large);
    let root = Folder {
        folders: vec![(BString::from("apps"), id(2 * number), Arc::clone(&large))],
        ..Folder::default()
    };
    index.weight += large.weight() + root.weight();
    index.folders.insert(id(2 * number), large);
    index.folders.insert(id(2 * number + 1), Arc::new(root));
    index.used(id(2 * number + 1));
}

#[test]
fn folders_of_earlier_tips_are_forgotten() {
    let mut index = Index::default();
    for number in 0..1000 {
        tip(&mut index, number);
        let (folders, weight) = index.sizes();
        assert!(folders <= 24 && weight <= 100_000, "{number}: {folders} {weight}");
    }
    assert!(index.folders.contains_key(&id(1999)) && index.folders.contains_key(&id(1998)));
}

#[test]
fn what_was_overlooked_is_counted_in_words() {
    let overlooked = Overlooked { links: 300, submodules: 1, huge: 2, deep: 0 };
    assert_eq!(
        overlooked.to_string(),
        "300 symbolic links, 1 submodule, 2 files of more than 16 MiB"
    );
    assert!(Overlooked::default().is_empty() && !overlooked.is_empty());
}
