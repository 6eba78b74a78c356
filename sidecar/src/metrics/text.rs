//! The classic text format of Prometheus.

/// OpenMetrics text → the classic format: a counter's family carries the `_total` of its samples.
pub(super) fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        match (help, lines.peek()) {
            (Some((name, words)), Some(next)) if **next == format!("# TYPE {name} counter") => {
                text.push_str(&format!(
                    "# HELP {name}_total {words}\n# TYPE {name}_total counter\n"
                ));
                lines.next();
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}
