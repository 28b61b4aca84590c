//! `advise`: whether a network without a server is the right choice for a case, and what is the alternative.
//!
//! **Invariants:** the answer never changes from yes to no when nodes are added, when machines come and go
//! more often, or when more latency is acceptable; it is never yes below [`NODES_FEW`] nodes or with
//! transactions.

use crate::plan::{Need, Plan};

/// Below this number of nodes, a server with a replica serves all of them and is simpler to run. A rule of
/// thumb: the advantage of Potluck begins where one uplink no longer serves all nodes.
pub const NODES_FEW: u64 = 100;
/// From this number of nodes on, a network of peers is a common choice.
pub const NODES_MANY: u64 = 1_000;
/// A machine that stays longer counts as a server.
const STABLE_SECONDS: f64 = 30.0 * 86_400.0;
/// A machine that stays for less time counts as one that comes and goes.
const CHURN_SECONDS: f64 = 86_400.0;
/// A read in a network of peers takes several round trips, so no answer can be promised within this time.
pub const LATENCY_MIN_SECONDS: f64 = 0.1;

/// The purpose of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Small values under names: configuration, presence, flags, results.
    Records,
    /// The same bytes to many machines.
    Files,
    /// Messages to many machines.
    Messages,
    /// Orders, money, stock.
    Payments,
    /// Positions and moves of players.
    Game,
    /// Readings of sensors.
    Sensors,
    /// Pages, accounts, forms.
    WebApp,
}

/// A case to decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Its purpose.
    pub purpose: Purpose,
    /// The number of machines.
    pub nodes: u64,
    /// How long a machine stays, on average.
    pub session_seconds: f64,
    /// Whether every reader must see the last write at once.
    pub strong: bool,
    /// Whether several values must change together or not at all.
    pub transactions: bool,
    /// The time within which every answer must arrive.
    pub latency_seconds: f64,
    /// Whether the machines run on batteries.
    pub battery: bool,
    /// Whether the machines belong to strangers.
    pub strangers: bool,
    /// People that run it besides other work.
    pub team: u64,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Another solution.
    No,
    /// Both work; the reasons say what decides.
    Either,
    /// Potluck.
    Yes,
}

impl Answer {
    /// The answer as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Either => "either",
            Self::Yes => "yes",
        }
    }
}

/// A reason for or against: one word for programs, and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One word.
    pub code: &'static str,
    /// Whether it is in favour of Potluck.
    pub speaks_for: bool,
    /// The sentence.
    pub text: String,
}

/// Advice for a [`Case`].
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The answer.
    pub answer: Answer,
    /// The recommended solution.
    pub instead: &'static str,
    /// The reasons; the decisive ones first.
    pub reasons: Vec<Reason>,
    /// The figures of the same case by the models of [`plan`](crate::plan).
    pub plan: Plan,
}

const DATABASE: &str = "one database with replicas (such as PostgreSQL); a transaction holds on it or fails as a whole";
const STORE: &str = "one database with replicas (such as PostgreSQL), and a Redis cluster before it for what is \
                     read most";
const CONSENSUS: &str =
    "a database, or a store with consensus (such as etcd) on three or five servers";
const CACHE: &str = "a Redis cluster beside its readers";
const GAME: &str = "a game server, and WebSockets to the players";
const BROKER: &str = "an MQTT broker: a sensor sleeps between two readings and keeps no neighbours";
const ORIGIN: &str = "an object store with a CDN, or one web server with a cache";
const BUS: &str = "one message broker (such as NATS or MQTT)";

/// A reason that decides alone, and the recommended solution.
fn refusal(case: &Case) -> Option<(Reason, &'static str)> {
    let no = |code, text: &str| Reason { code, speaks_for: false, text: text.to_owned() };
    if case.purpose == Purpose::Payments {
        let text = "Money needs transactions and one order of all writes; Potluck has neither.";
        return Some((no("payments", text), DATABASE));
    }
    if case.transactions {
        let text = "Potluck changes one record at a time: nothing makes two changes happen together or \
                    not at all.";
        return Some((no("transactions", text), DATABASE));
    }
    if case.purpose == Purpose::Game {
        let text = "Players need the same world within tens of milliseconds, and one judge of what happened.";
        return Some((no("game", text), GAME));
    }
    if case.purpose == Purpose::Sensors || case.battery {
        let text = "A node answers its neighbours all the time, which empties a battery.";
        return Some((no("power", text), BROKER));
    }
    if case.strong {
        let text = "Writes succeed on both sides of a split, so a reader may see an older value, or two \
                    values to merge.";
        return Some((no("consistency", text), CONSENSUS));
    }
    if case.latency_seconds < LATENCY_MIN_SECONDS {
        let text = "A read takes several round trips between machines; no answer is promised within 100 ms.";
        return Some((no("latency", text), CACHE));
    }
    if case.purpose == Purpose::WebApp {
        let text = "Pages and accounts need queries, indexes and constraints, which a store of names has not.";
        return Some((no("web-app", text), STORE));
    }
    None
}

const fn usual(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Files => ORIGIN,
        Purpose::Messages => BUS,
        Purpose::Sensors => BROKER,
        Purpose::Game => GAME,
        Purpose::Payments => DATABASE,
        Purpose::Records | Purpose::WebApp => STORE,
    }
}

/// Points for a network of peers, with their reasons.
fn points(case: &Case) -> (u32, Vec<Reason>) {
    let mut reasons = Vec::new();
    let mut add = |points: u32, code, text: String| {
        reasons.push(Reason { code, speaks_for: points > 0, text });
        points
    };
    let mut sum = match case.nodes {
        0..NODES_FEW => add(
            0,
            "few-nodes",
            format!(
                "{} machines are served by one server and its replica; below about {NODES_FEW} a network \
                 of peers costs more than it gives.",
                case.nodes
            ),
        ),
        NODES_FEW..NODES_MANY => {
            add(1, "some-nodes", format!("{} machines share the load of each other.", case.nodes))
        }
        _ => add(
            2,
            "many-nodes",
            format!("{} machines are more than a server wants to serve at once.", case.nodes),
        ),
    };
    sum += if case.session_seconds < CHURN_SECONDS {
        let text = "Machines come and go within a day: a network that repairs itself needs no list of them.";
        add(2, "churn", text.into())
    } else if case.session_seconds < STABLE_SECONDS {
        add(
            1,
            "some-churn",
            "Machines are replaced within weeks, and nobody needs to be told.".into(),
        )
    } else {
        let text = "The machines stay for months, so a fixed list of servers is no burden.";
        add(0, "stable", text.into())
    };
    if case.purpose == Purpose::Files {
        let text = "Each machine that has a piece serves it, so more readers make it no slower.";
        sum += add(2, "files", text.into());
    }
    if case.team == 0 && case.nodes >= NODES_FEW {
        add(1, "no-operator", "There is no server that somebody would have to run.".into());
    }
    (sum, reasons)
}

impl Case {
    /// The answer for this case.
    #[must_use]
    pub fn advise(&self) -> Advice {
        let need = Need {
            users: self.nodes.max(2) as f64,
            session_seconds: self.session_seconds.clamp(10.0, 1e9),
            file_bytes: 0.0,
            ..Need::default()
        };
        let plan = need.plan();
        let (sum, mut reasons) = points(self);
        if let Some((reason, instead)) = refusal(self) {
            reasons.retain(|it| !it.speaks_for);
            reasons.insert(0, reason);
            return Advice { answer: Answer::No, instead, reasons, plan };
        }
        let few = self.nodes < NODES_FEW;
        let answer = match sum {
            3.. if !few => Answer::Yes,
            // With few machines that come and go, or that share files with each other, a trial costs little.
            2.. => Answer::Either,
            _ => Answer::No,
        };
        let stable = self.session_seconds >= STABLE_SECONDS;
        let answer = if few && stable { Answer::No } else { answer };
        reasons.sort_by_key(|reason| reason.speaks_for == (answer == Answer::No));
        let instead = if answer == Answer::Yes { "" } else { usual(self.purpose) };
        Advice { answer, instead, reasons, plan }
    }

    /// How to configure Potluck for this case, in words for people.
    #[must_use]
    pub fn setup(&self) -> String {
        let admission = if self.strangers {
            "an open network (own, team and content records; nobody is trusted)"
        } else {
            "an invite network (potluck up on the first machine, tickets for the others)"
        };
        let members = if self.nodes <= 10_000 {
            "every member knows all members"
        } else {
            "members know a part of the network ([gossip] mode = \"open\")"
        };
        format!("{admission}; {members}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Stream;

    const DAY: f64 = 86_400.0;

    const fn case(purpose: Purpose, nodes: u64, session_seconds: f64) -> Case {
        Case {
            purpose,
            nodes,
            session_seconds,
            strong: false,
            transactions: false,
            latency_seconds: 1.0,
            battery: false,
            strangers: false,
            team: 1,
        }
    }

    #[test]
    fn cases_of_the_mission_are_decided_as_it_says() {
        let no = |case: Case, word: &str| {
            let advice = case.advise();
            assert_eq!(advice.answer, Answer::No, "{case:?}");
            assert!(advice.instead.contains(word), "{case:?}: {}", advice.instead);
            assert!(!advice.reasons[0].speaks_for, "{:?}", advice.reasons);
        };
        no(case(Purpose::Payments, 5_000, 0.1 * DAY), "database");
        no(Case { transactions: true, ..case(Purpose::Records, 5_000, 0.1 * DAY) }, "database");
        no(case(Purpose::Game, 10_000, 0.1 * DAY), "WebSockets");
        no(case(Purpose::Sensors, 10_000, DAY), "MQTT");
        no(Case { battery: true, ..case(Purpose::Records, 10_000, DAY) }, "MQTT");
        no(case(Purpose::WebApp, 10, 365.0 * DAY), "PostgreSQL");
        no(Case { latency_seconds: 0.05, ..case(Purpose::Records, 9_000, DAY) }, "Redis");
        no(Case { strong: true, ..case(Purpose::Records, 9_000, DAY) }, "consensus");
        no(case(Purpose::Records, 99, 365.0 * DAY), "database");
        no(case(Purpose::Files, 50, 365.0 * DAY), "CDN");
        for yes in [
            case(Purpose::Files, 5_000, 0.4 * DAY),
            case(Purpose::Records, 2_000, 0.4 * DAY),
            case(Purpose::Messages, 2_000, 0.4 * DAY),
        ] {
            let advice = yes.advise();
            assert_eq!((advice.answer, advice.instead), (Answer::Yes, ""), "{yes:?}");
            assert!(advice.reasons[0].speaks_for, "{:?}", advice.reasons);
        }
    }

    #[test]
    fn more_nodes_more_churn_and_more_patience_never_speak_against() {
        let mut draws = Stream::new(1, 0x6164_7669_7365);
        let purposes = [
            Purpose::Records,
            Purpose::Files,
            Purpose::Messages,
            Purpose::Payments,
            Purpose::Game,
            Purpose::Sensors,
            Purpose::WebApp,
        ];
        let mut yes = 0;
        for _ in 0..1_000 {
            let one = Case {
                purpose: purposes[draws.below(purposes.len())],
                nodes: (10.0f64).powf(draws.unit() * 6.0) as u64,
                session_seconds: (10.0f64).powf(2.0 + draws.unit() * 6.0),
                strong: draws.unit() < 0.2,
                transactions: draws.unit() < 0.2,
                latency_seconds: (10.0f64).powf(draws.unit() * 3.0 - 2.0),
                battery: draws.unit() < 0.1,
                strangers: draws.unit() < 0.5,
                team: draws.below(4) as u64,
            };
            let answer = one.advise().answer;
            for more in [
                Case { nodes: one.nodes * 3, ..one },
                Case { session_seconds: one.session_seconds / 5.0, ..one },
                Case { latency_seconds: one.latency_seconds * 4.0, ..one },
            ] {
                assert!(more.advise().answer >= answer, "{one:?} {more:?}");
            }
            let stable = one.session_seconds >= STABLE_SECONDS;
            if one.transactions || (one.nodes < NODES_FEW && stable) {
                assert_eq!(answer, Answer::No, "{one:?}");
            }
            if one.nodes < NODES_FEW {
                assert_ne!(answer, Answer::Yes, "{one:?}");
            }
            yes += u32::from(answer == Answer::Yes);
        }
        assert!(yes > 50, "the cases reach a yes: {yes}");
    }
}
