//! `/v1/members`: the members of the network, and their states.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use potluck::{MemberView, MembersView};
use potluck_base::NodeId;

use super::app::App;
use super::problem::Problem;
use super::reply::json;
use crate::api::{Member, Members, ProblemBody};

/// The members this node knows, itself included, as it judges them.
#[utoipa::path(get, path = "/v1/members",
    responses(
        (status = 200, body = Members),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn members(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let view = app.node().members().await?;
    Ok(json(&shown(&view, &app.node().node_id())))
}

fn shown(view: &MembersView, me: &NodeId) -> Members {
    Members {
        mode: view.mode.as_str().to_owned(),
        members: view.members.iter().map(|view| member(view, me)).collect(),
    }
}

fn member(view: &MemberView, me: &NodeId) -> Member {
    Member {
        id: view.peer.id.to_string(),
        address: view.peer.contact.address.to_string(),
        state: view.state.as_str().to_owned(),
        incarnation: view.incarnation,
        labels: view.labels.iter().cloned().collect(),
        version: view.software.as_ref().map(|it| it.build.clone()),
        protocol: view.software.as_ref().map(|it| it.version_max),
        protocol_min: view.software.as_ref().map(|it| it.version_min),
        is_self: view.peer.id == *me,
    }
}

#[cfg(test)]
mod tests {
    use potluck::{Admission, Contact, Identity, MemberState, Mode, NetworkId};
    use potluck_wire::Software;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_is_shown_with_its_labels_by_name() {
        let public_key = Identity::from_seed([1; 32]).public_key();
        let address = "127.0.0.1:7".parse().expect("an address");
        let network = NetworkId::new("t", Admission::Lab, None);
        let peer = Contact::new(public_key, address).in_network(&network);
        let labels = vec![("rack".to_owned(), "7".to_owned())];
        let software =
            Software { version_min: 2, version_max: 3, build: "potluck 0.2.0".to_owned() };
        let member = MemberView {
            peer,
            state: MemberState::Suspect,
            incarnation: 5,
            labels,
            software: Some(software),
        };
        let view = MembersView { mode: Mode::Fleet, members: vec![member] };
        let expected = json!({"mode": "fleet", "members": [{
            "id": peer.id.to_string(),
            "address": "127.0.0.1:7",
            "state": "suspect",
            "incarnation": 5,
            "labels": {"rack": "7"},
            "version": "potluck 0.2.0",
            "protocol": 3,
            "protocolMin": 2,
            "self": true,
        }]});
        assert_eq!(serde_json::to_value(shown(&view, &peer.id)).expect("JSON"), expected);
        let other = Identity::from_seed([2; 32]).public_key().node_id(&network);
        assert!(!shown(&view, &other).members[0].is_self);
    }
}
