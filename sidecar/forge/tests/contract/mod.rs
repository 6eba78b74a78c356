//! Holds exchanges against what a forge publishes about its interface.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use lockgate_forge_fakes::Recorded;

/// Fails with every difference. `script` lies beside this file; `make test` brings what it needs.
/// The program is started once for all tests of a file: reading the description takes longer than
/// checking against it.
pub fn check(script: &str, exchanges: &[Recorded]) {
    static CHECKER: Mutex<Option<Checker>> = Mutex::new(None);
    assert!(!exchanges.is_empty(), "nothing was asked");
    let mut checker = CHECKER.lock().unwrap_or_else(PoisonError::into_inner);
    let differences = checker.get_or_insert_with(|| Checker::start(script)).differences(exchanges);
    drop(checker);
    assert!(differences.is_empty(), "{differences}");
}

struct Checker {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Ends with its input, which ends with the tests.
    _child: Child,
}

impl Checker {
    fn start(script: &str) -> Self {
        let run = std::env::var("LOCKGATE_CONTRACT").expect(
            "LOCKGATE_CONTRACT is not set: export LOCKGATE_CONTRACT=$(tests/setup/contract)",
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(script);
        let mut child = Command::new(run)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { input, output, _child: child }
    }

    fn differences(&mut self, exchanges: &[Recorded]) -> String {
        let lines: String =
            exchanges.iter().map(|exchange| format!("{}\n", exchange.to_json())).collect();
        writeln!(self.input, "{lines}").unwrap();
        self.input.flush().unwrap();
        let mut differences = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the checker has ended, see its error above"
            );
            if line.trim_end() == format!("{} exchanges", exchanges.len()) {
                return differences;
            }
            differences.push_str(&line);
        }
    }
}
