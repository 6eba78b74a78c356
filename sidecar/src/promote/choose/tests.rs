#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn id(number: u8) -> PromotionId {
    PromotionId::new(at(0), [number; 10])
}

/// `host/repository`, or `-` for a place where nothing is shared.
fn place(text: &str) -> Place {
    let Some((host, repository)) = text.split_once('/') else { return Place::default() };
    Place {
        repository: Some(Arc::from(repository)),
        host: (!host.is_empty()).then(|| Arc::from(host)),
    }
}

struct Case<'a> {
    what: &'a str,
    /// Number, kind (`a` or `p`), seconds until it is due, place.
    due: &'a [(u8, char, i64, &'a str)],
    /// Number, kind, seconds since it began, place.
    running: &'a [(u8, char, i64, &'a str)],
    silent: &'a [&'a str],
    start: &'a [u8],
    next: Option<i64>,
    waiting: usize,
}

const NOTHING: Case<'_> =
    Case { what: "", due: &[], running: &[], silent: &[], start: &[], next: None, waiting: 0 };

fn kind(letter: char) -> Kind {
    if letter == 'a' { Kind::Attempt } else { Kind::Poll }
}

#[test]
fn what_starts_next() {
    let cases = [
        Case { what: "nothing is due", due: &[(1, 'a', 7, "-")], next: Some(7), ..NOTHING },
        Case {
            what: "as many as there are workers, the oldest first",
            due: &[
                (1, 'a', -9, "-"),
                (2, 'a', -8, "-"),
                (3, 'a', -7, "-"),
                (4, 'a', -6, "-"),
                (5, 'a', -5, "-"),
            ],
            start: &[1, 2, 3, 4],
            waiting: 1,
            ..NOTHING
        },
        Case {
            what: "one attempt for each repository",
            due: &[(1, 'a', -9, "h/r"), (2, 'a', -8, "h/r"), (3, 'a', -7, "h/s")],
            start: &[1, 3],
            waiting: 1,
            ..NOTHING
        },
        Case {
            what: "one task for each promotion",
            due: &[(1, 'a', -9, "-")],
            running: &[(1, 'a', 1, "-")],
            next: Some(9),
            ..NOTHING
        },
        Case {
            what: "polls take no worker, and keep out of a repository where an attempt works",
            due: &[(5, 'p', -9, "h/r"), (6, 'p', -8, "h/t"), (7, 'p', 3, "h/u")],
            running: &[(1, 'a', 1, "h/r"), (2, 'a', 1, "-"), (3, 'a', 1, "-"), (4, 'a', 1, "-")],
            start: &[6],
            next: Some(3),
            ..NOTHING
        },
        Case {
            what: "an attempt does not wait for a poll",
            due: &[(2, 'a', 0, "h/r")],
            running: &[(1, 'p', 1, "h/r")],
            start: &[2],
            ..NOTHING
        },
        Case {
            what: "a host gets half of the workers",
            due: &[
                (1, 'a', -9, "h/a"),
                (2, 'a', -8, "h/b"),
                (3, 'a', -7, "h/c"),
                (4, 'a', -6, "g/d"),
            ],
            start: &[1, 2, 4],
            waiting: 1,
            ..NOTHING
        },
        Case {
            what: "silent hosts share a quarter, so that a healthy one is served at once",
            due: &[
                (1, 'a', -9, "s/a"),
                (2, 'a', -8, "t/b"),
                (3, 'a', -7, "u/c"),
                (4, 'a', -6, "g/d"),
            ],
            silent: &["s", "t", "u"],
            start: &[1, 4],
            waiting: 2,
            ..NOTHING
        },
        Case {
            what: "silent hosts that take all workers stop counting after a while",
            due: &[(5, 'a', -9, "g/e")],
            running: &[
                (1, 'a', 11, "s/a"),
                (2, 'a', 11, "t/b"),
                (3, 'a', 11, "u/c"),
                (4, 'a', 11, "v/d"),
            ],
            start: &[5],
            ..NOTHING
        },
        Case {
            what: "and the next choice comes when they do",
            due: &[(5, 'a', -9, "g/e")],
            running: &[
                (1, 'a', 4, "s/a"),
                (2, 'a', 6, "t/b"),
                (3, 'a', 4, "u/c"),
                (4, 'a', 4, "v/d"),
            ],
            next: Some(4),
            waiting: 1,
            ..NOTHING
        },
        Case {
            what: "local repositories have no host to share",
            due: &[(1, 'a', -9, "/a"), (2, 'a', -8, "/b"), (3, 'a', -7, "/c")],
            start: &[1, 2, 3],
            ..NOTHING
        },
    ];
    for case in cases {
        let places: Vec<Place> = case.due.iter().map(|(.., text)| place(text)).collect();
        let candidates = case.due.iter().zip(&places).map(|((number, letter, due, _), place)| {
            Candidate { id: id(*number), kind: kind(*letter), due: at(*due), place }
        });
        let running: Vec<Running> = case
            .running
            .iter()
            .map(|(number, letter, since, text)| Running {
                id: id(*number),
                kind: kind(*letter),
                place: place(text),
                since: at(-since),
            })
            .collect();
        let silent = case.silent.iter().map(|host| Arc::from(*host)).collect();
        let limits = Limits { workers: 4, pollers: 4 };
        let choice = choose(candidates, &running, &silent, limits, at(0));
        let expected = Choice {
            start: case.start.iter().copied().map(id).collect(),
            next: case.next.map(at),
            waiting: case.waiting,
        };
        assert_eq!(choice, expected, "{}", case.what);
    }
}

#[test]
fn a_single_worker_is_enough_for_any_host() {
    let place = place("s/a");
    let candidate = Candidate { id: id(1), kind: Kind::Attempt, due: at(0), place: &place };
    let silent = HashSet::from([Arc::from("s")]);
    let limits = Limits { workers: 1, pollers: 1 };
    let choice = choose([candidate].into_iter(), &[], &silent, limits, at(0));
    assert_eq!(choice.start, [id(1)]);
}
