//! Errors of operations on membership.

use potluck_link::RevocationError;

/// Why an operation on membership failed. Nothing changed, unless the operation says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The network is no `invite` network.
    #[error("this network lets everybody in; tickets and revocations are for `invite` networks")]
    NotInvite,
    /// The network is an `open` network.
    #[error(
        "an open network lets in every machine that solves its puzzles, so there are no tickets and no \
         member can be put out; `potluck network show` prints the line for the next machine"
    )]
    IsOpen,
    /// The authority key is elsewhere.
    #[error(
        "this node does not hold the network's authority key; do it on the one that made the \
         network, or bring the key here with `potluck network key export` there and `import` here"
    )]
    NotIssuer,
    /// A ticket of no use or too long a life.
    #[error("a ticket is for at least one use and for at most 365 days")]
    Terms,
    /// Labels that a certificate cannot have.
    #[error("labels: at most 8, each K=V with at most 64 bytes, no name twice, 200 bytes in all")]
    Labels,
    /// The book is full.
    #[error("too many tickets or certificates are valid at once")]
    TooManyTickets,
    /// The book cannot be written.
    #[error("cannot write down what was issued: {0}")]
    Book(std::io::Error),
    /// The system gave no random bytes.
    #[error("{0}")]
    Randomness(String),
    /// The file of an authority key.
    #[error("{0}")]
    KeyFile(String),
    /// The key is another network's.
    #[error("the key is that of another network, `{0}`")]
    OtherKey(String),
    /// There is no data folder to keep a key in.
    #[error("a node that keeps everything in memory cannot keep an authority key")]
    NoFolder,
    /// Too little of an id was given: too easily it is mistyped into another's.
    #[error("`{0}` is too short for an id; give its first 8 digits or more")]
    TooShort(String),
    /// No known member has this id.
    #[error(
        "no member is known by `{0}`, and no ticket; `potluck members` and `potluck invite --list` \
         show their ids"
    )]
    Unknown(String),
    /// No known ticket has this id.
    #[error(
        "no ticket that was made here and can be used still is known by `{0}`; `potluck invite \
         --list` shows those that can"
    )]
    UnknownTicket(String),
    /// Several ids begin so.
    #[error("`{who}` is the beginning of {count} ids ({some}); give more of the one that is meant")]
    Ambiguous {
        /// The given prefix.
        who: String,
        /// The number of ids with this prefix.
        count: usize,
        /// The first of them, at more length.
        some: String,
    },
    /// The id is that of a ticket, where a member's is needed.
    #[error("`{0}` is a ticket, not a member: cancel it, DELETE /v1/invites/{0}")]
    IsTicket(String),
    /// The node itself is meant.
    #[error("this node cannot put itself out; see `potluck leave`")]
    Own,
    /// The revocation was not taken over.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// The revocation was signed and taken over, and the member is listed still.
    #[error("the member was revoked and is listed still; look at potluck members, and try again")]
    StillIn,
    /// The network has no authority that could sign settings.
    #[error(
        "this network has no authority that could sign settings for all; set it in the configuration of each \
         node and restart them (the difficulty of an open network never changes)"
    )]
    NoSettings,
    /// The authority key is elsewhere: settings are signed with it.
    #[error(
        "settings of the network are signed with its authority key, which this node does not hold; run \
         it on {}", holders(.0)
    )]
    NotSetter(Vec<potluck_base::NodeId>),
    /// The setting is refused.
    #[error(transparent)]
    Setting(#[from] potluck_node::settings::SettingRefused),
    /// The settings could not be signed or read.
    #[error(transparent)]
    Settings(#[from] potluck_wire::SettingsError),
    /// Newer settings came in between.
    #[error(
        "newer settings of the network came in between, and this change was not made; try again"
    )]
    NewerSettings,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// The nodes that hold the authority key, for a sentence.
fn holders(issuers: &[potluck_base::NodeId]) -> String {
    match issuers {
        [] => "the node that made the network".to_owned(),
        [one] => format!("the node {one}, which admitted this one"),
        more => {
            let ids: Vec<String> = more.iter().map(ToString::to_string).collect();
            format!("one of the nodes {}, which admit others", ids.join(", "))
        }
    }
}
