//! Teams: spaces of records with a list of writers.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::PublicKey;
use potluck_kv::CommandError;
use potluck_node::ask::{Get, PutResult};
use potluck_node::{Put, WriteContext};
use potluck_record::limits::TEAM_WRITERS_MAX;
use potluck_record::{Kind, Name, Space, TeamId, TeamList};

use crate::{Error, Node, Result, Siblings};

/// Why the list of a team was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TeamError {
    /// This node does not own the team.
    #[error("only the owner {owner} changes team/{team}")]
    NotOwner {
        /// The team.
        team: TeamId,
        /// The public key of its owner.
        owner: PublicKey,
    },
    /// The list is full.
    #[error("team/{0} has {TEAM_WRITERS_MAX} writers beside its owner, which is the most")]
    Full(TeamId),
    /// The member is not on the list.
    #[error("{member} is not on the list of team/{team}")]
    NotOnList {
        /// The team.
        team: TeamId,
        /// The public key.
        member: PublicKey,
    },
    /// The owner writes in any case.
    #[error("the owner of team/{0} may write in it in any case")]
    Owner(TeamId),
}

/// The teams of the network. [`Node::teams`] returns it.
///
/// The records of a team are in [`Space::Team`]. Its owner and the writers on its list may write there. When
/// a writer is removed, the values it has written are not read any more; when it is added again, they are.
/// Other nodes use a list for up to 20 seconds before they read it again.
///
/// ```no_run
/// # async fn example(node: potluck::Node, member: potluck::PublicKey) -> potluck::Result<()> {
/// use potluck::Space;
///
/// let team = node.teams().create("crew").await?.id();
/// node.teams().add(team, member).await?;
/// node.kv().put("plan", "v1").space(Space::Team(team)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Teams(Node);

impl Teams {
    pub(crate) const fn new(node: Node) -> Self {
        Self(node)
    }

    /// Creates a team that this node owns. A team of this name that it owns already stays as it is.
    ///
    /// # Errors
    /// As a write.
    pub async fn create(&self, name: impl Into<String>) -> Result<TeamList> {
        let owner = self.0.public_key();
        let name = Name::new(name)?;
        let _one_at_a_time = self.0.list_changes().lock().await;
        let team = TeamId::of(&owner, name.as_str());
        if let Some(list) = self.read(team).await? {
            return Ok(list);
        }
        self.write(TeamList { owner, name, epoch: 1, writers: BTreeSet::new() }).await
    }

    /// The list of a team.
    ///
    /// # Errors
    /// [`CommandError::NoTeam`], or as a read.
    pub async fn get(&self, team: TeamId) -> Result<TeamList> {
        Ok(self.read(team).await?.ok_or(CommandError::NoTeam(team))?)
    }

    /// Adds a member to the list: its values are read, those written before too. Returns the new list.
    ///
    /// # Errors
    /// [`TeamError`], or as a read and a write.
    pub async fn add(&self, team: TeamId, member: PublicKey) -> Result<TeamList> {
        let _one_at_a_time = self.0.list_changes().lock().await;
        let mut list = self.own(team).await?;
        if member == list.owner {
            return Err(TeamError::Owner(team).into());
        }
        if list.writers.len() >= TEAM_WRITERS_MAX && !list.writers.contains(&member) {
            return Err(TeamError::Full(team).into());
        }
        if list.writers.insert(member) { self.write(next(list)).await } else { Ok(list) }
    }

    /// Removes a member from the list: it cannot write any more, and its values are not read. Returns the new
    /// list.
    ///
    /// # Errors
    /// [`TeamError`], or as a read and a write.
    pub async fn remove(&self, team: TeamId, member: PublicKey) -> Result<TeamList> {
        let _one_at_a_time = self.0.list_changes().lock().await;
        let mut list = self.own(team).await?;
        if member == list.owner {
            return Err(TeamError::Owner(team).into());
        }
        if !list.writers.remove(&member) {
            return Err(TeamError::NotOnList { team, member }.into());
        }
        self.write(next(list)).await
    }

    async fn read(&self, team: TeamId) -> Result<Option<TeamList>> {
        let read = self.0.ask(Get { key: team.list_key(), quorum: None }).await?.reading;
        let list = read.values.first().and_then(|it| TeamList::decode(it.writer, &it.bytes));
        Ok(list.filter(|list| list.id() == team))
    }

    /// The list of a team that this node owns.
    async fn own(&self, team: TeamId) -> Result<TeamList> {
        let list = self.get(team).await?;
        if list.owner == self.0.public_key() {
            return Ok(list);
        }
        Err(TeamError::NotOwner { team, owner: list.owner }.into())
    }

    async fn write(&self, list: TeamList) -> Result<TeamList> {
        let put = Put {
            space: Space::Writers(list.owner),
            name: Some(list.name.clone()),
            kind: Some(Kind::Lww),
            value: Some(Bytes::from(list.encode())),
            ttl: None,
            quorum: None,
            context: WriteContext::Read,
        };
        match self.0.ask(put).await? {
            PutResult::Written(_) => Ok(list),
            PutResult::Conflict(read) => Err(Error::Conflict(Siblings::of(read.reading))),
        }
    }
}

/// The list with the next epoch.
fn next(list: TeamList) -> TeamList {
    TeamList { epoch: list.epoch.saturating_add(1), ..list }
}
