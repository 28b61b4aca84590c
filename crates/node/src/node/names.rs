//! The listing of names: which members are asked.

use potluck_base::Instant;
use potluck_gossip::Mode;
use potluck_kv::{CommandId, ListNames};
use potluck_record::NamesQuery;

use super::Node;
use super::pending::Owner;

impl Node {
    /// Lists names: of all members in a fleet, dead ones excepted, whose records others hold as well; of
    /// this node alone where it knows only some of the members.
    pub(super) fn on_names(&mut self, now: Instant, id: CommandId, query: NamesQuery) {
        let view = self.gossip.members.view();
        let all_members = view.mode == Mode::Fleet;
        let here = view.members.iter().filter(|member| all_members && member.state.is_here());
        let members = here.map(|member| member.peer).collect();
        let list = ListNames { query, members, all_members };
        self.start_kv(now, Owner::Host(id), potluck_kv::Command::Names(list));
    }
    /// Lists names that this node itself holds: a local question, however many members there are.
    pub(super) fn on_names_here(&mut self, now: Instant, id: CommandId, query: NamesQuery) {
        let list = ListNames { query, members: Vec::new(), all_members: false };
        self.start_kv(now, Owner::Host(id), potluck_kv::Command::Names(list));
    }
}
