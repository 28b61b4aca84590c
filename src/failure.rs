//! Failures of commands: one sentence that says what to do next, and an exit code for scripts.

pub(crate) mod codes;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::api::ProblemBody;

/// The exit codes. Their numbers are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Any other failure.
    Failed = 1,
    /// Wrong usage: also a bad name, contact or configuration, or a value over the limit.
    Usage = 2,
    /// The record is absent.
    Absent = 3,
    /// Siblings have to be merged first.
    Conflict = 4,
    /// No quorum, a timeout, or too many requests.
    Unavailable = 5,
    /// Admission, permission or quota.
    Refused = 6,
    /// Bytes do not match their hash or signature.
    Verification = 7,
    /// There is no local node.
    NoNode = 8,
    /// No space left, or the store stopped.
    NoSpace = 9,
}

impl Exit {
    /// The number.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// The code with this number; an unknown number is a failure.
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            2 => Self::Usage,
            3 => Self::Absent,
            4 => Self::Conflict,
            5 => Self::Unavailable,
            6 => Self::Refused,
            7 => Self::Verification,
            8 => Self::NoNode,
            9 => Self::NoSpace,
            _ => Self::Failed,
        }
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code of the process.
    pub(crate) exit: Exit,
    /// A word for programs.
    pub(crate) code: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// Further data for programs: siblings, their context, counts.
    pub(crate) more: Map<String, Value>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, code: &str, message: impl fmt::Display) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.to_string(),
            hint: None,
            more: Map::new(),
        }
    }

    /// An exit code without a message, which was printed already.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "", "")
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// A failure that has no exit code of its own.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, "failed", message)
    }

    /// This failure with advice on what to do next.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The line for programs.
    pub(crate) fn to_json(&self) -> String {
        let mut error = self.more.clone();
        error.insert("code".into(), self.code.as_str().into());
        error.insert("exit".into(), self.exit.number().into());
        error.insert("message".into(), self.message.as_str().into());
        error.insert("hint".into(), self.hint.clone().into());
        json!({"error": error}).to_string()
    }
}

/// The failure for a problem that a node reports.
impl From<ProblemBody> for Failure {
    fn from(mut problem: ProblemBody) -> Self {
        let siblings = problem.siblings.take().map(|all| serde_json::to_value(all).ok());
        let members = [
            ("context", problem.context.take().map(Value::from)),
            ("siblings", siblings.flatten()),
            ("retryAfterSeconds", problem.retry_after_seconds.map(Value::from)),
            ("acks", problem.acks.map(Value::from)),
            ("needed", problem.needed.map(Value::from)),
            ("wanted", problem.wanted.map(Value::from)),
            ("members", problem.members.map(Value::from)),
        ];
        let more = members.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
        let more = more.collect();
        Self {
            exit: Exit::from_number(problem.exit.into()),
            code: problem.code,
            message: problem.detail,
            hint: problem.hint,
            more,
        }
    }
}

/// The sentence for people.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_exit_codes_survive_the_way_over_http() {
        for number in 1..=9 {
            assert_eq!(u64::from(Exit::from_number(number).number()), number);
        }
        assert_eq!(Exit::from_number(0), Exit::Failed);
    }

    #[test]
    fn what_a_node_tells_of_a_conflict_is_not_lost() {
        let sibling = crate::api::Sibling {
            value_base64: "c291cA==".into(),
            version: "7".into(),
            writer: "ab".into(),
            node: "cd".into(),
            at: String::new(),
            kind: "siblings".into(),
            expires_at: String::new(),
        };
        let problem = ProblemBody {
            code: "conflict".into(),
            exit: 4,
            context: Some("c".into()),
            siblings: Some(vec![sibling]),
            ..ProblemBody::default()
        };
        let told: Value = serde_json::from_str(&Failure::from(problem).to_json()).expect("JSON");
        assert_eq!((&told["error"]["context"], &told["error"]["exit"]), (&"c".into(), &4.into()));
        assert_eq!(told["error"]["siblings"][0]["valueBase64"], "c291cA==");
    }

    #[test]
    fn a_failure_is_one_line_in_both_forms() {
        let failure = Failure::usage("a name has at least one byte").hint("type one");
        assert_eq!(failure.to_string(), "a name has at least one byte; type one");
        assert_eq!(
            failure.to_json(),
            r#"{"error":{"code":"usage","exit":2,"hint":"type one","message":"a name has at least one byte"}}"#
        );
    }
}
