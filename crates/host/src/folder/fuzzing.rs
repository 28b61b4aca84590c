//! The private readers of a data folder's files, for [`crate::fuzzing`].

use potluck_base::{Contact, Identity};

use super::{NetworkInfo, authority, identity, network, peers};
use crate::fuzzing::Say;

pub(crate) fn texts(text: &str, say: &mut Say<'_>) {
    let read = network::decode(text);
    say("network", read.is_some(), &read);
    if let Some(read) = read {
        assert_eq!(network::decode(&network::encode(&read)), Some(read));
    }
    say("network cut off", false, &network::cut_off(text));
    let read = identity::decode(text);
    say("identity", read.is_some(), &read.is_some());
    if let Some(read) = read {
        let again = identity::decode(&identity::encode(&read)).expect("it was written whole");
        assert_eq!(again.public_key(), read.public_key());
    }
    say("identity cut off", false, &identity::cut_off(text).is_some());
    let read = authority::decode(text);
    say("authority", read.is_some(), &read.is_some());
    if let Some((name, key)) = read {
        let again =
            authority::decode(&authority::encode(&name, &key)).expect("it was written whole");
        assert_eq!((again.0, again.1.public_key()), (name, key.public_key()));
    }
    let beginning = matches!(authority::beginning(text), authority::Beginning::Of(..));
    say("authority cut off", false, &beginning);
    let (contacts, damaged) = peers::decode(text);
    say("peers", !contacts.is_empty(), &(contacts.first(), damaged > 0));
    for contact in contacts {
        assert_eq!(contact.to_string().parse::<Contact>(), Ok(contact));
    }
}

pub(crate) fn samples() -> Vec<String> {
    let key = Identity::from_seed([7; 32]);
    let contact = Contact::new(key.public_key(), ([10, 0, 0, 7], 7).into());
    vec![
        network::encode(&NetworkInfo::lab("home".to_owned())),
        network::encode(&NetworkInfo::invite("home".to_owned(), key.public_key())),
        identity::encode(&key),
        authority::encode("home", &key),
        peers::encode(&[contact]),
    ]
}
