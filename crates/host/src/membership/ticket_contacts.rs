//! The contacts that a ticket names.
//!
//! Only nodes with the authority key can admit a new member, so a ticket names only these: first the node
//! that makes it, then others in as many different subnets as possible.

use potluck_base::{Addresses, Contact, spread_out};
use potluck_wire::limits::TICKET_CONTACTS_MAX;

/// The contacts of a ticket that `own` makes; `others` are known to hold the authority key too.
pub(super) fn of_ticket(own: Addresses, others: Vec<Contact>) -> Vec<Addresses> {
    let others: Vec<Contact> =
        others.into_iter().filter(|it| it.public_key != own.public_key).collect();
    let mut all: Vec<Contact> = own.contacts().take(1).collect();
    for other in others {
        // Where it is now comes first; where it was once is left out then.
        if !all.iter().any(|known| known.public_key == other.public_key) {
            all.push(other);
        }
    }
    // The own one is first in the order, so it is chosen first.
    let chosen = spread_out(all, TICKET_CONTACTS_MAX, |contact| contact.address);
    let addresses = |contact: Contact| match contact.public_key == own.public_key {
        true => own.clone(),
        false => Addresses::from(contact),
    };
    chosen.into_iter().map(addresses).collect()
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    fn contact(seed: u8, address: &str) -> Contact {
        Contact::new(Identity::from_seed([seed; 32]).public_key(), address.parse().unwrap())
    }

    #[test]
    fn a_ticket_names_its_maker_first_and_then_nodes_in_different_places() {
        let own = contact(1, "10.1.0.1:7");
        let others = vec![
            contact(2, "10.1.0.2:7"),
            contact(3, "10.1.0.3:7"),
            contact(4, "10.2.0.4:7"),
            contact(1, "10.9.0.1:7"),
            contact(5, "[2001:db8::5]:7"),
            contact(6, "192.168.0.6:7"),
            contact(6, "10.77.0.6:7"),
        ];
        let named = of_ticket(own.into(), others.clone());
        let keys: Vec<_> = named.iter().map(|node| node.public_key).collect();
        let of = |index: usize| others[index].public_key;
        assert_eq!(keys, [own.public_key, of(4), of(2), of(5)]);
        assert_eq!(named[3].ways[0].socket, others[5].address, "where it is now");
        assert_eq!(of_ticket(own.into(), Vec::new()), [Addresses::from(own)]);
    }
}
