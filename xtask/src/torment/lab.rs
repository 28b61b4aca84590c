//! The virtual network: a network namespace for each node, joined by a bridge, and the faults on it.
//!
//! Every node has two interfaces: `eth0` on the bridge between the nodes, which faults affect, and `eth1` on
//! another bridge over which clients reach its HTTP port, which no fault affects.
//!
//! **Invariant:** all of it lies in the network namespace of this process, made for this run.

use std::net::Ipv4Addr;

use crate::tools::{call, call_with};

/// The table of rules in a node's namespace.
const TABLE: &str = "torment";
/// The UDP port of the nodes.
const PORT: u16 = 12_345;
/// The HTTP port of the nodes.
const HTTP_PORT: u16 = 8_080;

/// The node's address for other nodes.
pub(super) fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, node as u8 + 1)
}

/// `ip:port` for other nodes.
pub(super) fn listen(node: usize) -> String {
    format!("{}:{PORT}", address(node))
}

/// `ip:port` for clients.
pub(super) fn http(node: usize) -> String {
    format!("10.78.0.{}:{HTTP_PORT}", node + 1)
}

/// The name of the node's namespace.
pub(super) fn namespace(node: usize) -> String {
    format!("node{node}")
}

/// Makes the bridges and the namespaces of `nodes` nodes.
pub(super) fn make(nodes: usize) -> Result<(), String> {
    call("ip link set lo up")?;
    for bridge in ["wire", "desk"] {
        call(&format!("ip link add name {bridge} type bridge"))?;
        call(&format!("ip link set {bridge} up"))?;
    }
    call("ip addr add 10.78.0.254/24 dev desk")?;
    for node in 0..nodes {
        let name = namespace(node);
        call(&format!("ip netns add {name}"))?;
        call(&format!("ip -n {name} link set lo up"))?;
        for (bridge, device, subnet) in [("wire", "eth0", 77), ("desk", "eth1", 78)] {
            let outside = format!("{bridge}{node}");
            call(&format!("ip link add name {outside} type veth peer name {device} netns {name}"))?;
            call(&format!("ip link set {outside} master {bridge} up"))?;
            let address = format!("10.{subnet}.0.{}/24", node + 1);
            call(&format!("ip -n {name} addr add {address} dev {device}"))?;
            call(&format!("ip -n {name} link set {device} up"))?;
        }
    }
    Ok(())
}

/// The direction in which packets are lost, as seen from the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// Packet loss of a node: everything to or from some nodes, or a share of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    /// All that comes from, or goes to, these nodes.
    Peers(Direction, Vec<usize>),
    /// This share of all in one direction, in percent.
    Percent(Direction, u8),
}

/// The rules for one node's namespace.
fn rules(losses: &[Loss]) -> String {
    let mut text = format!("add table inet {TABLE}\nflush table inet {TABLE}\n");
    for (chain, hook) in [("came", "input"), ("goes", "output")] {
        text.push_str(&format!(
            "add chain inet {TABLE} {chain} {{ type filter hook {hook} priority 0; }}\n"
        ));
    }
    for loss in losses {
        let (Loss::Peers(direction, _) | Loss::Percent(direction, _)) = loss;
        let (chain, device, address) = match direction {
            Direction::In => ("came", "iifname", "saddr"),
            Direction::Out => ("goes", "oifname", "daddr"),
        };
        let what = match loss {
            Loss::Peers(_, nodes) => {
                let list: Vec<String> = nodes.iter().map(|node| addresses(*node)).collect();
                format!("ip {address} {{ {} }}", list.join(", "))
            }
            Loss::Percent(_, share) => format!("numgen random mod 100 < {share}"),
        };
        text.push_str(&format!("add rule inet {TABLE} {chain} {device} \"eth0\" {what} drop\n"));
    }
    text
}

fn addresses(node: usize) -> String {
    address(node).to_string()
}

/// Sets the packet loss of a node.
pub(super) fn lose(node: usize, losses: &[Loss]) -> Result<(), String> {
    call_with(&format!("ip netns exec {} nft -f -", namespace(node)), &rules(losses))
}

/// Ends the packet loss of a node.
pub(super) fn mend(node: usize) -> Result<(), String> {
    call(&format!("ip netns exec {} nft flush ruleset", namespace(node)))
}

/// Limits the rate of the node's link in both directions.
pub(super) fn slow(node: usize, rate: &str) -> Result<(), String> {
    let shape = format!("root tbf rate {rate} burst 4kb latency 400ms");
    call(&format!("tc -n {} qdisc replace dev eth0 {shape}", namespace(node)))?;
    call(&format!("tc qdisc replace dev wire{node} {shape}"))
}

/// Ends the limit.
pub(super) fn fast(node: usize) -> Result<(), String> {
    call(&format!("tc -n {} qdisc del dev eth0 root", namespace(node)))?;
    call(&format!("tc qdisc del dev wire{node} root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_drop_what_is_said_and_touch_no_client() {
        let text =
            rules(&[Loss::Peers(Direction::In, vec![0, 8]), Loss::Percent(Direction::Out, 20)]);
        let rules: Vec<&str> = text.lines().filter(|line| line.starts_with("add rule")).collect();
        assert_eq!(
            rules,
            [
                "add rule inet torment came iifname \"eth0\" ip saddr { 10.77.0.1, 10.77.0.9 } drop",
                "add rule inet torment goes oifname \"eth0\" numgen random mod 100 < 20 drop",
            ]
        );
    }
}
