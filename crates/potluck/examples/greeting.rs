//! A network of one: writes a greeting, reads it, and settles what others wrote at the same time.
//!
//! With a contact as argument (as `potluck up` prints it) it does so in that node's network, which
//! has to be called `greeting` too.
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use potluck::{Admission, Node, Read};

#[tokio::main]
async fn main() -> potluck::Result<()> {
    let mut builder = Node::builder()
        .data_dir(std::env::temp_dir().join("potluck-greeting"))
        .network("greeting")
        .admission(Admission::Lab)
        .listen(([127, 0, 0, 1], 0).into());
    if let Some(contact) = std::env::args().nth(1) {
        builder = builder.entry(contact);
    }
    let node = builder.start().await?;
    println!("contact {}", node.contact());
    node.ready().await?;

    node.kv().put("config/greeting", "hello").await?;
    match node.kv().get("config/greeting").await? {
        Read::Value(v) => println!("{}", v.text()?),
        Read::Siblings(s) => {
            node.kv().put("config/greeting", s[0].bytes()).context(s.context()).await?;
        }
        Read::Absent => {}
    }

    node.leave().await
}
